"""Orders, their lines, contacts, payments and refunds: tables and SQL side by side.

An order's row is its lock: lines change only under it. Contacts hold personal data; they are written
with a new order and read by nobody here.
"""

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from enum import IntEnum
from operator import attrgetter
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from command_service import adjustments
from command_service.keyed_rows import check_key_rows, columns
from command_service.ordering.contact import PostalAddress
from command_service.ordering.domain import (
    AWAITING,
    CLOSED,
    MONEY_RECORD,
    ORDER,
    CountedRefund,
    MoneyRecord,
    Order,
    OrderState,
    PaymentMode,
    PaymentOutcome,
)
from command_service.ordering.lines import OrderLine, Units
from command_service.pipeline import Row, Statement
from command_service.refunded_lines import RefundedLine
from command_service.unit_of_work import Changed, Keys
from command_service.world import Kind, Mode
from event_log.tables import METADATA

_AWAITING_SQL = ", ".join(str(int(state)) for state in sorted(AWAITING))
_PAID_SQL = ", ".join(str(int(state)) for state in sorted(set(OrderState) - AWAITING - CLOSED))

ORDERS = sa.Table(
    "orders",
    METADATA,
    sa.Column("order_id", sa.Text, primary_key=True),
    sa.Column("order_number", sa.Text, nullable=False),
    sa.Column("version", sa.BigInteger, nullable=False),
    # OrderState by its number in ordering.proto.
    sa.Column("state", sa.SmallInteger, nullable=False),
    # "" for a guest.
    sa.Column("customer_id", sa.Text, nullable=False),
    sa.Column("cart_id", sa.Text, nullable=False),
    sa.Column("currency_code", sa.Text, nullable=False),
    sa.Column("coupon_codes", ARRAY(sa.Text), nullable=False),
    sa.Column("subtotal_minor", sa.BigInteger, nullable=False),
    sa.Column("discount_minor", sa.BigInteger, nullable=False),
    sa.Column("total_minor", sa.BigInteger, nullable=False),
    sa.Column("paid_minor", sa.BigInteger, nullable=False),
    sa.Column("refunded_minor", sa.BigInteger, nullable=False),
    # Of refunded_minor, what was given back though it was not due.
    sa.Column("gifted_minor", sa.BigInteger, nullable=False),
    sa.Column("free_shipping", sa.Boolean, nullable=False),
    sa.Column("tax_inclusive", sa.Boolean, nullable=False),
    # PaymentMode by its number in ordering_command_service.proto.
    sa.Column("payment_mode", sa.SmallInteger, nullable=False),
    sa.Column("placed_time", sa.DateTime(timezone=True), nullable=False),
    sa.Column("update_time", sa.DateTime(timezone=True), nullable=False),
    sa.Column("expire_time", sa.DateTime(timezone=True), nullable=False),
    # When its lines began anew to count what was refunded; NULL for most, and for those of before.
    sa.Column("recount_time", sa.DateTime(timezone=True)),
    # In somebody's own words, so treated as personal data: not in the log.
    sa.Column("cancel_reason", sa.Text, nullable=False, server_default=""),
    sa.UniqueConstraint("order_number"),
    # One cart becomes one order, whatever a bug in the code above may try.
    sa.UniqueConstraint("cart_id"),
    sa.CheckConstraint("version > 0 AND state BETWEEN 1 AND 7", name="state"),
    sa.CheckConstraint(
        "total_minor = subtotal_minor + discount_minor AND total_minor >= 0 AND discount_minor <= 0",
        name="total",
    ),
    sa.CheckConstraint("refunded_minor BETWEEN 0 AND paid_minor", name="refunded"),
    sa.CheckConstraint("gifted_minor BETWEEN 0 AND refunded_minor", name="gifted"),
    # The last line of defence: nothing is shipped that was not paid for.
    sa.CheckConstraint(f"state NOT IN ({_PAID_SQL}) OR paid_minor >= total_minor", name="paid"),
    sa.Index("ix_orders_customer_id", "customer_id", "placed_time"),
    sa.Index("ix_orders_state", "state", "placed_time"),
    sa.Index(
        "ix_orders_expire_time", "expire_time", postgresql_where=sa.text(f"state IN ({_AWAITING_SQL})")
    ),
)

