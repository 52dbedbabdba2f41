"""Orders: their lines, their money, and the states that they pass through: pure.

            PlaceOrder                      FulfillOrderLines, CancelOrderLines
AWAITING_PAYMENT / _INSTORE_PAYMENT --> PAID --> PARTIALLY_FULFILLED --> FULFILLED
    |            |           ^  ^          |
    | cancel     | expire    |  |          | cancel
    v            v           |  |          v
CANCELLED     EXPIRED -------'  |       CANCELLED
                 late payment, if the stock can still be had

An order whose units were all shipped or called off is at its end: FULFILLED if anything was shipped.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum, IntEnum, auto
from typing import Any

from command_service.errors import (
    InvalidField,
    NothingToRefund,
    NothingToShip,
    OrderAlreadyClosed,
    OrderAlreadyPaid,
    OrderAlreadyShipped,
    OrderChanged,
    OrderLineNotFound,
    OrderNotExpired,
    OrderNotPaid,
    RefundExceedsPayments,
    Refusal,
)
from command_service.money import AMOUNT_MINOR_MAX, Money
from command_service.ordering.contact import Contact
from command_service.ordering.lines import OrderLine, Units
from command_service.refunded_lines import RefundedLine
from command_service.world import Kind, LockRank


class OrderState(IntEnum):
    """Where an order stands; numbers as in ordering.proto."""

    AWAITING_PAYMENT = 1
    AWAITING_INSTORE_PAYMENT = 2
    PAID = 3
    PARTIALLY_FULFILLED = 4
    FULFILLED = 5
    CANCELLED = 6
    EXPIRED = 7


AWAITING = frozenset({OrderState.AWAITING_PAYMENT, OrderState.AWAITING_INSTORE_PAYMENT})
CLOSED = frozenset({OrderState.CANCELLED, OrderState.EXPIRED})


class Step(Enum):
    """What can be asked of an order that its state may forbid.

    Payments, refunds and returns are not among them: money that exists is always recorded, and what
    can be refunded or returned is a matter of amounts and units, not of the state.
    """

    EXPIRE = auto()
    CANCEL = auto()
    CANCEL_UNITS = auto()
    FULFILL = auto()


_REFUSALS: Mapping[Step, Mapping[OrderState, type[Refusal]]] = {
    Step.EXPIRE: {
        OrderState.PAID: OrderAlreadyPaid,
        OrderState.PARTIALLY_FULFILLED: OrderAlreadyPaid,
        OrderState.FULFILLED: OrderAlreadyPaid,
        OrderState.CANCELLED: OrderAlreadyClosed,
        OrderState.EXPIRED: OrderAlreadyClosed,
    },
    Step.CANCEL: {
        OrderState.PARTIALLY_FULFILLED: OrderAlreadyShipped,
        OrderState.FULFILLED: OrderAlreadyShipped,
        OrderState.CANCELLED: OrderAlreadyClosed,
        OrderState.EXPIRED: OrderAlreadyClosed,
    },
    Step.CANCEL_UNITS: {
        OrderState.AWAITING_PAYMENT: OrderNotPaid,
        OrderState.AWAITING_INSTORE_PAYMENT: OrderNotPaid,
        OrderState.FULFILLED: OrderAlreadyShipped,
        OrderState.CANCELLED: OrderAlreadyClosed,
        OrderState.EXPIRED: OrderAlreadyClosed,
    },
    Step.FULFILL: {
        OrderState.AWAITING_PAYMENT: OrderNotPaid,
        OrderState.AWAITING_INSTORE_PAYMENT: OrderNotPaid,
        OrderState.FULFILLED: OrderAlreadyShipped,
        OrderState.CANCELLED: OrderNotPaid,
        OrderState.EXPIRED: OrderNotPaid,
    },
}
"""How each step is refused, by the state; a state that is absent allows it."""


class PaymentMode(IntEnum):
    """How an order is paid; numbers as in ordering_command_service.proto."""

    ONLINE = 1
    IN_STORE = 2


class PaymentOutcome(IntEnum):
    """What a payment did; numbers as in ordering_command_service.proto."""

    PAID = 1
    PARTLY_PAID = 2
    REFUND_DUE = 3


@dataclass(frozen=True, slots=True)
class Order:
    """An order; fields and properties as in ordering.proto."""

    order_id: str
    order_number: str
    version: int
    """1 for a new order, one more with every change; the etag is made of it."""
    state: OrderState
    customer_id: str
    cart_id: str
    currency_code: str
    lines: tuple[OrderLine, ...]
    coupon_codes: tuple[str, ...]
    free_shipping: bool
    tax_inclusive: bool
    payment_mode: PaymentMode
    placed_time: datetime
    update_time: datetime
    expire_time: datetime
    paid_minor: int = 0
    refunded_minor: int = 0
    gifted_minor: int = 0
    """Of refunded_minor, what was given back though it was not due."""
    recount_time: datetime | None = None
    """When its lines began anew to count what was refunded: once it was paid, if money had gone back
    before. What was refunded earlier is in none of their counts."""
    cancel_reason: str = ""
    """In the words of whoever called it off, which may hold personal data: never in an event."""
    contact: Contact | None = None
    """Given with a new order and written with it; not read back, since no decision may rest on it."""

    @property
    def etag(self) -> str:
        """Changes with every change of the order."""
        return str(self.version)

    @property
    def subtotal_minor(self) -> int:
        """Sum of the lines' list prices."""
        return sum(line.subtotal_minor for line in self.lines)

    @property
    def discount_minor(self) -> int:
        """Sum of the lines' discounts: zero or negative."""
        return sum(line.discount_minor for line in self.lines)

    @property
    def total_minor(self) -> int:
        """What is to be paid, in minor units."""
        return self.subtotal_minor + self.discount_minor

    @property
    def total(self) -> Money:
        """What is to be paid."""
        return Money(self.currency_code, self.total_minor)

    @property
    def refundable_minor(self) -> int:
        """Money that we have: no refund may exceed it, and nothing else limits one."""
        return self.paid_minor - self.refunded_minor

    @property
    def refund_due_minor(self) -> int:
        """Money to give back: what we have, less what is ours; see ordering.proto."""
        if self.state in CLOSED:
            return self.refundable_minor
        if self.state in AWAITING:
            return 0
        return min(max(self.refundable_minor - self.kept_minor, 0), self.refundable_minor)

    @property
    def kept_minor(self) -> int:
        """What of its price is ours: nothing before it is paid, nor once it is called off."""
        if self.state in AWAITING | CLOSED:
            return 0
        return sum(line.kept_minor for line in self.lines) - self.gifted_minor

    @property
    def is_covered(self) -> bool:
        """True when the money that we have pays for all of it."""
        return self.refundable_minor >= self.total_minor

    def holds_stock(self, now: datetime) -> bool:
        """True while an unpaid order's stock is its own, whether or not a sweeper came by since."""
        return self.state in AWAITING and now < self.expire_time

    # --- steps: each returns the order after it ---------------------------------------------------

    def check_etag(self, etag: str) -> None:
        """Refuses an etag that is no longer the order's; "" stands for any."""
        if etag not in ("", self.etag):
            raise OrderChanged(order_id=self.order_id, etag=self.etag)

    def receive(self, amount_minor: int, now: datetime) -> "Order":
        """Takes money in; the state is another matter."""
        if self.paid_minor + amount_minor > AMOUNT_MINOR_MAX:
            raise InvalidField(
                field="amount.amount_minor",
                description=f"the payments of one order may not exceed {AMOUNT_MINOR_MAX}",
            )
        return self._changed(now, paid_minor=self.paid_minor + amount_minor)

    def settle(self) -> "Order":
        """Makes it paid, as part of the step that received the money.

        Units refunded before do not count any more: that money was given back, and has been paid anew.
        """
        lines = tuple(replace(line, refunded_quantity=0, refunded_minor=0) for line in self.lines)
        recount_time = self.update_time if self.refunded_minor else None
        return replace(self, state=OrderState.PAID, lines=lines, recount_time=recount_time)

    def expire(self, now: datetime) -> "Order":
        """Ends the wait for its money."""
        self._check(Step.EXPIRE)
        if now < self.expire_time:
            raise OrderNotExpired(order_id=self.order_id, expire_time=self.expire_time.isoformat())
        return self._changed(now, state=OrderState.EXPIRED)

    def cancel(self, now: datetime, *, reason: str = "") -> "Order":
        """Calls it off."""
        self._check(Step.CANCEL)
        return self._changed(now, state=OrderState.CANCELLED, cancel_reason=reason)

    def cancel_units(self, units: Sequence[Units], now: datetime) -> "Order":
        """Calls units off that were not shipped; with the last of them a shipped order is complete.

        An order of which nothing was shipped is then still to be cancelled: see `is_all_cancelled`.
        """
        self._check(Step.CANCEL_UNITS)
        return self._with_units_moved(self._counted(units, OrderLine.cancelled), now)

    @property
    def is_all_cancelled(self) -> bool:
        """True when every unit was called off, one by one."""
        return all(line.cancelled_quantity == line.quantity for line in self.lines)

    def fulfill(self, units: Sequence[Units], now: datetime) -> "Order":
        """Counts units as shipped."""
        self._check(Step.FULFILL)
        if not units:
            raise NothingToShip(order_id=self.order_id)
        return self._with_units_moved(self._counted(units, OrderLine.fulfilled), now)

    def shippable(self) -> tuple[Units, ...]:
        """All units that may be shipped."""
        return tuple(
            Units(line.line_id, line.shippable_quantity)
            for line in self.lines
            if line.shippable_quantity
        )

    def take_back(self, units: Sequence[Units], now: datetime) -> "Order":
        """Counts units as returned; the state stays."""
        return self._changed(now, lines=self._counted(units, OrderLine.returned))

    def refund_units(self, units: Sequence[Units], now: datetime) -> "Order":
        """Gives back what the units cost: exactly the line's total once all of them are refunded."""
        lines = self._counted(units, OrderLine.refunded)
        before_minor = sum(line.refunded_minor for line in self.lines)
        amount_minor = sum(line.refunded_minor for line in lines) - before_minor
        if amount_minor <= 0:
            raise NothingToRefund(order_id=self.order_id)
        return replace(self._refund(amount_minor, now), lines=lines)

    def refund_amount(self, amount_minor: int, now: datetime) -> "Order":
        """Gives an amount back that no unit accounts for; what exceeds the due is a gift."""
        after = self._refund(amount_minor, now)
        # Before it is paid nothing is due, and the money has to be paid anew: no gift either.
        if self.state in AWAITING:
            return after
        excess_minor = max(amount_minor - self.refund_due_minor, 0)
        return replace(after, gifted_minor=self.gifted_minor + excess_minor)

    def take_refund_back(
        self, refunded: Sequence[RefundedLine], amount_minor: int, gifted_minor: int, now: datetime
    ) -> "Order":
        """Counts a refund no more: the money did not leave after all."""
        taken = {each.line_id: each for each in refunded}
        lines = tuple(
            line.unrefunded(taken[line.line_id]) if line.line_id in taken else line
            for line in self.lines
        )
        return self._changed(
            now,
            lines=lines,
            refunded_minor=self.refunded_minor - amount_minor,
            gifted_minor=max(self.gifted_minor - gifted_minor, 0),
        )

    def extend_hold(self, expire_time: datetime, now: datetime) -> "Order":
        """Holds the stock until then, if that is later than before."""
        return self._changed(now, expire_time=expire_time) if expire_time > self.expire_time else self

    def _refund(self, amount_minor: int, now: datetime) -> "Order":
        if amount_minor > self.refundable_minor:
            raise RefundExceedsPayments(
                refundable_minor=self.refundable_minor, amount_minor=amount_minor
            )
        return self._changed(now, refunded_minor=self.refunded_minor + amount_minor)

    def _with_units_moved(self, lines: tuple[OrderLine, ...], now: datetime) -> "Order":
        """The paid order with these lines, in the state that their shipped units call for."""
        state = self.state
        if any(line.fulfilled_quantity for line in lines):
            is_complete = not any(line.unshipped_quantity for line in lines)
            state = OrderState.FULFILLED if is_complete else OrderState.PARTIALLY_FULFILLED
        return self._changed(now, state=state, lines=lines)

    def _check(self, step: Step) -> None:
        refusal = _REFUSALS[step].get(self.state)
        if refusal is not None:
            raise refusal(order_id=self.order_id, state=self.state.name)

    def _changed(self, now: datetime, **fields: Any) -> "Order":
        return replace(self, version=self.version + 1, update_time=now, **fields)

    def _counted(
        self, units: Sequence[Units], count: Callable[[OrderLine, int], OrderLine]
    ) -> tuple[OrderLine, ...]:
        """The lines with the units counted; a line named twice counts twice."""
        lines = {line.line_id: line for line in self.lines}
        for unit in units:
            line = lines.get(unit.line_id)
            if line is None:
                raise OrderLineNotFound(order_id=self.order_id, line_id=unit.line_id)
            lines[unit.line_id] = count(line, unit.quantity)
        return tuple(lines.values())


@dataclass(frozen=True, slots=True)
class CountedRefund:
    """What an order counted when a refund was recorded, beside its amount: to count it no more."""

    lines: tuple[RefundedLine, ...]
    gifted_minor: int
    create_time: datetime


@dataclass(frozen=True, slots=True)
class MoneyRecord:
    """A payment or a refund under its provider's name: one belongs to one order, for good.

    units: what a refund was for, when it was asked for by units; as `summed` by line. outcome: what a
    payment did, None for a refund. counted: what a refund did to the order, None for a payment, and
    where a program of before has recorded it.
    """

    order_id: str
    amount_minor: int
    units: tuple[Units, ...] = ()
    outcome: PaymentOutcome | None = None
    counted: CountedRefund | None = None


PAYMENT_RECORD = "payment"
REFUND_RECORD = "refund"

ORDER: Kind[str, Order] = Kind("order", LockRank.ORDER)
MONEY_RECORD: Kind[tuple[str, str], MoneyRecord] = Kind("money record", LockRank.MONEY_RECORD)
"""Keys are (PAYMENT_RECORD or REFUND_RECORD, the provider's name for it)."""
