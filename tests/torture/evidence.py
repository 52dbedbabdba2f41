"""What the database says, read at one moment: the answers, the log, the ledgers and the orders."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

import psycopg

from event_log.tokens import ConsistencyToken
from shopkeeper.cart.v1 import cart_events_pb2 as cart_events
from shopkeeper.payment.v1 import payment_events_pb2 as payment_events
from shopkeeper.payment.v1.payment_pb2 import CAPTURE_MODE_AT_ONCE
from shopkeeper.pricing.v1 import pricing_events_pb2 as pricing_events
from tests.torture.views import CONTEXTS, Retelling, Showing, parsed


class StoredAnswer(NamedTuple):
    """What was answered to a request id. code: 0 for success. digest: SHA-256 of the bytes."""

    method: str
    code: int
    digest: str
    position: int


class LoggedEvent(NamedTuple):
    """One fact. type: without its package. actor: who asked for it, or our worker's name."""

    position: int
    recorded_time: datetime
    type: str
    key: str
    request_id: str
    actor: str = ""


class Movement(NamedTuple):
    """One row of the stock ledger."""

    position: int
    sku_id: str
    location_id: str
    on_hand: int
    reserved: int
    allocated: int
    slack: int
    """What may be promised beyond on_hand: backorder_limit, which nobody sets here, and shortage."""
    cause: str = ""
    """The order or reservation that it was for, or what staff noted."""

    @property
    def counters(self) -> tuple[int, int, int, int]:
        """What changed of on_hand, reserved, allocated and slack."""
        return self.on_hand, self.reserved, self.allocated, self.slack


class StockLevel(NamedTuple):
    """A SKU at a place, as the tables have it."""

    sku_id: str
    location_id: str
    on_hand: int
    reserved: int
    allocated: int


class OrderRow(NamedTuple):
    """An order, as the tables have it."""

    order_id: str
    state: int
    version: int
    total_minor: int
    paid_minor: int
    refunded_minor: int
    expire_time: datetime


class OrderLineRow(NamedTuple):
    """A line of an order, as the tables have it: its units, and what became of them."""

    order_id: str
    line_id: str
    sku_id: str
    quantity: int
    fulfilled: int
    returned: int
    cancelled: int
    refunded: int


HELD, COMMITTED, RELEASED, LAPSED, SHIPPED = range(1, 6)
"""States of a reservation, as in inventory.proto."""


class Hold(NamedTuple):
    """A reservation that was made, of an order or not, as the tables have it."""

    reservation_id: str
    state: int
    expire_time: datetime


class PaymentRow(NamedTuple):
    """A payment at the provider, as the tables have it."""

    payment_id: str
    order_id: str
    provider_reference: str
    captured_minor: int
    refunded_minor: int
    state: int
    capture_mode: int = CAPTURE_MODE_AT_ONCE


class RefundRow(NamedTuple):
    """A refund at the provider, as the tables have it. position: where it was asked for."""

    position: int
    refund_id: str
    payment_id: str
    order_id: str
    amount_minor: int
    state: int
    provider_reference: str


class CouponRow(NamedTuple):
    """A coupon, as the tables have it. Limits are of uses; None for none."""

    coupon_code: str
    usage_limit: int | None
    usage_limit_per_customer: int | None
    used_count: int


class CouponUse(NamedTuple):
    """A use of a coupon that an order took, +1, or gave back, -1."""

    position: int
    coupon_code: str
    order_id: str
    customer_id: str
    change: int


class CartUnits(NamedTuple):
    """What a cart holds from a position of the log on, by SKU."""

    position: int
    cart_id: str
    units: dict[str, int]


class Errand(NamedTuple):
    """A call to the provider that is to be made. subject_id: of the payment or the refund.

    due_time: when anybody may make it: a claim is over then, or a pause.
    """

    subject_id: str
    order_id: str
    due_time: datetime
    is_in_flight: bool


@dataclass(frozen=True, slots=True)
class Evidence:
    """All of it.

    showings: what each event of the log left to be seen, in its order. provider_money: what the provider
    has captured and refunded, by its own reference; None while any of it may be on its way.
    """

    now: datetime
    incarnation: str
    answers: dict[str, StoredAnswer] = field(default_factory=dict)
    events: list[LoggedEvent] = field(default_factory=list)
    movements: list[Movement] = field(default_factory=list)
    levels: list[StockLevel] = field(default_factory=list)
    orders: dict[str, OrderRow] = field(default_factory=dict)
    holds: list[Hold] = field(default_factory=list)
    payments: list[PaymentRow] = field(default_factory=list)
    errands: list[Errand] = field(default_factory=list)
    provider_money: dict[str, tuple[int, int]] | None = None
    showings: list[Showing] = field(default_factory=list)
    order_lines: list[OrderLineRow] = field(default_factory=list)
    refunds: list[RefundRow] = field(default_factory=list)
    coupons: list[CouponRow] = field(default_factory=list)
    coupon_uses: list[CouponUse] = field(default_factory=list)
    cart_units: list[CartUnits] = field(default_factory=list)

    @property
    def refund_names(self) -> set[str]:
        """What the provider calls refunds of ours, as far as we know. None of them fails there."""
        return {refund.provider_reference for refund in self.refunds if refund.provider_reference}

    def position_of(self, token: str) -> int:
        """The place in the log that a token names; 0 for none, or of another log."""
        if not token:
            return 0
        parsed = ConsistencyToken.parse(token)
        return parsed.position if parsed.incarnation == self.incarnation else 0