ORDER_LINES = sa.Table(
    "order_lines",
    METADATA,
    sa.Column("order_id", sa.Text, sa.ForeignKey("orders.order_id"), primary_key=True),
    sa.Column("line_id", sa.Text, primary_key=True),
    # Place in the order, from 0.
    sa.Column("ordinal", sa.Integer, nullable=False),
    sa.Column("sku_id", sa.Text, nullable=False),
    sa.Column("title", sa.Text, nullable=False),
    sa.Column("quantity", sa.Integer, nullable=False),
    sa.Column("unit_price_minor", sa.BigInteger, nullable=False),
    sa.Column("discount_minor", sa.BigInteger, nullable=False),
    sa.Column("price_list_id", sa.Text, nullable=False),
    sa.Column("price_tier_min_quantity", sa.Integer, nullable=False),
    # As command_service.adjustments stores them.
    sa.Column("adjustments", JSONB, nullable=False),
    sa.Column("fulfilled_quantity", sa.Integer, nullable=False),
    sa.Column("returned_quantity", sa.Integer, nullable=False),
    sa.Column("refunded_quantity", sa.Integer, nullable=False),
    sa.Column("cancelled_quantity", sa.Integer, nullable=False),
    # Money given back for units of the line since the order was paid.
    sa.Column("refunded_minor", sa.BigInteger, nullable=False),
    sa.CheckConstraint("quantity > 0", name="quantity"),
    sa.CheckConstraint("unit_price_minor >= 0 AND price_list_id <> ''", name="price"),
    sa.CheckConstraint(
        "discount_minor <= 0 AND unit_price_minor * quantity + discount_minor >= 0", name="total"
    ),
    sa.CheckConstraint("cancelled_quantity BETWEEN 0 AND quantity", name="cancelled"),
    sa.CheckConstraint(
        "fulfilled_quantity BETWEEN 0 AND quantity - cancelled_quantity", name="fulfilled"
    ),
    sa.CheckConstraint("returned_quantity BETWEEN 0 AND fulfilled_quantity", name="returned"),
    sa.CheckConstraint("refunded_quantity BETWEEN 0 AND quantity", name="refunded"),
    sa.CheckConstraint(
        "refunded_minor BETWEEN 0 AND unit_price_minor * quantity + discount_minor",
        name="refunded_minor",
    ),
)

# Personal data: not in the log, not in Redis, in no other table.
ORDER_CONTACTS = sa.Table(
    "order_contacts",
    METADATA,
    sa.Column("order_id", sa.Text, sa.ForeignKey("orders.order_id"), primary_key=True),
    sa.Column("email", sa.Text, nullable=False),
    sa.Column("full_name", sa.Text, nullable=False),
    sa.Column("phone", sa.Text, nullable=False),
    # PostalAddress of contact.proto as an object with its field names.
    sa.Column("shipping_address", JSONB),
    sa.Column("billing_address", JSONB),
    sa.Column("notes", sa.Text, nullable=False),
    sa.Index("ix_order_contacts_email", sa.text("lower(email)")),
)

# A row without an order is a key row: it means that there is no record.
MONEY_RECORDS = sa.Table(
    "money_records",
    METADATA,
    # "payment" or "refund".
    sa.Column("kind", sa.Text, primary_key=True),
    # The provider's name for it: the primary key is what keeps one payment from paying two orders.
    sa.Column("reference", sa.Text, primary_key=True),
    sa.Column("order_id", sa.Text, sa.ForeignKey("orders.order_id")),
    sa.Column("amount_minor", sa.BigInteger),
    # [{"line_id": ..., "quantity": ...}] of a refund that was asked for by units.
    sa.Column("units", JSONB, nullable=False, server_default=sa.text("'[]'::jsonb")),
    # What a refund did to its order, so that it can be undone; NULL where a program of before recorded
    # it. Lines as in refunds.
    sa.Column("lines", JSONB),
    sa.Column("gifted_minor", sa.BigInteger),
    sa.Column("create_time", sa.DateTime(timezone=True)),
    # What a payment did: PaymentOutcome by its number in ordering_command_service.proto.
    sa.Column("outcome", sa.SmallInteger),
    sa.CheckConstraint("kind IN ('payment', 'refund')", name="kind"),
    sa.CheckConstraint("(order_id IS NULL) = (amount_minor IS NULL)", name="complete"),
    sa.CheckConstraint("amount_minor > 0", name="amount"),
    sa.CheckConstraint("outcome BETWEEN 1 AND 3", name="outcome"),
    sa.CheckConstraint(
        "(outcome IS NULL) = (kind = 'refund' OR order_id IS NULL)", name="outcome_of_payment"
    ),
    sa.CheckConstraint(
        "(lines IS NULL) = (gifted_minor IS NULL) AND (lines IS NULL) = (create_time IS NULL)"
        " AND (lines IS NULL OR kind = 'refund' AND order_id IS NOT NULL)",
        name="counted",
    ),
    sa.Index("ix_money_records_order_id", "order_id"),
    sa.Index("ix_money_records_reference", "reference"),
)

