"""What the database says, read at one moment: the answers, the log, the ledgers and the orders."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

import psycopg

from event_log.tokens import ConsistencyToken
from tests.torture.views import CONTEXTS, Retelling, Showing


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
    """What may be promised beyond on_hand: backorder_limit and shortage; none here."""


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
SELECT position, sku_id, location_id, on_hand, reserved, allocated, backorder_limit + shortage
FROM stock_movements ORDER BY position
"""
LEVELS = "SELECT sku_id, location_id, on_hand, reserved, allocated FROM stock_levels"
ORDERS = """
SELECT order_id, state, version, total_minor, paid_minor, refunded_minor, expire_time FROM orders
"""
HOLDS = "SELECT reservation_id, state, expire_time FROM reservations WHERE version > 0"
PAYMENTS = """
SELECT payment_id, order_id, provider_reference, captured_minor, refunded_minor, state FROM payments
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
            _retold(rows(RETOLD, list(CONTEXTS))),
        )


def _retold(events: list[tuple[Any, ...]]) -> list[Showing]:
    retelling = Retelling()
    return [showing for event in events for showing in retelling.after(*event)]