MOMENT = "SELECT now(), incarnation FROM log_incarnation"
ANSWERS = (
    "SELECT request_id::text, method, code, encode(sha256(response), 'hex'), position FROM requests"
)
EVENTS = """
SELECT position, recorded_time, split_part(type, '.', 4), key, request_id::text, actor
FROM events ORDER BY position
"""
RETOLD = """
SELECT position, type, payload FROM events WHERE context = ANY(%s) ORDER BY position
"""
MOVEMENTS = """
SELECT position, sku_id, location_id, on_hand, reserved, allocated, backorder_limit + shortage, cause
FROM stock_movements ORDER BY position
"""
LEVELS = "SELECT sku_id, location_id, on_hand, reserved, allocated FROM stock_levels"
ORDERS = """
SELECT order_id, state, version, total_minor, paid_minor, refunded_minor, expire_time FROM orders
"""
HOLDS = "SELECT reservation_id, state, expire_time FROM reservations WHERE version > 0"
PAYMENTS = """
SELECT payment_id, order_id, provider_reference, captured_minor, refunded_minor, state, capture_mode
FROM payments
"""
ORDER_LINES = """
SELECT order_id, line_id, sku_id, quantity, fulfilled_quantity, returned_quantity, cancelled_quantity,
    refunded_quantity
FROM order_lines
"""
REFUNDS = """
SELECT refund_id, payment_id, order_id, amount_minor, state, provider_reference FROM refunds
"""
COUPONS = """
SELECT coupon_code, usage_limit, usage_limit_per_customer, used_count FROM coupons WHERE version > 0
"""
ERRANDS = """
SELECT payment_id, order_id, errand_due_time, errand_is_in_flight FROM payments
WHERE errand_due_time IS NOT NULL
UNION ALL SELECT refund_id, order_id, errand_due_time, errand_is_in_flight FROM refunds
WHERE errand_due_time IS NOT NULL
"""


def read_evidence(
    database_url: str, provider_money: dict[str, tuple[int, int]] | None = None
) -> Evidence:
    """Everything as of one moment.

    Raises:
        psycopg.OperationalError: the database cannot be reached.
    """
    with psycopg.connect(database_url, autocommit=True, connect_timeout=5) as connection:
        connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")

        def rows(sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
            return connection.execute(sql.encode(), parameters, binary=True).fetchall()

        [(now, incarnation)] = rows(MOMENT)
        ledgers = Ledgers()
        showings = _retold(rows(RETOLD, list(CONTEXTS)), ledgers)
        return Evidence(
            now,
            incarnation,
            {row[0]: StoredAnswer(*row[1:]) for row in rows(ANSWERS)},
            [LoggedEvent(*row) for row in rows(EVENTS)],
            [Movement(*row) for row in rows(MOVEMENTS)],
            [StockLevel(*row) for row in rows(LEVELS)],
            {row[0]: OrderRow(*row) for row in rows(ORDERS)},
            [Hold(*row) for row in rows(HOLDS)],
            [PaymentRow(*row) for row in rows(PAYMENTS)],
            [Errand(*row) for row in rows(ERRANDS)],
            provider_money,
            showings,
            [OrderLineRow(*row) for row in rows(ORDER_LINES)],
            [RefundRow(ledgers.asked_back_at.get(row[0], 0), *row) for row in rows(REFUNDS)],
            [CouponRow(*row) for row in rows(COUPONS)],
            ledgers.coupon_uses,
            ledgers.cart_units,
        )


@dataclass(slots=True)
class Ledgers:
    """What the log tells of coupons, carts and refunds. asked_back_at: positions, by refund."""

    coupon_uses: list[CouponUse] = field(default_factory=list)
    cart_units: list[CartUnits] = field(default_factory=list)
    asked_back_at: dict[str, int] = field(default_factory=dict)
    _lines: dict[str, dict[str, tuple[str, int]]] = field(default_factory=dict)

    def enter(self, position: int, event: Any) -> None:
        """One event more, in the order of the log."""
        match event:
            case pricing_events.CouponUseHeld() | pricing_events.CouponUseReturned():
                count = 1 if isinstance(event, pricing_events.CouponUseHeld) else -1
                whose = (event.coupon_code, event.order_id, event.customer_id)
                self.coupon_uses.append(CouponUse(position, *whose, count))
            case cart_events.CartCreated():
                self._fill(position, event.cart.cart_id, event.cart.lines, ())
            case cart_events.CartChanged():
                self._fill(position, event.cart_id, event.changed_lines, event.removed_line_ids)
            case payment_events.RefundRequested():
                self.asked_back_at[event.refund.refund_id] = position

    def _fill(
        self, position: int, cart_id: str, changed: Iterable[Any], removed_ids: Iterable[str]
    ) -> None:
        lines = self._lines.setdefault(cart_id, {})
        for line_id in removed_ids:
            lines.pop(line_id)
        lines.update((line.line_id, (line.sku_id, line.quantity)) for line in changed)
        units: dict[str, int] = {}
        for sku_id, quantity in lines.values():
            units[sku_id] = units.get(sku_id, 0) + quantity
        self.cart_units.append(CartUnits(position, cart_id, units))


def _retold(events: list[tuple[Any, ...]], ledgers: Ledgers) -> list[Showing]:
    """What each event left to be seen; what it tells besides is entered."""
    retelling, showings = Retelling(), list[Showing]()
    for position, type_, payload in events:
        event = parsed(type_, payload)
        ledgers.enter(position, event)
        showings += retelling.after(position, event)
    return showings