_ORDER_COLUMNS = (
    "order_id order_number version state customer_id cart_id currency_code coupon_codes "
    "free_shipping tax_inclusive payment_mode placed_time update_time expire_time "
    "paid_minor refunded_minor gifted_minor recount_time cancel_reason"
).split()
_LINE_COLUMNS = (
    "line_id sku_id title quantity unit_price_minor discount_minor price_list_id "
    "price_tier_min_quantity adjustments fulfilled_quantity returned_quantity refunded_quantity "
    "cancelled_quantity refunded_minor"
).split()

_READ_ORDERS = f"SELECT {', '.join(_ORDER_COLUMNS)} FROM orders WHERE order_id = ANY(%s::text[])"
_LOCK_ORDERS = _READ_ORDERS + " ORDER BY order_id FOR NO KEY UPDATE"
_READ_LINES = f"""
SELECT order_id, {", ".join(_LINE_COLUMNS).replace("adjustments", "adjustments::text")}
FROM order_lines WHERE order_id = ANY(%s::text[]) ORDER BY order_id, ordinal
"""

# One statement for all three tables: each further one would cost every order a round of parsing.
_INSERT = """
WITH placed AS (
    INSERT INTO orders (order_id, order_number, version, state, customer_id, cart_id, currency_code,
        coupon_codes, subtotal_minor, discount_minor, total_minor, paid_minor, refunded_minor,
        gifted_minor, free_shipping, tax_inclusive, payment_mode, placed_time, update_time, expire_time)
    SELECT order_id, order_number, version, state, customer_id, cart_id, currency_code,
        array(SELECT jsonb_array_elements_text(coupon_codes)), subtotal_minor, discount_minor,
        total_minor, paid_minor, refunded_minor, gifted_minor, free_shipping, tax_inclusive,
        payment_mode, placed_time, update_time, expire_time
    FROM unnest(%(order_id)s::text[], %(order_number)s::text[], %(version)s::bigint[],
        %(state)s::bigint[], %(customer_id)s::text[], %(cart_id)s::text[], %(currency_code)s::text[],
        %(coupon_codes)s::text[]::jsonb[], %(subtotal_minor)s::bigint[], %(discount_minor)s::bigint[],
        %(total_minor)s::bigint[], %(paid_minor)s::bigint[], %(refunded_minor)s::bigint[],
        %(gifted_minor)s::bigint[], %(free_shipping)s::bool[], %(tax_inclusive)s::bool[],
        %(payment_mode)s::bigint[], %(placed_time)s::timestamptz[], %(update_time)s::timestamptz[],
        %(expire_time)s::timestamptz[])
        AS o(order_id, order_number, version, state, customer_id, cart_id, currency_code,
            coupon_codes, subtotal_minor, discount_minor, total_minor, paid_minor, refunded_minor,
            gifted_minor, free_shipping, tax_inclusive, payment_mode, placed_time, update_time,
            expire_time)
), lines AS (
    INSERT INTO order_lines (order_id, line_id, ordinal, sku_id, title, quantity, unit_price_minor,
        discount_minor, price_list_id, price_tier_min_quantity, adjustments, fulfilled_quantity,
        returned_quantity, refunded_quantity, cancelled_quantity, refunded_minor)
    SELECT * FROM unnest(%(line_order_id)s::text[], %(line_id)s::text[], %(ordinal)s::bigint[]::int[],
        %(sku_id)s::text[], %(title)s::text[], %(quantity)s::bigint[]::int[],
        %(unit_price_minor)s::bigint[], %(line_discount_minor)s::bigint[], %(price_list_id)s::text[],
        %(price_tier_min_quantity)s::bigint[]::int[], %(adjustments)s::text[]::jsonb[],
        %(fulfilled_quantity)s::bigint[]::int[], %(returned_quantity)s::bigint[]::int[],
        %(refunded_quantity)s::bigint[]::int[], %(cancelled_quantity)s::bigint[]::int[],
        %(line_refunded_minor)s::bigint[])
)
INSERT INTO order_contacts (order_id, email, full_name, phone, shipping_address, billing_address, notes)
SELECT * FROM unnest(%(contact_order_id)s::text[], %(email)s::text[], %(full_name)s::text[],
    %(phone)s::text[], %(shipping_address)s::text[]::jsonb[], %(billing_address)s::text[]::jsonb[],
    %(notes)s::text[])
"""

