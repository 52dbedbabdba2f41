"""Orders v2: create, show, authorize, capture."""

from dataclasses import dataclass
from typing import Self

from tests.sandboxes.paypal.errors import invalid, not_found, unprocessable
from tests.sandboxes.paypal.events import EventLog
from tests.sandboxes.paypal.fields import Fields
from tests.sandboxes.paypal.money import Money
from tests.sandboxes.paypal.objects import Authorization, Capture, Order

UNITS_MAX = 10
EXPERIENCES = ("GET_FROM_FILE", "NO_SHIPPING", "SET_PROVIDED_ADDRESS")
PENDING_REASON = "PENDING_REVIEW"


@dataclass(frozen=True, slots=True)
class CreateOrder:
    """POST /v2/checkout/orders."""

    intent: str
    amount: Money
    reference_id: str
    custom_id: str | None
    invoice_id: str | None
    description: str | None
    is_hosted: bool

    @classmethod
    def read(cls, fields: Fields) -> Self:
        """Reads its fields. One purchase unit is all that this sandbox takes."""
        intent = fields.required("intent", fields.choice("intent", "CAPTURE", "AUTHORIZE"))
        [unit] = fields.objects("purchase_units", count_max=1)
        return cls(
            intent=intent,
            amount=unit.required("amount", unit.money("amount")),
            reference_id=unit.text("reference_id", chars_max=256) or "default",
            custom_id=unit.text("custom_id", chars_max=127),
            invoice_id=unit.text("invoice_id", chars_max=127),
            description=unit.text("description", chars_max=127),
            is_hosted=_read_experience(fields),
        )


def _read_experience(fields: Fields) -> bool:
    """Whether PayPal's page is asked for; then the customer must be able to come back."""
    source, context = fields.object("payment_source"), fields.object("application_context")
    if source is not None:
        wallet = source.required("paypal", source.object("paypal"))
        context = wallet.required("experience_context", wallet.object("experience_context"))
    if context is None:
        return False
    context.choice("shipping_preference", *EXPERIENCES)
    context.choice("user_action", "CONTINUE", "PAY_NOW")
    for name in ("return_url", "cancel_url"):
        if context.url(name) is None and source is not None:
            raise unprocessable(f"{name.upper()}_REQUIRED", field=f"/{name}")
    return source is not None


class Orders:
    """All orders, and every step that one can take."""

    def __init__(self, events: EventLog) -> None:
        self.by_id: dict[str, Order] = {}
        self._events = events

    def create(self, request: CreateOrder) -> Order:
        """Makes an order that waits for the customer."""
        order = Order(
            intent=request.intent,
            amount=request.amount,
            is_hosted=request.is_hosted,
            custom_id=request.custom_id,
            invoice_id=request.invoice_id,
            description=request.description,
            reference_id=request.reference_id,
            status="PAYER_ACTION_REQUIRED" if request.is_hosted else "CREATED",
        )
        self.by_id[order.id] = order
        return order

    def get(self, id_: str) -> Order:
        """One, by its id. Those that were never paid are gone after some hours."""
        order = self.by_id.get(id_)
        if order is None or order.is_gone:
            raise not_found("order_id", id_)
        return order

    def capture(self, id_: str) -> Order:
        """Takes the money of an approved order."""
        order = self._ready(id_, "CAPTURE", done="ORDER_ALREADY_CAPTURED")
        capture = Capture(order, order.amount, self._pay(order))
        if capture.status == "PENDING":
            capture.reason = PENDING_REASON
        order.captures.append(capture)
        order.status = "COMPLETED"
        self._events.tell(f"PAYMENT.CAPTURE.{capture.status}", capture)
        self._events.tell("CHECKOUT.ORDER.COMPLETED", order)
        return order

    def authorize(self, id_: str) -> Order:
        """Holds the money of an approved order."""
        order = self._ready(id_, "AUTHORIZE", done="ORDER_ALREADY_AUTHORIZED")
        is_denied = self._pay(order) == "DECLINED"
        held = Authorization(order, order.amount, "DENIED" if is_denied else "CREATED")
        order.authorizations.append(held)
        order.status = "COMPLETED"
        if not is_denied:
            self._events.tell("PAYMENT.AUTHORIZATION.CREATED", held)
        return order

    def _ready(self, id_: str, intent: str, *, done: str) -> Order:
        order = self.get(id_)
        if order.intent != intent:
            raise unprocessable("ACTION_DOES_NOT_MATCH_INTENT")
        if order.status == "COMPLETED":
            raise unprocessable(done, "Only one capture or authorization per order is allowed.")
        if order.status != "APPROVED":
            raise unprocessable("ORDER_NOT_APPROVED", "Payer has not yet approved the Order.")
        self._check_invoice(order)
        return order

    def _check_invoice(self, order: Order) -> None:
        """An invoice is paid once, as merchants' accounts have it unless they change it."""
        for other in self.by_id.values():
            if order.invoice_id and other.invoice_id == order.invoice_id and _is_paid(other):
                raise unprocessable("DUPLICATE_INVOICE_ID", "Duplicate Invoice ID detected.")

    def _pay(self, order: Order) -> str:
        """The status of a payment with the customer's instrument."""
        match order.instrument:
            case "refused":
                # Not documented where this leaves the order: here the customer has to approve again.
                order.status = "PAYER_ACTION_REQUIRED" if order.is_hosted else "CREATED"
                raise unprocessable(
                    "INSTRUMENT_DECLINED",
                    "The instrument presented was either declined by the processor or bank.",
                )
            case "declined":
                return "DECLINED"
            case "slow":
                return "PENDING"
            case "good":
                return "COMPLETED"
            case other:
                raise invalid("INVALID_PARAMETER_VALUE", field="/instrument", value=other)


def _is_paid(order: Order) -> bool:
    """Or about to be."""
    return any(each.status in ("CREATED", "CAPTURED") for each in order.authorizations) or any(
        each.status != "DECLINED" for each in order.captures
    )
