"""RecordPayment: money that was received. It exists, so it is never refused. Pure.

A payment that arrives when the hold is over finds the order expired, by the worker or by the payment
itself, and takes stock and coupon uses anew as if it were placed again at its frozen prices. If they
can no longer be had, the order stays expired and the money is to be given back.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from command_service.checkout.holdings import (
    Holdings,
    demands_of,
    order_touches,
    reservation_of,
)
from command_service.checkout.start_payment import payments_of
from command_service.errors import PaymentAlreadyRecorded, Refusal
from command_service.inventory.domain import RESERVATION, ReservationState
from command_service.money import Money
from command_service.ordering.commands import check_currency, order_of
from command_service.ordering.domain import (
    AWAITING,
    CLOSED,
    MONEY_RECORD,
    ORDER,
    PAYMENT_RECORD,
    CountedRefund,
    MoneyRecord,
    Order,
    OrderState,
    PaymentOutcome,
)
from command_service.ordering.events import (
    OrderExpired,
    OrderProgress,
    PaymentRecorded,
    RefundFailed,
    RefundRecordReversed,
)
from command_service.payment.domain import ORDER_PAYMENTS, OrderPayments
from command_service.payment.payments import Payment
from command_service.payment.refunds import Refund
from command_service.world import Change, Command, Decision, Touch, World
from event_log.events import Event

_PAYABLE = AWAITING | {OrderState.EXPIRED}
"""States in which money can still make an order paid."""


@dataclass(frozen=True, slots=True)
class PaymentAnswer:
    """The order after a payment, and what the payment did."""

    order: Order
    outcome: PaymentOutcome


@dataclass(frozen=True, slots=True)
class _Step:
    """An order on its way through a payment: with what it holds and the facts so far."""

    order: Order
    holdings: Holdings
    reservation_state: ReservationState
    events: tuple[Event, ...] = field(default=())

    def expired_by(self, now: datetime) -> "_Step":
        """The same, expired if its time has come and nobody has noticed yet."""
        if self.order.state not in AWAITING or self.order.holds_stock(now):
            return self
        after = self.order.expire(now)
        return _Step(
            after,
            self.holdings.expired(),
            ReservationState.EXPIRED,
            (OrderExpired(OrderProgress.between(self.order, after)),),
        )

    def paid(self, received: Order) -> "_Step":
        """The order with its money, paid if the money covers it and its stock can be had."""
        if not received.is_covered:
            return replace(self, order=received)
        if self.order.state not in AWAITING:
            try:
                taken = self.holdings.retake_coupons().take_stock(demands_of(received))
            except Refusal:
                return replace(self, order=received)
        else:
            taken = self.holdings
        return replace(
            self,
            order=received.settle(),
            holdings=taken.commit_stock(),
            reservation_state=ReservationState.COMMITTED,
        )


@dataclass(frozen=True, slots=True)
class Received:
    """Money that was counted: what it did, all that shall be written, and the facts."""

    answer: PaymentAnswer
    changes: Sequence[Change]
    events: Sequence[Event]


def payment_touches(order_id: str, payment_reference: str) -> tuple[Touch, ...]:
    """The order, its reservation, and the reference so that it pays once."""
    return (
        ORDER.change(order_id),
        RESERVATION.change(order_id),
        MONEY_RECORD.create((PAYMENT_RECORD, payment_reference)),
    )


def payment_needs(world: World, order_id: str) -> Iterable[Touch]:
    """What the order holds, or has to take anew."""
    order = world.get(ORDER, order_id)
    return () if order is None or order.state not in _PAYABLE else order_touches(order)


def receive(
    world: World,
    order: Order,
    payment_reference: str,
    amount_minor: int,
    now: datetime,
    *,
    provider: str = "",
) -> Received:
    """Counts money that is not recorded yet, and makes the order paid if it suffices."""
    if order.state not in _PAYABLE:
        after = order.receive(amount_minor, now)
        progress = OrderProgress.between(order, after)
        answer = PaymentAnswer(after, PaymentOutcome.REFUND_DUE)
        changes: list[Change] = []
        events: list[Event] = [PaymentRecorded(progress, payment_reference, amount_minor, provider)]
    else:
        reservation = reservation_of(world, order)
        step = _Step(order, Holdings.of(world, order), reservation.state).expired_by(now)
        settled = step.paid(step.order.receive(amount_minor, now))
        progress = OrderProgress.between(step.order, settled.order)
        answer = PaymentAnswer(settled.order, outcome_now(settled.order))
        changes = settled.holdings.changes(reservation, settled.reservation_state)
        recorded = PaymentRecorded(progress, payment_reference, amount_minor, provider)
        events = [*step.events, recorded, *settled.holdings.events]
    record = MoneyRecord(order.order_id, amount_minor, outcome=answer.outcome)
    written = [
        ORDER.changed(order.order_id, answer.order),
        MONEY_RECORD.changed((PAYMENT_RECORD, payment_reference), record),
    ]
    return Received(answer, [*written, *changes], events)


def regaining_needs(world: World, order_id: str) -> Iterable[Touch]:
    """What an unpaid order holds, for `regain`."""
    order = world.get(ORDER, order_id)
    return () if order is None or order.state not in AWAITING else order_touches(order)


@dataclass(frozen=True, slots=True)
class Regained:
    """Money that the order counts as given back no more: what shall be written, and the facts."""

    changes: Sequence[Change]
    events: Sequence[Event]


@dataclass(frozen=True, slots=True)
class RecordedRefund:
    """A refund as people have recorded it, under its provider's name."""

    refund_reference: str
    amount_minor: int
    counted: CountedRefund


