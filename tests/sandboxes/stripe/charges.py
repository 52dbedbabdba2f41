"""Charges: one attempt to take money each, with what was captured and given back of it."""

from dataclasses import dataclass, field

from tests.sandboxes.stripe.errors import not_found
from tests.sandboxes.stripe.events import EventLog
from tests.sandboxes.stripe.forms import Params
from tests.sandboxes.stripe.objects import (
    Clock,
    Json,
    ListQuery,
    list_page,
    new_id,
    read_list_query,
)
from tests.sandboxes.stripe.payment_methods import Decline, PaymentMethod


@dataclass(slots=True)
class Charge:
    """An attempt to take money."""

    amount_minor: int
    currency: str
    payment_intent: str
    payment_method: PaymentMethod
    created: int
    decline: Decline | None = None
    description: str | None = None
    receipt_email: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    status: str = "succeeded"
    is_captured: bool = False
    amount_captured_minor: int = 0
    amount_released_minor: int = 0
    """Held but never captured, and let go."""
    amount_refunded_minor: int = 0
    """Captured and given back: refunds that succeeded or may still succeed."""
    id: str = field(default_factory=lambda: new_id("ch"))

    @property
    def unrefunded_minor(self) -> int:
        """What can still be given back."""
        return self.amount_captured_minor - self.amount_refunded_minor

    def as_json(self) -> Json:
        """As it is on the wire. What was released counts as refunded there, though no money moved."""
        amount_back_minor = self.amount_released_minor + self.amount_refunded_minor
        return {
            "id": self.id,
            "object": "charge",
            "amount": self.amount_minor,
            "amount_captured": self.amount_captured_minor,
            "amount_refunded": amount_back_minor,
            "balance_transaction": None,
            "captured": self.is_captured,
            "created": self.created,
            "currency": self.currency,
            "customer": None,
            "description": self.description,
            "disputed": False,
            "failure_code": self.decline.code if self.decline else None,
            "failure_message": self.decline.message if self.decline else None,
            "livemode": False,
            "metadata": dict(self.metadata),
            "outcome": self._outcome(),
            "paid": self.status == "succeeded",
            "payment_intent": self.payment_intent,
            "payment_method": self.payment_method.id,
            "payment_method_details": {"type": self.payment_method.kind.type},
            "receipt_email": self.receipt_email,
            "refunded": amount_back_minor == self.amount_minor,
            "status": self.status,
        }

    def _outcome(self) -> Json:
        if self.decline is None:
            return {"network_status": "approved_by_network", "reason": None, "type": "authorized"}
        return {
            "network_status": "declined_by_network",
            "reason": self.decline.decline_code or self.decline.code,
            "type": "issuer_declined",
        }


class Charges:
    """All charges, and what changes them."""

    def __init__(self, events: EventLog, clock: Clock) -> None:
        self.by_id: dict[str, Charge] = {}
        self._events = events
        self._clock = clock

    def get(self, id_: str) -> Charge:
        """One, by its id."""
        if id_ not in self.by_id:
            raise not_found("charge", id_)
        return self.by_id[id_]

    def page(self, request: "ListCharges") -> Json:
        """A page, newest first."""
        wanted = [
            charge
            for charge in self.by_id.values()
            if request.payment_intent in (None, charge.payment_intent)
        ]
        return list_page(wanted, request.query, url="/v1/charges")

    def add(self, charge: Charge) -> None:
        """Records an attempt and tells of it: succeeded, failed, or pending."""
        self.by_id[charge.id] = charge
        self._events.tell(f"charge.{charge.status}", charge.as_json())

    def settle(self, charge: Charge, *, decline: Decline | None) -> None:
        """Ends a pending attempt."""
        charge.decline = decline
        charge.status = "failed" if decline else "succeeded"
        if decline is None:
            charge.is_captured, charge.amount_captured_minor = True, charge.amount_minor
        self._events.tell(f"charge.{charge.status}", charge.as_json())

    def capture(self, charge: Charge, amount_minor: int) -> None:
        """Takes held money, and lets the rest of it go."""
        charge.is_captured = True
        charge.amount_captured_minor = amount_minor
        self._events.tell("charge.captured", charge.as_json())
        if amount_minor < charge.amount_minor:
            self.release(charge)

    def release(self, charge: Charge) -> None:
        """Lets go what is held and was not captured. Stripe tells of it as of a refund."""
        charge.amount_released_minor = charge.amount_minor - charge.amount_captured_minor
        self.tell_refunded(charge)

    def tell_refunded(self, charge: Charge) -> None:
        """Tells that money of a charge was let go or given back."""
        self._events.tell("charge.refunded", charge.as_json())


@dataclass(frozen=True, slots=True)
class ListCharges:
    """GET /v1/charges."""

    query: ListQuery
    payment_intent: str | None

    @classmethod
    def read(cls, params: Params) -> "ListCharges":
        """Reads its parameters."""
        return cls(read_list_query(params), params.string("payment_intent"))
