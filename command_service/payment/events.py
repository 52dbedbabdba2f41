"""What happened to payments; each event has a twin of the same name in payment_events.proto."""

from dataclasses import dataclass
from typing import ClassVar

from command_service.payment.payments import Payment, PaymentState
from command_service.payment.refunds import Refund, RefundState
from event_log.events import Event


class PaymentEvent(Event):
    """An event of the payment context. Its key is the order's: so an order's money is told in order."""

    __slots__ = ()
    context: ClassVar[str] = "payment"


@dataclass(frozen=True, slots=True)
class PaymentStarted(PaymentEvent):
    """A payment was asked for."""

    payment: Payment

    @property
    def key(self) -> str:
        """The order's id."""
        return self.payment.order_id


@dataclass(frozen=True, slots=True)
class PaymentChanged(PaymentEvent):
    """A payment came further, or its next step was asked for."""

    payment: Payment
    state_before: PaymentState

    @property
    def key(self) -> str:
        """The order's id."""
        return self.payment.order_id


@dataclass(frozen=True, slots=True)
class RefundRequested(PaymentEvent):
    """A refund was asked for, or found to have been made at the provider."""

    refund: Refund
    payment: Payment

    @property
    def key(self) -> str:
        """The order's id."""
        return self.refund.order_id


@dataclass(frozen=True, slots=True)
class RefundChanged(PaymentEvent):
    """A refund came further."""

    refund: Refund
    state_before: RefundState
    payment: Payment

    @property
    def key(self) -> str:
        """The order's id."""
        return self.refund.order_id
