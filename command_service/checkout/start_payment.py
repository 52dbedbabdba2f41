"""StartPayment: the intent to have an order paid, recorded before its provider is called. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from command_service.errors import OrderNotAwaitingPayment, PaymentExceedsOrder
from command_service.money import Money
from command_service.ordering.commands import check_currency, order_of
from command_service.ordering.domain import AWAITING, ORDER, Order, OrderState
from command_service.payment.domain import ORDER_PAYMENTS, OrderPayments
from command_service.payment.errands import LEASE, Errand, Task
from command_service.payment.events import PaymentStarted
from command_service.payment.payments import CaptureMode, Payment, Wish
from command_service.world import Command, Decision, Touch, World
from payment_providers.port import Flow


@dataclass(frozen=True, slots=True)
class StartPayment(Command[Payment]):
    """Starts a payment; whoever sent the command calls the provider next.

    amount: None for all that the order still lacks. wish: its expire_time and description are filled in.
    lease: how long the call is the sender's alone to make, here and in every command that claims one.
    """

    order_id: str
    provider: str
    flow: Flow
    capture_mode: CaptureMode
    amount: Money | None
    wish: Wish
    lease: timedelta = LEASE

    def touches(self) -> Iterable[Touch]:
        """The order and its payments."""
        return ORDER.change(self.order_id), ORDER_PAYMENTS.change(self.order_id)

    def decide(self, world: World, now: datetime) -> Decision[Payment]:
        """Refuses OrderNotFound, OrderNotAwaitingPayment, PaymentExceedsOrder, TooManyPayments.

        And CurrencyMismatch.
        """
        order = order_of(world, self.order_id)
        if not order.holds_stock(now):
            # One whose time is up has expired, whether or not the worker came by since.
            state = OrderState.EXPIRED if order.state in AWAITING else order.state
            raise OrderNotAwaitingPayment(order_id=self.order_id, state=state.name)
        payments = payments_of(world, self.order_id)
        payment = Payment(
            payment_id=payments.next_payment_id(),
            order_id=self.order_id,
            provider=self.provider,
            flow=self.flow,
            capture_mode=self.capture_mode,
            currency_code=order.currency_code,
            amount_minor=self._amount_minor(order, payments),
            wish=replace(
                self.wish,
                description=f"Order {order.order_number}",
                expire_time=order.expire_time,
            ),
            create_time=now,
            update_time=now,
            errand=Errand.claimed_at_once(Task.BEGIN, now, lease=self.lease),
        )
        after = payments.with_payment(payment)
        return Decision(
            payment, [ORDER_PAYMENTS.changed(self.order_id, after)], [PaymentStarted(payment)]
        )

    def _amount_minor(self, order: Order, payments: OrderPayments) -> int:
        missing_minor = order.total_minor - order.refundable_minor - payments.coming_minor
        if self.amount is not None:
            check_currency(order, self.amount)
        amount_minor = missing_minor if self.amount is None else self.amount.amount_minor
        if amount_minor > missing_minor or amount_minor <= 0:
            raise PaymentExceedsOrder(
                order_id=self.order_id, missing_minor=missing_minor, amount_minor=amount_minor
            )
        return amount_minor


def payments_of(world: World, order_id: str) -> OrderPayments:
    """The order's payments; none at all for one that never had any."""
    return world.get(ORDER_PAYMENTS, order_id) or OrderPayments(order_id)
