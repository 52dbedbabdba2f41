"""The life of an order at its payment providers: what is to be done next, as one story. Pure.

Looks at where things are, never at how they came there: so it may be asked at any time, twice, or late,
and a crash loses nothing. Whatever happens, each captured payment ends in one paid order or in a refund.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from command_service.ordering.domain import AWAITING, CLOSED, Order, OrderState
from command_service.payment.domain import CaptureMode, OrderPayments, Payment, PaymentState
from command_service.payment.errands import Task

CAPTURE_HOLD = timedelta(minutes=2)
"""The stock stays held for so long from the moment in which the money is asked for."""


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
    # expired meanwhile is paid late, if what it wants can still be had.
    is_payable = order.state in AWAITING or (order.state is OrderState.EXPIRED and can_be_had)
    if is_payable and _is_covered(order, payments):
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
    if order.state is OrderState.EXPIRED and can_be_had and _is_about_to_be_covered(order, payments):
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
    authorized_minor = sum(
        each.authorized_minor
        for each in payments.payments
        if not _was_refused(each) and not each.is_being_called_off
    )
    has_some = any(_waits_for_us(each) for each in payments.payments)
    return has_some and order.refundable_minor + authorized_minor >= order.total_minor


def _to_be_taken(order: Order, payments: OrderPayments) -> list[Payment]:
    """The oldest of the money that waits, as far as the price needs it; the rest is called off later.

    What was asked for in vain may never come, however long its provider is away: it does not count.
    """
    has_minor = order.refundable_minor + sum(
        each.errand.amount_minor
        for each in payments.payments
        if each.errand is not None and each.errand.task is Task.CAPTURE and not each.can_be_left
    )
    taken: list[Payment] = []
    for payment in filter(_waits_for_us, payments.payments):
        if has_minor < order.total_minor:
            taken.append(payment)
            has_minor += payment.authorized_minor
    return taken


_BEING_TAKEN = frozenset({PaymentState.CAPTURING, PaymentState.UNKNOWN})


def _is_about_to_be_covered(order: Order, payments: OrderPayments) -> bool:
    """True when held money, once it is taken, will pay for all of it."""
    coming_minor = sum(
        each.authorized_minor
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
