"""One PaymentIntent, as the sandbox holds it and as the wire shows it."""

from dataclasses import dataclass, field
from uuid import uuid4

from tests.sandboxes.stripe.objects import Json, new_id
from tests.sandboxes.stripe.payment_methods import PaymentMethod

TYPES_OFFERED = ("card", "link", "us_bank_account")
"""What this account has switched on."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """How somebody tries to pay."""

    payment_method: str | None = None
    """None takes the one that the intent has."""
    return_url: str | None = None
    is_off_session: bool = False
    is_by_customer: bool = False
    """On a page of Stripe's, which knows where to come back to."""

    @property
    def has_way_back(self) -> bool:
        """Whether a customer who is sent to a bank can return."""
        return self.return_url is not None or self.is_by_customer


@dataclass(slots=True)
class PaymentIntent:
    """What is to be paid once."""

    amount_minor: int
    currency: str
    created: int
    capture_method: str
    automatic_payment_methods: Json | None
    allowed_types: list[str]
    """Of payment methods; empty allows what the account offers."""
    customer: str | None
    details: Json
    """Fields that the sandbox keeps and shows, and does nothing with."""
    metadata: dict[str, str]
    session: str | None
    """The Checkout Session that it belongs to."""
    status: str = "requires_payment_method"
    amount_capturable_minor: int = 0
    amount_received_minor: int = 0
    payment_method: PaymentMethod | None = None
    latest_charge: str | None = None
    last_payment_error: Json | None = None
    next_action: Json | None = None
    canceled_at: int | None = None
    cancellation_reason: str | None = None
    id: str = field(default_factory=lambda: new_id("pi"))
    secret: str = field(default_factory=lambda: uuid4().hex)

    def as_json(self) -> Json:
        """As it is on the wire now."""
        return {
            "id": self.id,
            "object": "payment_intent",
            "amount": self.amount_minor,
            "amount_capturable": self.amount_capturable_minor,
            "amount_received": self.amount_received_minor,
            "allowed_payment_method_types": self.allowed_types or None,
            "application": None,
            "automatic_payment_methods": self.automatic_payment_methods,
            "canceled_at": self.canceled_at,
            "cancellation_reason": self.cancellation_reason,
            "capture_method": self.capture_method,
            "client_secret": f"{self.id}_secret_{self.secret}",
            "confirmation_method": "automatic",
            "created": self.created,
            "currency": self.currency,
            "customer": self.customer,
            "description": self.details.get("description"),
            "last_payment_error": self.last_payment_error,
            "latest_charge": self.latest_charge,
            "livemode": False,
            "metadata": dict(self.metadata),
            "next_action": self.next_action,
            "payment_method": self.payment_method.id if self.payment_method else None,
            "payment_method_types": self.allowed_types or list(TYPES_OFFERED),
            "processing": None,
            "receipt_email": self.details.get("receipt_email"),
            "setup_future_usage": None,
            "shipping": self.details.get("shipping"),
            "statement_descriptor": None,
            "statement_descriptor_suffix": self.details.get("statement_descriptor_suffix"),
            "status": self.status,
        }
