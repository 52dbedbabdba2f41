"""Refunds: money given back, which may turn out later not to have arrived."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

from tests.sandboxes.stripe.charges import Charge, Charges
from tests.sandboxes.stripe.currencies import check_step
from tests.sandboxes.stripe.errors import ApiError, missing, not_found, refused, required
from tests.sandboxes.stripe.events import EventLog
from tests.sandboxes.stripe.forms import Params
from tests.sandboxes.stripe.objects import (
    Clock,
    Json,
    ListQuery,
    list_page,
    merged,
    new_id,
    read_list_query,
    read_metadata,
)
from tests.sandboxes.stripe.payment_intents import PaymentIntents
from tests.sandboxes.stripe.payment_methods import RefundBehaviour

REASONS = ("duplicate", "fraudulent", "requested_by_customer")
FAILURE_REASON = "lost_or_stolen_card"
FIRST_STATUS = {
    RefundBehaviour.SUCCEEDS: "succeeded",
    RefundBehaviour.FAILS_LATER: "succeeded",
    RefundBehaviour.SUCCEEDS_LATER: "pending",
}


@dataclass(frozen=True, slots=True)
class CreateRefund:
    """POST /v1/refunds."""

    payment_intent: str | None
    charge: str | None
    amount_minor: int | None
    reason: str | None
    metadata: dict[str, str]

    @classmethod
    def read(cls, params: Params) -> Self:
        """Reads its parameters."""
        payment_intent, charge = params.string("payment_intent"), params.string("charge")
        if payment_intent is None and charge is None:
            raise required("payment_intent")
        return cls(
            payment_intent=payment_intent,
            charge=charge,
            amount_minor=params.integer("amount", minimum=1),
            reason=params.choice("reason", *REASONS),
            metadata=read_metadata(params),
        )


@dataclass(frozen=True, slots=True)
class UpdateRefund:
    """POST /v1/refunds/{id}."""

    metadata: dict[str, str]

    @classmethod
    def read(cls, params: Params) -> Self:
        """Reads its parameters."""
        return cls(read_metadata(params))


@dataclass(frozen=True, slots=True)
class ListRefunds:
    """GET /v1/refunds."""

    query: ListQuery
    payment_intent: str | None
    charge: str | None

    @classmethod
    def read(cls, params: Params) -> Self:
        """Reads its parameters."""
        return cls(read_list_query(params), params.string("payment_intent"), params.string("charge"))


@dataclass(slots=True)
class Refund:
    """Money given back."""

    amount_minor: int
    charge: Charge
    reason: str | None
    metadata: dict[str, str]
    created: int
    status: str
    failure_reason: str | None = None
    id: str = field(default_factory=lambda: new_id("re"))

    @property
    def counts(self) -> bool:
        """Whether the money is gone, or on its way."""
        return self.status in ("pending", "succeeded")

    def as_json(self) -> Json:
        """As it is on the wire now."""
        shown = {
            "id": self.id,
            "object": "refund",
            "amount": self.amount_minor,
            "balance_transaction": None,
            "charge": self.charge.id,
            "created": self.created,
            "currency": self.charge.currency,
            "destination_details": None,
            "metadata": dict(self.metadata),
            "payment_intent": self.charge.payment_intent,
            "reason": self.reason,
            "receipt_number": None,
            "status": self.status,
        }
        return shown | ({"failure_reason": self.failure_reason} if self.failure_reason else {})


class Refunds:
    """All refunds, and what changes them. `settle_later` is told of those that are not final."""

    def __init__(
        self,
        intents: PaymentIntents,
        charges: Charges,
        events: EventLog,
        clock: Clock,
        settle_later: Callable[[Refund], None],
    ) -> None:
        self.by_id: dict[str, Refund] = {}
        self._intents = intents
        self._charges = charges
        self._events = events
        self._clock = clock
        self._settle_later = settle_later

    def create(self, request: CreateRefund) -> Refund:
        """Gives money back, at most what was captured and is not given back yet."""
        charge = self._charge_of(request)
        amount_minor = charge.unrefunded_minor if request.amount_minor is None else request.amount_minor
        self._check(charge, amount_minor)
        behaviour = charge.payment_method.kind.refund
        refund = Refund(
            amount_minor=amount_minor,
            charge=charge,
            reason=request.reason,
            metadata=merged({}, request.metadata),
            created=self._clock(),
            status=FIRST_STATUS[behaviour],
        )
        self.by_id[refund.id] = refund
        charge.amount_refunded_minor += amount_minor
        self._events.tell("refund.created", refund.as_json())
        self._charges.tell_refunded(charge)
        if behaviour is not RefundBehaviour.SUCCEEDS:
            self._settle_later(refund)
        return refund

    def get(self, id_: str) -> Refund:
        """One, by its id."""
        if id_ not in self.by_id:
            raise not_found("refund", id_)
        return self.by_id[id_]

    def page(self, request: ListRefunds) -> Json:
        """A page, newest first."""
        wanted = [
            refund
            for refund in self.by_id.values()
            if request.payment_intent in (None, refund.charge.payment_intent)
            and request.charge in (None, refund.charge.id)
        ]
        return list_page(wanted, request.query, url="/v1/refunds")

    def update(self, id_: str, request: UpdateRefund) -> Refund:
        """Changes the metadata."""
        refund = self.get(id_)
        before = dict(refund.metadata)
        refund.metadata = merged(refund.metadata, request.metadata)
        self._events.tell("refund.updated", refund.as_json(), before={"metadata": before})
        return refund

    def cancel(self, id_: str) -> Refund:
        """Refuses: only a refund that waits for its customer could be cancelled, and none here does."""
        refund = self.get(id_)
        raise refused(f"A refund with status {refund.status} cannot be canceled.")

    def settle(self, refund: Refund, *, failure_reason: str | None) -> None:
        """The bank's last word: the money has arrived, or it comes back and can be refunded again."""
        before = refund.status
        if before == "failed":
            raise refused("This refund has failed already.")
        refund.failure_reason = failure_reason
        refund.status = "succeeded" if failure_reason is None else "failed"
        if refund.status == "failed":
            refund.charge.amount_refunded_minor -= refund.amount_minor
        for what in ("refund.updated", "charge.refund.updated"):
            self._events.tell(what, refund.as_json(), before={"status": before})
        if refund.status == "failed":
            self._events.tell("refund.failed", refund.as_json())

    def _charge_of(self, request: CreateRefund) -> Charge:
        if request.charge is not None:
            if request.charge not in self._charges.by_id:
                raise missing("charge", request.charge, param="charge")
            charge = self._charges.get(request.charge)
            if request.payment_intent not in (None, charge.payment_intent):
                raise missing("payment_intent", str(request.payment_intent), param="payment_intent")
            return charge
        return self._latest_charge(str(request.payment_intent))

    def _latest_charge(self, payment_intent: str) -> Charge:
        intent = self._intents.by_id.get(payment_intent)
        if intent is None:
            raise missing("payment_intent", payment_intent, param="payment_intent")
        if intent.latest_charge is None:
            raise self._without_charge(payment_intent)
        return self._charges.get(intent.latest_charge)

    def _check(self, charge: Charge, amount_minor: int) -> None:
        if charge.status != "succeeded":
            raise self._without_charge(charge.payment_intent)
        if not charge.is_captured:
            raise refused(
                f"This uncaptured Charge was created by a PaymentIntent ({charge.payment_intent}). You"
                " must cancel the PaymentIntent to reverse the authorization instead of refunding it.",
                code="payment_intent_unexpected_state",
            )
        if charge.unrefunded_minor == 0:
            raise refused(
                f"Charge {charge.id} has already been refunded.", code="charge_already_refunded"
            )
        check_step(amount_minor, charge.currency, param="amount")
        if amount_minor > charge.unrefunded_minor:
            raise refused(
                f"Refund amount ({amount_minor}) is greater than unrefunded amount on charge"
                f" ({charge.unrefunded_minor}).",
                code="amount_too_large",
                param="amount",
            )

    def _without_charge(self, payment_intent: str) -> ApiError:
        return refused(
            f"This PaymentIntent ({payment_intent}) does not have a successful charge to refund.",
            code="payment_intent_unexpected_state",
        )


def failure_reason_of(refund: Refund) -> str | None:
    """How a refund that is not final ends, by the payment method's name."""
    fails = refund.charge.payment_method.kind.refund is RefundBehaviour.FAILS_LATER
    return FAILURE_REASON if fails else None
