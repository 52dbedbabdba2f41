"""The life of an order at its payment providers: what is to be done next, as one story. Pure.

Looks at where things are, never at how they came there: so it may be asked at any time, twice, or late,
and a crash loses nothing. Whatever happens, each captured payment ends in one paid order or in a refund.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from command_service.ordering.domain import AWAITING, CLOSED, Order, OrderState
from command_service.payment.domain import OrderPayments
from command_service.payment.errands import Task
from command_service.payment.payments import CaptureMode, Payment, PaymentState

CAPTURE_HOLD = timedelta(minutes=2)
"""The stock stays held for so long from the moment in which the money is asked for."""

SUM_COUNT_MAX = 1_024
"""All of ten authorizations, more than any customer makes for one order; fifty have up to 2 ** 50."""


@dataclass(frozen=True, slots=True)
class Capture:
    """Take authorized money."""

    payment_id: str


@dataclass(frozen=True, slots=True)
class Void:
    """Call a payment off."""

    payment_id: str


@dataclass(frozen=True, slots=True)
class Leave:
    """Ask no more for authorized money."""

    payment_id: str


@dataclass(frozen=True, slots=True)
class HoldUntil:
    """Keep the order's stock held."""

    expire_time: datetime


@dataclass(frozen=True, slots=True)
class GiveBack:
    """Refund money of one payment that is nobody's price."""

    payment_id: str
    amount_minor: int


Step = Capture | Leave | Void | HoldUntil | GiveBack


def next_steps(
    order: Order, payments: OrderPayments, now: datetime, *, can_be_had: bool
) -> Iterator[Step]:
    """What is to be done now.

    can_be_had: whether an expired order could have its stock and coupon uses again.
    """
    if order.state in AWAITING and not order.holds_stock(now):
        return  # it expires in a moment, and that will be told

    # The customer has authorized it all: the money is taken while the stock is held. An order that has
    # expired meanwhile is paid late, if what it wants can still be had; but not by money that came when
    # that could not be had, beside which no more is needed.
    can_be_late = order.state is OrderState.EXPIRED and can_be_had and not order.is_covered
    if (order.state in AWAITING or can_be_late) and _is_covered(order, payments):
        taken = _to_be_taken(order, payments)
        if taken and order.state in AWAITING and order.expire_time < now + CAPTURE_HOLD:
            yield HoldUntil(now + CAPTURE_HOLD)
        yield from (Capture(each.payment_id) for each in taken)

    # Declined: the customer may try again, until the time is up; so an open payment stays open. Money
    # that its provider would not hand over is let go.
    elif order.state in AWAITING:
        yield from (Void(each.payment_id) for each in payments.payments if _was_refused(each))

    # Paid, cancelled or expired: nothing may be paid any more. What is on its way, and can be neither
    # taken nor called off now, is settled when it arrives.
    else:
        yield from (Void(each.payment_id) for each in payments.payments if _is_open(each))

    # Late money that is on its way, and pays for all of it with what is here already: both stay.
    if can_be_late and _is_about_to_be_covered(order, payments):
        return

    # Held money that was asked for in vain is not asked for again, only to be given back.
    if order.state not in AWAITING:
        for payment in payments.payments:
            if payment.can_be_left:
                yield Leave(payment.payment_id)
                yield Void(payment.payment_id)

    # Money that came all the same: late and no stock, for a cancelled order, or twice. What its provider
    # failed to give back once is for people, who see it in the alarms.
    surplus_minor = _surplus_minor(order)
    for payment in reversed(payments.payments):
        amount_minor = min(surplus_minor, payment.refundable_minor)
        if amount_minor > 0 and not payments.has_failed_refund(payment.payment_id):
            surplus_minor -= amount_minor
            yield GiveBack(payment.payment_id, amount_minor)


def _is_covered(order: Order, payments: OrderPayments) -> bool:
    """True when what was received, and what is authorized and can be taken, pay for all of it."""
    coming_minor = _sum_minor(each for each in payments.payments if _can_come(each, order))
    has_some = any(_waits_for_us(each) for each in payments.payments)
    return has_some and order.refundable_minor + coming_minor >= order.total_minor


def _can_come(payment: Payment, order: Order) -> bool:
    """True for authorized money that may be taken; nobody commands it any more for an expired order."""
    if _was_refused(payment) or payment.is_being_called_off:
        return False
    is_left = order.state is OrderState.EXPIRED and payment.state is PaymentState.AUTHORIZED
    return not (is_left and payment.capture_mode is CaptureMode.ON_COMMAND)


