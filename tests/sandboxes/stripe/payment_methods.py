"""Stripe's payment methods for testing: what happens to a payment or refund is in the method's name."""

from dataclasses import dataclass
from enum import Enum, auto

from tests.sandboxes.stripe.errors import missing
from tests.sandboxes.stripe.objects import Json, new_id


class PaymentBehaviour(Enum):
    """What the bank says to a payment."""

    APPROVES = auto()
    DECLINES = auto()
    ASKS_THE_CUSTOMER = auto()
    TAKES_DAYS = auto()


class RefundBehaviour(Enum):
    """What becomes of a refund."""

    SUCCEEDS = auto()
    SUCCEEDS_LATER = auto()
    FAILS_LATER = auto()


@dataclass(frozen=True, slots=True)
class Decline:
    """Why a bank does not approve."""

    code: str
    decline_code: str | None
    message: str


GENERIC_DECLINE = Decline("card_declined", "generic_decline", "Your card was declined.")
INSUFFICIENT_FUNDS = Decline("card_declined", "insufficient_funds", "Your card has insufficient funds.")
LOST_CARD = Decline("card_declined", "lost_card", "Your card was declined.")
EXPIRED_CARD = Decline("expired_card", None, "Your card has expired.")
PROCESSING_ERROR = Decline(
    "processing_error", None, "An error occurred while processing your card. Try again in a little bit."
)
AUTHENTICATION_REQUIRED = Decline(
    "authentication_required",
    "authentication_required",
    "Your card was declined. This transaction requires authentication.",
)
AUTHENTICATION_FAILED = Decline(
    "payment_intent_authentication_failure",
    None,
    "The provided PaymentMethod has failed authentication.",
)
DEBIT_FAILED = Decline(
    "payment_intent_payment_attempt_failed", None, "The payment could not be debited."
)


@dataclass(frozen=True, slots=True)
class Kind:
    """A payment method for testing."""

    type: str = "card"
    payment: PaymentBehaviour = PaymentBehaviour.APPROVES
    decline: Decline | None = None
    refund: RefundBehaviour = RefundBehaviour.SUCCEEDS


def _declining(decline: Decline) -> Kind:
    return Kind(payment=PaymentBehaviour.DECLINES, decline=decline)


APPROVED = "pm_card_visa"
DECLINED = "pm_card_visa_chargeDeclined"
KINDS = {
    APPROVED: Kind(),
    "pm_card_mastercard": Kind(),
    "pm_card_amex": Kind(),
    DECLINED: _declining(GENERIC_DECLINE),
    "pm_card_chargeDeclined": _declining(GENERIC_DECLINE),
    "pm_card_chargeDeclinedInsufficientFunds": _declining(INSUFFICIENT_FUNDS),
    "pm_card_visa_chargeDeclinedInsufficientFunds": _declining(INSUFFICIENT_FUNDS),
    "pm_card_visa_chargeDeclinedLostCard": _declining(LOST_CARD),
    "pm_card_chargeDeclinedExpiredCard": _declining(EXPIRED_CARD),
    "pm_card_chargeDeclinedProcessingError": _declining(PROCESSING_ERROR),
    "pm_card_authenticationRequired": Kind(payment=PaymentBehaviour.ASKS_THE_CUSTOMER),
    "pm_card_refundFail": Kind(refund=RefundBehaviour.FAILS_LATER),
    "pm_card_pendingRefund": Kind(refund=RefundBehaviour.SUCCEEDS_LATER),
    "pm_usBankAccount_success": Kind("us_bank_account", PaymentBehaviour.TAKES_DAYS),
}


@dataclass(frozen=True, slots=True)
class PaymentMethod:
    """One use of a payment method, under an id of its own."""

    id: str
    kind: Kind

    def as_json(self) -> Json:
        """As an error shows it."""
        return {"id": self.id, "object": "payment_method", "type": self.kind.type, "livemode": False}


class PaymentMethods:
    """The methods in use."""

    def __init__(self) -> None:
        self._by_id: dict[str, PaymentMethod] = {}

    def use(self, name: str, *, param: str = "payment_method") -> PaymentMethod:
        """The method that a caller names, by its name for testing or by the id of an earlier use."""
        if name in self._by_id:
            return self._by_id[name]
        if name not in KINDS:
            raise missing("PaymentMethod", name, param=param)
        method = PaymentMethod(new_id("pm"), KINDS[name])
        self._by_id[method.id] = method
        return method

    def get(self, id_: str) -> PaymentMethod:
        """One that is in use."""
        return self._by_id[id_]
