"""RefundPayment: money to give back is reserved before its provider is told. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from command_service.checkout.start_payment import payments_of
from command_service.errors import NothingToRefund
from command_service.money import Money
from command_service.ordering.commands import check_currency, order_of
from command_service.ordering.domain import ORDER, Order
from command_service.ordering.events import OrderProgress, RefundRecorded
from command_service.ordering.lines import Units, summed
from command_service.payment.domain import ORDER_PAYMENTS, OrderPayments
from command_service.payment.errands import LEASE, Errand, Task
from command_service.payment.events import RefundRequested
from command_service.payment.refunds import Refund
from command_service.refunded_lines import RefundedLine
from command_service.world import Command, Decision, Touch, World
from event_log.events import Event


@dataclass(frozen=True, slots=True)
class AskedBack:
    """Refunds that were asked for: the payments with them, and the facts."""

    payments: OrderPayments
    refunds: tuple[Refund, ...]
    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True)
class RefundPayment(Command[AskedBack]):
    """Gives an amount back, or what units cost, or all that is left when neither is given.

    payment_id: "" for any of the order's payments, the newest first.
    """

    order_id: str
    payment_id: str
    amount: Money | None
    units: tuple[Units, ...]
    lease: timedelta = LEASE

    def touches(self) -> Iterable[Touch]:
        """The order and its payments."""
        return ORDER.change(self.order_id), ORDER_PAYMENTS.change(self.order_id)

    def decide(self, world: World, now: datetime) -> Decision[AskedBack]:
        """Refuses more than the order, or the payment, has."""
        order = order_of(world, self.order_id)
        payments = payments_of(world, self.order_id)
        payments.check_refund_count()
        after = self._refunded(order, payments, now)
        asked = asked_back(
            payments, order, after, self.units, now, payment_id=self.payment_id, lease=self.lease
        )
        return Decision(
            asked,
            [
                ORDER.changed(self.order_id, after),
                ORDER_PAYMENTS.changed(self.order_id, asked.payments),
            ],
            asked.events,
        )

    def _refunded(self, order: Order, payments: OrderPayments, now: datetime) -> Order:
        if self.units:
            return order.refund_units(self.units, now)
        if self.amount is not None:
            check_currency(order, self.amount)
            return order.refund_amount(self.amount.amount_minor, now)
        payment = payments.payment(self.payment_id) if self.payment_id else None
        at_providers_minor = payment.refundable_minor if payment else payments.refundable_minor
        # Some of it may have been given back in another way.
        left_minor = min(at_providers_minor, order.refundable_minor)
        if left_minor <= 0:
            raise NothingToRefund(order_id=self.order_id)
        return order.refund_amount(left_minor, now)


def asked_back(
    payments: OrderPayments,
    before: Order,
    after: Order,
    units: Sequence[Units],
    now: datetime,
    *,
    payment_id: str = "",
    lease: timedelta = LEASE,
) -> AskedBack:
    """What the order has given back between before and after, asked of its payments."""
    amount_minor = after.refunded_minor - before.refunded_minor
    progress = OrderProgress.between(before, after)
    lines = list(lines_between(before, after, units))
    gifted_minor = after.gifted_minor - before.gifted_minor
    refunds: list[Refund] = []
    events: list[Event] = []
    for payment, part_minor in payments.shared_out(amount_minor, payment_id=payment_id):
        own_lines, lines = _split(lines, part_minor)
        own_gift_minor = min(gifted_minor, part_minor)
        gifted_minor -= own_gift_minor
        refund = Refund(
            refund_id=payments.next_refund_id(),
            payment_id=payment.payment_id,
            order_id=after.order_id,
            amount_minor=part_minor,
            lines=tuple(own_lines),
            gifted_minor=own_gift_minor,
            create_time=now,
            update_time=now,
            errand=Errand.claimed_at_once(Task.REFUND, now, lease=lease),
        )
        payments = payments.with_refund(refund)
        refunds.append(refund)
        recorded = RefundRecorded(progress, refund.refund_id, part_minor, is_under_way=True)
        events.append(recorded)
        events.append(RefundRequested(refund, payments.payment(payment.payment_id)))
        # One step of the order, however many payments it is taken from.
        progress = replace(progress, kept_change_minor=0)
    return AskedBack(payments, tuple(refunds), tuple(events))


def lines_between(before: Order, after: Order, units: Sequence[Units]) -> Iterator[RefundedLine]:
    """What each line gives back; nothing for an amount that no unit accounts for."""
    quantity_by_line = {each.line_id: each.quantity for each in summed(units)}
    for line_before, line in zip(before.lines, after.lines, strict=True):
        quantity = quantity_by_line.get(line.line_id, 0)
        if quantity:
            yield RefundedLine(line.line_id, quantity, line.refunded_minor - line_before.refunded_minor)


def _split(
    lines: Sequence[RefundedLine], amount_minor: int
) -> tuple[list[RefundedLine], list[RefundedLine]]:
    """The lines that an amount pays for, and the rest; one in between is told by its amounts in both."""
    own: list[RefundedLine] = []
    rest: list[RefundedLine] = []
    for line in lines:
        part_minor = min(line.amount_minor, amount_minor)
        amount_minor -= part_minor
        if part_minor or not line.amount_minor:
            own.append(RefundedLine(line.line_id, line.quantity, part_minor))
        if part_minor < line.amount_minor:
            quantity = 0 if part_minor else line.quantity
            rest.append(RefundedLine(line.line_id, quantity, line.amount_minor - part_minor))
    return own, rest