_UPDATE = """
WITH stepped AS (
    UPDATE orders SET version = o.version, state = o.state, paid_minor = o.paid_minor,
        refunded_minor = o.refunded_minor, gifted_minor = o.gifted_minor,
        update_time = o.update_time, expire_time = o.expire_time, recount_time = o.recount_time,
        cancel_reason = o.cancel_reason
    FROM unnest(%(order_id)s::text[], %(version)s::bigint[], %(state)s::bigint[],
        %(paid_minor)s::bigint[], %(refunded_minor)s::bigint[], %(gifted_minor)s::bigint[],
        %(update_time)s::timestamptz[], %(expire_time)s::timestamptz[],
        %(recount_time)s::timestamptz[], %(cancel_reason)s::text[])
        AS o(order_id, version, state, paid_minor, refunded_minor, gifted_minor, update_time,
            expire_time, recount_time, cancel_reason)
    WHERE orders.order_id = o.order_id
)
UPDATE order_lines SET fulfilled_quantity = l.fulfilled_quantity,
    returned_quantity = l.returned_quantity, refunded_quantity = l.refunded_quantity,
    cancelled_quantity = l.cancelled_quantity, refunded_minor = l.refunded_minor
FROM unnest(%(line_order_id)s::text[], %(line_id)s::text[], %(fulfilled_quantity)s::bigint[]::int[],
    %(returned_quantity)s::bigint[]::int[], %(refunded_quantity)s::bigint[]::int[],
    %(cancelled_quantity)s::bigint[]::int[], %(line_refunded_minor)s::bigint[])
    AS l(order_id, line_id, fulfilled_quantity, returned_quantity, refunded_quantity,
        cancelled_quantity, refunded_minor)
WHERE order_lines.order_id = l.order_id AND order_lines.line_id = l.line_id
"""

DUE_ORDERS = f"""
SELECT order_id, expire_time FROM orders
WHERE state IN ({_AWAITING_SQL}) AND expire_time <= statement_timestamp()
  AND (order_id, expire_time) NOT IN (SELECT * FROM unnest(%s::text[], %s::timestamptz[]))
ORDER BY expire_time LIMIT %s
"""
"""Unpaid orders whose time is up, longest overdue first, for whoever sends ExpireOrder."""

_CREATE_RECORDS = """
INSERT INTO money_records (kind, reference)
SELECT * FROM unnest(%s::text[], %s::text[]) ON CONFLICT DO NOTHING
"""
_READ_RECORDS = """
SELECT kind, reference, order_id, amount_minor, units, outcome, lines, gifted_minor, create_time
FROM money_records
WHERE (kind, reference) IN (SELECT * FROM unnest(%s::text[], %s::text[]))
"""
_LOCK_RECORDS = _READ_RECORDS + "ORDER BY kind, reference FOR NO KEY UPDATE"
_WRITE_RECORDS = """
UPDATE money_records SET order_id = r.order_id, amount_minor = r.amount_minor, units = r.units,
    outcome = r.outcome, lines = r.lines, gifted_minor = r.gifted_minor, create_time = r.create_time
FROM unnest(%s::text[], %s::text[], %s::text[], %s::bigint[], %s::text[]::jsonb[], %s::bigint[],
        %s::text[]::jsonb[], %s::bigint[], %s::timestamptz[])
    AS r(kind, reference, order_id, amount_minor, units, outcome, lines, gifted_minor, create_time)
WHERE money_records.kind = r.kind AND money_records.reference = r.reference
"""

