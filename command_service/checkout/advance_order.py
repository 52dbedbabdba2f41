"""AdvanceOrder: the next steps in the life of an order are taken, and due calls claimed. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from command_service.checkout.extend_order_hold import held_until
from command_service.checkout.holdings import Holdings, demands_of, order_touches
from command_service.checkout.process import (
    Capture,
    GiveBack,
    HoldUntil,
    Leave,
    Step,
    Void,
    next_steps,
)
from command_service.checkout.refund_payment import asked_back
from command_service.checkout.start_payment import payments_of
from command_service.errors import Refusal
from command_service.inventory.domain import RESERVATION
from command_service.ordering.commands import order_of
from command_service.ordering.domain import ORDER, Order, OrderState
from command_service.payment.domain import ORDER_PAYMENTS, OrderPayments
from command_service.payment.errands import LEASE
from command_service.payment.events import PaymentChanged
from command_service.payment.payments import Payment
from command_service.payment.refunds import Refund
from command_service.world import Change, Command, Decision, Touch, World
from event_log.events import Event


@dataclass(frozen=True, slots=True)
class Claims:
    """Calls that whoever claimed them makes now.

    all: the order's money as it is, they included. is_wanted: whether the order can still be paid.
    """

    all: OrderPayments
    payments: tuple[Payment, ...]
    refunds: tuple[Refund, ...]
    is_wanted: bool = True


@dataclass(frozen=True, slots=True)
class _State:
    """The order and its money on their way through the steps."""

    world: World
    now: datetime
    lease: timedelta
    order: Order
    payments: OrderPayments
    changes: tuple[Change, ...] = ()
    events: tuple[Event, ...] = field(default=())

    def after(self, step: Step) -> "_State":
        """The same, one step further."""
        match step:
            case Capture(payment_id):
                payment = self.payments.payment(payment_id)
                return self._moved(payment, self._captured(payment))
            case Leave(payment_id):
                payment = self.payments.payment(payment_id)
                return self._moved(payment, payment.leave(self.now))
            case Void(payment_id):
                payment = self.payments.payment(payment_id)
                return self._moved(payment, payment.void(self.now, lease=self.lease))
            case HoldUntil(expire_time):
                held = held_until(self.world, self.order, expire_time, self.now)
                return replace(
                    self,
                    order=held.order,
                    changes=(*self.changes, *held.changes),
                    events=(*self.events, *held.events),
                )
            case GiveBack(payment_id, amount_minor):
                refunded = self.order.refund_amount(amount_minor, self.now)
                asked = asked_back(
                    self.payments,
                    self.order,
                    refunded,
                    (),
                    self.now,
                    payment_id=payment_id,
                    lease=self.lease,
                )
                return replace(
                    self,
                    order=refunded,
                    payments=asked.payments,
                    events=(*self.events, *asked.events),
                )

    def _captured(self, payment: Payment) -> Payment:
        return payment.capture(payment.authorized_minor, self.now, lease=self.lease)

    def _moved(self, before: Payment, after: Payment) -> "_State":
        return replace(
            self,
            payments=self.payments.with_payment(after),
            events=(*self.events, PaymentChanged(after, before.state)),
        )


@dataclass(frozen=True, slots=True)
class AdvanceOrder(Command[Claims]):
    """Does what the order's story says is next; answers the calls that whoever sent it makes now."""

    order_id: str
    lease: timedelta = LEASE

    def touches(self) -> Iterable[Touch]:
        """The order, its payments and its reservation."""
        return (
            ORDER.change(self.order_id),
            ORDER_PAYMENTS.change(self.order_id),
            RESERVATION.change(self.order_id),
        )

    def needs(self, world: World) -> Iterable[Touch]:
        """What an expired order would have to take anew."""
        order = world.get(ORDER, self.order_id)
        is_late = order is not None and order.state is OrderState.EXPIRED
        return order_touches(order) if order is not None and is_late else ()

    def decide(self, world: World, now: datetime) -> Decision[Claims]:
        """All of it in one decision; whoever sends it knows the order from the log."""
        order = order_of(world, self.order_id)
        payments = payments_of(world, self.order_id)
        followed = _followed(payments, now)
        state = _State(world, now, self.lease, order, followed)
        can_be_had = order.state is OrderState.EXPIRED and _can_be_had(world, order)
        for step in next_steps(order, payments, now, can_be_had=can_be_had):
            state = state.after(step)
        claims = _claimed(followed, state.payments, now, self.lease)
        claims = replace(claims, is_wanted=state.order.holds_stock(now))
        changes = list(state.changes)
        if state.order is not order:
            changes.append(ORDER.changed(self.order_id, state.order))
        if claims.all != payments:
            changes.append(ORDER_PAYMENTS.changed(self.order_id, claims.all))
        return Decision(claims, changes, state.events)


def _can_be_had(world: World, order: Order) -> bool:
    """True when stock and coupon uses are there now; they are taken when the money has come."""
    try:
        Holdings.of(world, order).retake_coupons().take_stock(demands_of(order))
    except Refusal:
        return False
    return True


def _followed(payments: OrderPayments, now: datetime) -> OrderPayments:
    """With whatever is pending asked after, also what a program of before has left."""
    return replace(payments, refunds=tuple(each.asked_after(now) for each in payments.refunds))


def _claimed(before: OrderPayments, payments: OrderPayments, now: datetime, lease: timedelta) -> Claims:
    """All calls that are due, or were asked for in this very decision, in our hands.

    The time of the claim does not tell which those are: the commands of a batch share it.
    """
    subjects: tuple[Payment | Refund, ...] = (*before.payments, *before.refunds)
    known = {_subject_id(each): each.errand for each in subjects}

    def is_ours(subject: Payment | Refund) -> bool:
        errand = subject.errand
        if errand is None:
            return False
        return errand != known.get(_subject_id(subject)) or errand.is_free(now)

    own_payments = tuple(each.claimed(now, lease=lease) for each in payments.payments if is_ours(each))
    own_refunds = tuple(each.claimed(now, lease=lease) for each in payments.refunds if is_ours(each))
    for payment in own_payments:
        payments = payments.with_payment(payment)
    for refund in own_refunds:
        payments = payments.with_refund(refund)
    return Claims(payments, own_payments, own_refunds)


def _subject_id(subject: Payment | Refund) -> str:
    return subject.refund_id if isinstance(subject, Refund) else subject.payment_id
