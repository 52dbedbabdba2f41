"""CapturePayment, VoidPayment: what shall become of authorized money, before anyone is told. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from command_service.checkout.start_payment import payments_of
from command_service.errors import CurrencyMismatch
from command_service.money import Money
from command_service.ordering.domain import ORDER
from command_service.payment.domain import ORDER_PAYMENTS, OrderPayments, order_id_of
from command_service.payment.errands import LEASE
from command_service.payment.events import PaymentChanged
from command_service.payment.payments import Payment, PaymentState
from command_service.world import Command, Decision, Touch, World


@dataclass(frozen=True, slots=True)
class _OfPayment(Command[Payment]):
    """Takes a step with one payment."""

    payment_id: str

    def touches(self) -> Iterable[Touch]:
        """The order and its payments."""
        order_id = order_id_of(self.payment_id)
        return ORDER.change(order_id), ORDER_PAYMENTS.change(order_id)

    def decide(self, world: World, now: datetime) -> Decision[Payment]:
        """Takes the step, if there is anything to do."""
        payments = payments_of(world, order_id_of(self.payment_id))
        before = payments.payment(self.payment_id)
        after = self._step(before, now)
        return stepped(payments, before, after)

    def _step(self, payment: Payment, now: datetime) -> Payment:
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class CapturePayment(_OfPayment):
    """Takes authorized money. amount: None for all of it.

    Refuses PaymentNotFound, PaymentNotAuthorized, PaymentInProgress, CaptureExceedsAuthorization,
    CurrencyMismatch. What is captured already stays so.
    """

    amount: Money | None = None
    lease: timedelta = LEASE

    def _step(self, payment: Payment, now: datetime) -> Payment:
        if self.amount is not None and self.amount.currency_code != payment.currency_code:
            raise CurrencyMismatch(
                actual_currency_code=self.amount.currency_code,
                expected_currency_code=payment.currency_code,
            )
        if payment.state is PaymentState.CAPTURED:
            return payment
        wanted_minor = payment.authorized_minor if self.amount is None else self.amount.amount_minor
        return payment.capture(wanted_minor, now, lease=self.lease)


@dataclass(frozen=True, slots=True)
class VoidPayment(_OfPayment):
    """Calls a payment off.

    Refuses PaymentNotFound, PaymentAlreadyCaptured, PaymentInProgress. What is called off already, or
    never came to be, stays so.
    """

    lease: timedelta = LEASE

    def _step(self, payment: Payment, now: datetime) -> Payment:
        if payment.state in {PaymentState.VOIDED, PaymentState.FAILED}:
            return payment
        return payment.void(now, lease=self.lease)


def stepped(payments: OrderPayments, before: Payment, after: Payment) -> Decision[Payment]:
    """The decision for one payment's step: nothing if there was none."""
    if after == before:
        return Decision(after)
    return Decision(
        after,
        [ORDER_PAYMENTS.changed(payments.order_id, payments.with_payment(after))],
        [PaymentChanged(after, before.state)],
    )