def regain(
    world: World,
    order: Order,
    payments: OrderPayments,
    refunds: Sequence[Refund | RecordedRefund],
    now: datetime,
) -> Regained:
    """Counts refunds no more: what fails, and what was recorded and turned out to be counted already.

    An order that still waits is paid if that is what it lacked. One that has expired stays so: its buyer
    was told, and did nothing since. payments: as they were.
    """
    if order.state not in AWAITING:
        orders = _without(order, payments, refunds, now)
        events = map(_uncounted, refunds, orders, orders[1:])
        return Regained([ORDER.changed(order.order_id, orders[-1])], list(events))
    reservation = reservation_of(world, order)
    step = _Step(order, Holdings.of(world, order), reservation.state).expired_by(now)
    *orders, after = _without(step.order, payments, refunds, now)
    settled = step.paid(after) if step.order.state in AWAITING else replace(step, order=after)
    changes = settled.holdings.changes(reservation, settled.reservation_state)
    events = map(_uncounted, refunds, orders, [*orders[1:], settled.order])
    return Regained(
        [ORDER.changed(order.order_id, settled.order), *changes],
        [*step.events, *events, *settled.holdings.events],
    )


def _without(
    order: Order,
    payments: OrderPayments,
    refunds: Sequence[Refund | RecordedRefund],
    now: datetime,
) -> list[Order]:
    """The order, and as it is after each of the refunds is counted no more."""
    orders = [order]
    for refund in refunds:
        by_line = {line.line_id: line.refunded_minor for line in order.lines}
        if isinstance(refund, Refund):
            lines = payments.units_regained(refund, by_line, order.recount_time)
            gifted_minor = refund.gifted_minor
        else:
            counted = refund.counted
            lines = payments.lines_counted(
                counted.lines, counted.create_time, by_line, order.recount_time
            )
            gifted_minor = counted.gifted_minor
        order = order.take_refund_back(tuple(lines), refund.amount_minor, gifted_minor, now)
        orders.append(order)
    return orders


def _uncounted(refund: Refund | RecordedRefund, before: Order, after: Order) -> Event:
    progress = OrderProgress.between(before, after)
    if isinstance(refund, Refund):
        return RefundFailed(progress, refund.refund_id, refund.amount_minor)
    return RefundRecordReversed(progress, refund.refund_reference, refund.amount_minor)


@dataclass(frozen=True, slots=True)
class RecordPayment(Command[PaymentAnswer]):
    """Records money for an order, and makes the order paid when it suffices.

    A payment that pays the order in full answers PAID, also when it is more than was asked:
    refund_due_minor then tells the surplus. Further payments answer REFUND_DUE. The same payment under
    another request id is answered with its outcome and the order as it is; it has no second effect, also
    if its provider has told of it under another of its names.
    """

    order_id: str
    payment_reference: str
    amount: Money

    def touches(self) -> Iterable[Touch]:
        """The order, its payments, its reservation, and the reference so that it pays once."""
        return (
            ORDER_PAYMENTS.change(self.order_id),
            *payment_touches(self.order_id, self.payment_reference),
        )

    def needs(self, world: World) -> Iterable[Touch]:
        """What the order holds, or has to take anew."""
        return payment_needs(world, self.order_id)

    def decide(self, world: World, now: datetime) -> Decision[PaymentAnswer]:
        """Counts the money and settles the order."""
        order = order_of(world, self.order_id)
        check_currency(order, self.amount)
        recorded = world.get(MONEY_RECORD, (PAYMENT_RECORD, self.payment_reference))
        if recorded is not None:
            return self._decide_again(order, recorded)
        payments = payments_of(world, self.order_id)
        payment = _known_as(payments, self.payment_reference)
        if payment is not None and payment.captured_minor:
            outcome = outcome_now(order)
            told = MoneyRecord(self.order_id, payment.captured_minor, outcome=outcome)
            return self._decide_again(order, told)
        received = receive(world, order, self.payment_reference, self.amount.amount_minor, now)
        changes = list(received.changes)
        if payment is not None:
            recorded_by_hand = payments.with_payment(replace(payment, is_recorded=True))
            changes.append(ORDER_PAYMENTS.changed(self.order_id, recorded_by_hand))
        return Decision(received.answer, changes, received.events)

    def _decide_again(self, order: Order, recorded: MoneyRecord) -> Decision[PaymentAnswer]:
        if (recorded.order_id, recorded.amount_minor) != (self.order_id, self.amount.amount_minor):
            raise PaymentAlreadyRecorded(
                payment_reference=self.payment_reference, order_id=recorded.order_id
            )
        assert recorded.outcome is not None, "every payment is recorded with its outcome"
        return Decision(PaymentAnswer(order, recorded.outcome))


def _known_as(payments: OrderPayments, name: str) -> Payment | None:
    """The payment that has this name at its provider, as far as its names are known."""
    for payment in payments.payments:
        if name in (payment.provider_reference, *payment.other_names):
            return payment
    return None


def outcome_now(order: Order) -> PaymentOutcome:
    """What the payments of an order have come to."""
    if order.state in AWAITING:
        return PaymentOutcome.PARTLY_PAID
    if order.state in CLOSED:
        return PaymentOutcome.REFUND_DUE
    return PaymentOutcome.PAID