_LINE_COUNTS = (
    "line_id fulfilled_quantity returned_quantity refunded_quantity cancelled_quantity"
).split()


class OrderRepository:
    """Keeps orders."""

    @property
    def kind(self) -> Kind[str, Order]:
        """Orders."""
        return ORDER

    def load(self, keys: Keys[str]) -> list[Statement]:
        """Order rows, locked first and then those only read; then the lines of all."""
        locked = [key for key, mode in keys.modes if mode >= Mode.SHARE]
        read = keys.read
        return [
            *([Statement(_LOCK_ORDERS, (locked,))] if locked else []),
            *([Statement(_READ_ORDERS, (read,))] if read else []),
            Statement(_READ_LINES, (keys.all,)),
        ]

    def assemble(self, keys: Keys[str], results: Sequence[Sequence[Row]]) -> dict[str, Order | None]:
        """Orders with their lines."""
        *order_rows, line_rows = results
        lines: dict[str, list[OrderLine]] = {}
        for order_id, *row in line_rows:
            lines.setdefault(order_id, []).append(_line(row))
        found: dict[str, Order | None] = dict.fromkeys(keys.all)
        found.update({row[0]: _order(row, tuple(lines[row[0]])) for rows in order_rows for row in rows})
        return found

    def save(self, changed: Sequence[Changed[str, Order]]) -> list[Statement]:
        """One statement for new orders, one for changed ones."""
        new = [change.after for change in changed if change.before is None]
        stepped = [(change.before, change.after) for change in changed if change.before is not None]
        return [*_inserts(new), *_updates(stepped)]


class MoneyRecordRepository:
    """Keeps payments and refunds."""

    @property
    def kind(self) -> Kind[tuple[str, str], MoneyRecord]:
        """Payments and refunds."""
        return MONEY_RECORD

    def load(self, keys: Keys[tuple[str, str]]) -> list[Statement]:
        """Key rows for new references, then all of them, locked if any is."""
        created, every = keys.created, keys.all
        read = _LOCK_RECORDS if keys.locked else _READ_RECORDS
        return [
            *([Statement(_CREATE_RECORDS, columns(created))] if created else []),
            Statement(read, columns(every)),
        ]

    def assemble(
        self, keys: Keys[tuple[str, str]], results: Sequence[Sequence[Row]]
    ) -> dict[tuple[str, str], MoneyRecord | None]:
        """Records; a bare key row is none."""
        check_key_rows(keys, {(kind, reference) for kind, reference, *_ in results[-1]})
        found: dict[tuple[str, str], MoneyRecord | None] = dict.fromkeys(keys.all)
        for kind, reference, order_id, amount_minor, units, outcome, *counted in results[-1]:
            if order_id is not None:
                found[kind, reference] = MoneyRecord(
                    order_id,
                    amount_minor,
                    units=tuple(Units(**unit) for unit in units),
                    outcome=None if outcome is None else PaymentOutcome(outcome),
                    counted=_counted(*counted),
                )
        return found

    def save(self, changed: Sequence[Changed[tuple[str, str], MoneyRecord | None]]) -> list[Statement]:
        """Fills the key rows; one whose record is gone stays, since somebody may wait for its lock."""
        rows = [(*key, *_record_row(after)) for key, _, after in changed]
        return [Statement(_WRITE_RECORDS, columns(rows))]


def _order(row: Row, lines: tuple[OrderLine, ...]) -> Order:
    fields: dict[str, Any] = dict(zip(_ORDER_COLUMNS, row, strict=True))
    fields["state"] = OrderState(fields["state"])
    fields["payment_mode"] = PaymentMode(fields["payment_mode"])
    fields["coupon_codes"] = tuple(fields["coupon_codes"])
    return Order(lines=lines, **fields)


def _line(row: Sequence[Any]) -> OrderLine:
    fields: dict[str, Any] = dict(zip(_LINE_COLUMNS, row, strict=True))
    fields["adjustments"] = adjustments.restored(fields["adjustments"])
    return OrderLine(**fields)


