"""Orders: their lines, their money, and the states that they pass through: pure.

            PlaceOrder                      FulfillOrderLines
AWAITING_PAYMENT / _INSTORE_PAYMENT --> PAID --> PARTIALLY_FULFILLED --> FULFILLED
    |            |           ^  ^          |
    | cancel     | expire    |  |          | cancel
    v            v           |  |          v
CANCELLED     EXPIRED -------'  |       CANCELLED
                 late payment, if the stock can still be had
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum, IntEnum, auto
from typing import Any

from command_service.errors import (
    InvalidField,
    OrderAlreadyClosed,
    OrderAlreadyPaid,
    OrderAlreadyShipped,
    OrderChanged,
    OrderLineNotFound,
    OrderNotExpired,
    OrderNotPaid,
    RefundExceedsPayments,
    Refusal,
    TooManyUnits,
)
from command_service.money import AMOUNT_MINOR_MAX, Money, cumulative_share
from command_service.ordering.contact import Contact
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
    FULFILL = auto()


# Each row: may it expire, be called off, be shipped? None says yes, else how it is refused.
_TABLE: Mapping[OrderState, tuple[type[Refusal] | None, type[Refusal] | None, type[Refusal] | None]] = {
    OrderState.AWAITING_PAYMENT: (None, None, OrderNotPaid),
    OrderState.AWAITING_INSTORE_PAYMENT: (None, None, OrderNotPaid),
    OrderState.PAID: (OrderAlreadyPaid, None, None),
    OrderState.PARTIALLY_FULFILLED: (OrderAlreadyPaid, OrderAlreadyShipped, None),
    OrderState.FULFILLED: (OrderAlreadyPaid, OrderAlreadyShipped, OrderAlreadyShipped),
    OrderState.CANCELLED: (OrderAlreadyClosed, OrderAlreadyClosed, OrderNotPaid),
    OrderState.EXPIRED: (OrderAlreadyClosed, OrderAlreadyClosed, OrderNotPaid),
}

REFUSAL_BY_STATE_AND_STEP: Mapping[tuple[OrderState, Step], type[Refusal] | None] = {
    (state, step): refusal
    for state, row in _TABLE.items()
    for step, refusal in zip((Step.EXPIRE, Step.CANCEL, Step.FULFILL), row, strict=True)
}


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
class LineAdjustment:
    """A promotion's effect on one line, frozen; fields as in cart.proto."""

    promotion_id: str
    title: str
    coupon_code: str
    amount_minor: int
    exact_amount_minor: str


@dataclass(frozen=True, slots=True)
class Units:
    """Units of one order line."""

    line_id: str
    quantity: int