def _to_be_taken(order: Order, payments: OrderPayments) -> Sequence[Payment]:
    """As little of the money that waits as the price needs; the rest is called off later.

    What was asked for in vain may never come, however long its provider is away, nor what waits for a
    command: both count only where the price cannot be paid without them.
    """
    asked = [each for each in payments.payments if _is_asked_for(each)]
    waiting = [each for each in payments.payments if _waits_for_us(each)]
    lacking_minor = order.total_minor - order.refundable_minor - _sum_minor(asked)
    if _sum_minor(waiting) < lacking_minor:
        others = [each for each in payments.payments if each not in asked and each not in waiting]
        lacking_minor -= _sum_minor(each for each in others if _can_come(each, order))
    return _least_that_covers(waiting, lacking_minor)


def _is_asked_for(payment: Payment) -> bool:
    errand = payment.errand
    return errand is not None and errand.task is Task.CAPTURE and not payment.can_be_left


def _least_that_covers(waiting: Sequence[Payment], lacking_minor: int) -> Sequence[Payment]:
    """Those whose sum is the least that suffices, and of these the fewest. All of them suffice.

    Each is taken whole: not every means of payment can be captured in part, and one that refuses that
    could cost a buyer the order. What is too much goes back.
    """
    oldest = _oldest_that_cover(waiting, lacking_minor)
    by_sum_minor = {0: (), _sum_minor(oldest): oldest}
    for payment in waiting:
        for has_minor, taken in list(by_sum_minor.items()):
            after_minor = has_minor + payment.authorized_minor
            known = by_sum_minor.get(after_minor)
            is_full = known is None and len(by_sum_minor) >= SUM_COUNT_MAX
            is_no_better = known is not None and len(known) <= len(taken) + 1
            if has_minor < lacking_minor and not is_full and not is_no_better:
                by_sum_minor[after_minor] = (*taken, payment)
    least_minor = min(each for each in by_sum_minor if each >= lacking_minor)
    return _without_needless(by_sum_minor[least_minor], lacking_minor)


def _oldest_that_cover(waiting: Sequence[Payment], lacking_minor: int) -> tuple[Payment, ...]:
    taken: list[Payment] = []
    for payment in waiting:
        if _sum_minor(taken) < lacking_minor:
            taken.append(payment)
    return tuple(taken)


def _without_needless(taken: Sequence[Payment], lacking_minor: int) -> Sequence[Payment]:
    """The same, where not all sums could be looked at."""
    spare_minor = _sum_minor(taken) - lacking_minor
    needed: list[Payment] = []
    for payment in taken:
        if payment.authorized_minor <= spare_minor:
            spare_minor -= payment.authorized_minor
        else:
            needed.append(payment)
    return needed


def _sum_minor(payments: Iterable[Payment]) -> int:
    """What they bring; of an authorization of which a part is asked for, the rest is never taken."""
    return sum(
        each.errand.amount_minor
        if each.errand is not None and each.errand.task is Task.CAPTURE
        else each.authorized_minor
        for each in payments
    )


_BEING_TAKEN = frozenset({PaymentState.CAPTURING, PaymentState.UNKNOWN})


def _is_about_to_be_covered(order: Order, payments: OrderPayments) -> bool:
    """True when held money, once it is taken, will pay for all of it."""
    coming_minor = _sum_minor(
        each
        for each in payments.payments
        if _waits_for_us(each) or (each.state in _BEING_TAKEN and not each.is_being_called_off)
    )
    return coming_minor > 0 and order.refundable_minor + coming_minor >= order.total_minor


def _waits_for_us(payment: Payment) -> bool:
    return (
        payment.state is PaymentState.AUTHORIZED
        and payment.capture_mode is not CaptureMode.ON_COMMAND
        and not _was_refused(payment)
    )


def _was_refused(payment: Payment) -> bool:
    """True for authorized money whose capture the provider has refused."""
    return payment.state is PaymentState.AUTHORIZED and payment.failure_code != ""


def _is_open(payment: Payment) -> bool:
    """True when somebody could still pay it, and it is not just being asked for."""
    return payment.errand is None and payment.state in {
        PaymentState.AWAITING_CUSTOMER,
        PaymentState.AUTHORIZED,
    }


def _surplus_minor(order: Order) -> int:
    """Money that pays for nothing, whatever staff decide about goods that come back."""
    if order.state in CLOSED:
        return order.refundable_minor
    if order.state in AWAITING:
        return 0
    # What went back for no units, nor as a gift, counts as surplus: rather too little than what staff
    # would give back for goods a second time.
    of_units_minor = sum(line.refunded_minor for line in order.lines)
    given_back_minor = max(order.refunded_minor - of_units_minor - order.gifted_minor, 0)
    left_minor = order.paid_minor - order.total_minor - given_back_minor
    return min(order.refund_due_minor, max(left_minor, 0))