def _inserts(orders: Sequence[Order]) -> list[Statement]:
    if not orders:
        return []
    lines = [(order.order_id, n, line) for order in orders for n, line in enumerate(order.lines)]
    contacts = [(order.order_id, order.contact) for order in orders if order.contact is not None]
    parameters = {
        **_gathered(orders, _ORDER_FIELDS),
        "coupon_codes": [json.dumps(order.coupon_codes) for order in orders],
        "line_order_id": [order_id for order_id, _, _ in lines],
        "ordinal": [ordinal for _, ordinal, _ in lines],
        **_gathered([line for _, _, line in lines], _LINE_FIELDS),
        "line_discount_minor": [line.discount_minor for _, _, line in lines],
        "line_refunded_minor": [line.refunded_minor for _, _, line in lines],
        "adjustments": [adjustments.stored(line.adjustments) for _, _, line in lines],
        "contact_order_id": [order_id for order_id, _ in contacts],
        **_gathered([contact for _, contact in contacts], _CONTACT_FIELDS),
        "shipping_address": [_address(contact.shipping_address) for _, contact in contacts],
        "billing_address": [_address(contact.billing_address) for _, contact in contacts],
    }
    return [Statement(_INSERT, parameters)]


_ORDER_FIELDS = (
    "order_id order_number version state customer_id cart_id currency_code subtotal_minor "
    "discount_minor total_minor paid_minor refunded_minor gifted_minor free_shipping tax_inclusive "
    "payment_mode placed_time update_time expire_time"
).split()
_LINE_FIELDS = (
    "line_id sku_id title quantity unit_price_minor price_list_id price_tier_min_quantity "
    "fulfilled_quantity returned_quantity refunded_quantity cancelled_quantity"
).split()
_STEP_FIELDS = (
    "order_id version state paid_minor refunded_minor gifted_minor update_time expire_time recount_time "
    "cancel_reason"
).split()
_CONTACT_FIELDS = ("email", "full_name", "phone", "notes")


def _updates(steps: Sequence[tuple[Order, Order]]) -> list[Statement]:
    if not steps:
        return []
    lines = [
        (after.order_id, line)
        for before, after in steps
        for line, line_before in zip(after.lines, before.lines, strict=True)
        if line != line_before
    ]
    orders = [after for _, after in steps]
    parameters = {
        **_gathered(orders, _STEP_FIELDS),
        "line_order_id": [order_id for order_id, _ in lines],
        **_gathered([line for _, line in lines], _LINE_COUNTS),
        "line_refunded_minor": [line.refunded_minor for _, line in lines],
    }
    return [Statement(_UPDATE, parameters)]


def _gathered(rows: Sequence[object], fields: Iterable[str]) -> Mapping[str, list[Any]]:
    """The values of each field over all rows: what unnest() makes rows of again."""
    return {field: _plain(list(map(attrgetter(field), rows))) for field in fields}


def _plain(values: list[Any]) -> list[Any]:
    """Enums by their numbers: psycopg would send their names."""
    return list(map(int, values)) if values and isinstance(values[0], IntEnum) else values


def _record_row(record: MoneyRecord | None) -> Row:
    if record is None:
        return None, None, "[]", None, None, None, None
    units = json.dumps([dataclasses.asdict(each) for each in record.units])
    outcome = None if record.outcome is None else int(record.outcome)
    if record.counted is None:
        return record.order_id, record.amount_minor, units, outcome, None, None, None
    lines = json.dumps([dataclasses.asdict(line) for line in record.counted.lines])
    counted = lines, record.counted.gifted_minor, record.counted.create_time
    return record.order_id, record.amount_minor, units, outcome, *counted


def _counted(
    lines: Sequence[Any] | None, gifted_minor: int | None, create_time: datetime | None
) -> CountedRefund | None:
    if lines is None or gifted_minor is None or create_time is None:
        return None
    return CountedRefund(tuple(RefundedLine(**line) for line in lines), gifted_minor, create_time)


def _address(address: PostalAddress | None) -> str | None:
    return None if address is None else json.dumps(dataclasses.asdict(address))