@dataclass(frozen=True, slots=True)
class OrderLine:
    """One line: price and discount are frozen, the three counts move; fields as in ordering.proto."""

    line_id: str
    sku_id: str
    title: str
    quantity: int
    unit_price_minor: int
    discount_minor: int
    price_list_id: str
    price_tier_min_quantity: int
    adjustments: tuple[LineAdjustment, ...]
    fulfilled_quantity: int = 0
    returned_quantity: int = 0
    refunded_quantity: int = 0

    @property
    def subtotal_minor(self) -> int:
        """List price of all units."""
        return self.unit_price_minor * self.quantity

    @property
    def total_minor(self) -> int:
        """What the line costs."""
        return self.subtotal_minor + self.discount_minor

    def first_units_minor(self, quantity: int) -> int:
        """What the first `quantity` units cost: differences of it are exact prices of single units."""
        return self.unit_price_minor * quantity + cumulative_share(
            self.discount_minor, quantity, self.quantity
        )


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
        """Money to give back: see ordering.proto.

        A refund by amount counts against the surplus and the returned units alike; a refund of units
        counts against the return of those units.
        """
        if self.state in CLOSED:
            return self.refundable_minor
        if self.state in AWAITING:
            return 0
        surplus_minor = max(self.paid_minor - self.total_minor, 0)
        refunded_as_units_minor = sum(
            line.first_units_minor(line.refunded_quantity) for line in self.lines
        )
        due_minor = surplus_minor + self._returned_unrefunded_minor
        due_minor -= self.refunded_minor - refunded_as_units_minor
        return min(max(due_minor, 0), self.refundable_minor)

    @property
    def _returned_unrefunded_minor(self) -> int:
        return sum(
            line.first_units_minor(line.returned_quantity)
            - line.first_units_minor(min(line.refunded_quantity, line.returned_quantity))
            for line in self.lines
        )

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
        lines = tuple(
            replace(line, refunded_quantity=0) if line.refunded_quantity else line for line in self.lines
        )
        return replace(self, state=OrderState.PAID, lines=lines)

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

    def fulfill(self, units: Sequence[Units], now: datetime) -> "Order":
        """Counts units as shipped."""
        self._check(Step.FULFILL)
        lines = self._counted(units, _fulfilled)
        is_complete = all(line.fulfilled_quantity == line.quantity for line in lines)
        state = OrderState.FULFILLED if is_complete else OrderState.PARTIALLY_FULFILLED
        return self._changed(now, state=state, lines=lines)

    def unshipped(self) -> tuple[Units, ...]:
        """All units that were not shipped yet."""
        return tuple(
            Units(line.line_id, line.quantity - line.fulfilled_quantity)
            for line in self.lines
            if line.fulfilled_quantity < line.quantity
        )

    def take_back(self, units: Sequence[Units], now: datetime) -> "Order":
        """Counts units as returned; the state stays."""
        return self._changed(now, lines=self._counted(units, _returned))

    def refund_units(self, units: Sequence[Units], now: datetime) -> "Order":
        """Gives back what the units cost: exactly the line's total once all of them are refunded."""
        lines = self._counted(units, _refunded)
        amount_minor = sum(
            after.first_units_minor(after.refunded_quantity)
            - before.first_units_minor(before.refunded_quantity)
            for before, after in zip(self.lines, lines, strict=True)
        )
        return replace(self._refund(amount_minor, now), lines=lines)

    def refund_amount(self, amount_minor: int, now: datetime) -> "Order":
        """Gives an amount back that no unit accounts for."""
        return self._refund(amount_minor, now)

    def _refund(self, amount_minor: int, now: datetime) -> "Order":
        if amount_minor > self.refundable_minor:
            raise RefundExceedsPayments(
                refundable_minor=self.refundable_minor, amount_minor=amount_minor
            )
        return self._changed(now, refunded_minor=self.refunded_minor + amount_minor)

    def _check(self, step: Step) -> None:
        refusal = REFUSAL_BY_STATE_AND_STEP[self.state, step]
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


def _fulfilled(line: OrderLine, quantity: int) -> OrderLine:
    _check_units(line, quantity, quantity_max=line.quantity - line.fulfilled_quantity)
    return replace(line, fulfilled_quantity=line.fulfilled_quantity + quantity)


def _returned(line: OrderLine, quantity: int) -> OrderLine:
    _check_units(line, quantity, quantity_max=line.fulfilled_quantity - line.returned_quantity)
    return replace(line, returned_quantity=line.returned_quantity + quantity)


def _refunded(line: OrderLine, quantity: int) -> OrderLine:
    _check_units(line, quantity, quantity_max=line.quantity - line.refunded_quantity)
    return replace(line, refunded_quantity=line.refunded_quantity + quantity)


def _check_units(line: OrderLine, quantity: int, *, quantity_max: int) -> None:
    if quantity > quantity_max:
        raise TooManyUnits(line_id=line.line_id, quantity_max=quantity_max, quantity=quantity)


@dataclass(frozen=True, slots=True)
class MoneyRecord:
    """A payment or a refund under its provider's name: one belongs to one order, for good.

    units: what a refund was for, when it was asked for by units.
    """

    order_id: str
    amount_minor: int
    units: tuple[Units, ...] = ()


PAYMENT_RECORD = "payment"
REFUND_RECORD = "refund"

ORDER: Kind[str, Order] = Kind("order", LockRank.ORDER)
PAYMENT: Kind[tuple[str, str], MoneyRecord] = Kind("payment", LockRank.PAYMENT)
"""Keys are (PAYMENT_RECORD or REFUND_RECORD, the provider's name for it)."""
