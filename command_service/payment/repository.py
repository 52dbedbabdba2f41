"""Payments and refunds at providers: tables and SQL side by side.

They are guarded by the lock of their order, which every command that names them takes first.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, fields
from datetime import datetime
from enum import IntEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from command_service.keyed_rows import columns
from command_service.payment.domain import ORDER_PAYMENTS, OrderPayments
from command_service.payment.errands import Errand, Task
from command_service.payment.payments import CaptureMode, Payment, PaymentState, Wish
from command_service.payment.refunds import Refund, RefundState
from command_service.pipeline import Row, Statement
from command_service.refunded_lines import RefundedLine
from command_service.unit_of_work import Changed, Keys
from command_service.world import Kind
from event_log.tables import METADATA
from payment_providers.port import Flow

_ERRAND_CHECK = (
    "(errand_task IS NULL) = (errand_due_time IS NULL)"
    " AND (errand_task IS NOT NULL OR resolve_deadline IS NULL)"
)


def _errand_columns() -> tuple[sa.Column[Any], ...]:
    """The call that is to be made, or whose outcome is to be learned; all NULL if there is none."""
    return (
        # Task by its number.
        sa.Column("errand_task", sa.SmallInteger),
        # Nobody but who claimed it touches it before.
        sa.Column("errand_due_time", sa.DateTime(timezone=True)),
        sa.Column("errand_amount_minor", sa.BigInteger),
        sa.Column("errand_key_generation", sa.Integer),
        sa.Column("errand_key_spent_time", sa.DateTime(timezone=True)),
        sa.Column("errand_attempt_count", sa.Integer),
        sa.Column("errand_is_in_flight", sa.Boolean),
        sa.Column("errand_claim_time", sa.DateTime(timezone=True)),
        sa.Column("errand_last_sent_time", sa.DateTime(timezone=True)),
        sa.Column("resolve_deadline", sa.DateTime(timezone=True)),
    )


PAYMENTS = sa.Table(
    "payments",
    METADATA,
    sa.Column("payment_id", sa.Text, primary_key=True),
    sa.Column("order_id", sa.Text, sa.ForeignKey("orders.order_id"), nullable=False),
    # Place among the order's payments, from 1.
    sa.Column("ordinal", sa.Integer, nullable=False),
    sa.Column("provider", sa.Text, nullable=False),
    # Flow and CaptureMode by their numbers in payment.proto.
    sa.Column("flow", sa.SmallInteger, nullable=False),
    sa.Column("capture_mode", sa.SmallInteger, nullable=False),
    sa.Column("currency_code", sa.Text, nullable=False),
    sa.Column("amount_minor", sa.BigInteger, nullable=False),
    # Wish as an object with its field names: what a repeated call needs.
    sa.Column("wish", JSONB, nullable=False),
    sa.Column("create_time", sa.DateTime(timezone=True), nullable=False),
    sa.Column("update_time", sa.DateTime(timezone=True), nullable=False),
    # PaymentState by its number in payment.proto.
    sa.Column("state", sa.SmallInteger, nullable=False),
    # "" while it is not known.
    sa.Column("provider_reference", sa.Text, nullable=False),
    sa.Column("authorized_minor", sa.BigInteger, nullable=False),
    sa.Column("captured_minor", sa.BigInteger, nullable=False),
    sa.Column("refunded_minor", sa.BigInteger, nullable=False),
    sa.Column("refund_pending_minor", sa.BigInteger, nullable=False),
    sa.Column("failure_code", sa.Text, nullable=False),
    # Of the next call.
    sa.Column("key_generation", sa.Integer, nullable=False),
    # The provider's names for its money besides provider_reference: ["..."]
    sa.Column("other_names", JSONB, nullable=False, server_default=sa.text("'[]'::jsonb")),
    # Whether its money was recorded by hand, before the provider told of it.
    sa.Column("is_recorded", sa.Boolean, nullable=False, server_default=sa.text("false")),
    # Before it no call that could have begun it was sent; NULL where that is not known.
    sa.Column("begun_time", sa.DateTime(timezone=True)),
    # Names of refunds that none of ours is that is asked for from now on: ["..."]
    sa.Column("refunds_by_hand", JSONB, nullable=False, server_default=sa.text("'[]'::jsonb")),
    *_errand_columns(),
    sa.UniqueConstraint("order_id", "ordinal"),
    sa.CheckConstraint("state BETWEEN 1 AND 10", name="state"),
    sa.CheckConstraint("amount_minor > 0", name="amount"),
    sa.CheckConstraint("authorized_minor >= 0 AND captured_minor >= 0", name="told"),
    sa.CheckConstraint("refund_pending_minor BETWEEN 0 AND refunded_minor", name="refunded"),
    sa.CheckConstraint(_ERRAND_CHECK, name="errand"),
    # One payment of a provider is one payment of ours.
    sa.Index(
        "uq_payments_provider_reference",
        "provider",
        "provider_reference",
        unique=True,
        postgresql_where=sa.text("provider_reference <> ''"),
    ),
    sa.Index(
        "ix_payments_provider_reference",
        "provider_reference",
        postgresql_where=sa.text("provider_reference <> ''"),
    ),
    sa.Index(
        "ix_payments_errand_due_time",
        "errand_due_time",
        postgresql_where=sa.text("errand_due_time IS NOT NULL"),
    ),
)

REFUNDS = sa.Table(
    "refunds",
    METADATA,
    sa.Column("refund_id", sa.Text, primary_key=True),
    sa.Column("payment_id", sa.Text, sa.ForeignKey("payments.payment_id"), nullable=False),
    sa.Column("order_id", sa.Text, sa.ForeignKey("orders.order_id"), nullable=False),
    # Place among the order's refunds, from 1.
    sa.Column("ordinal", sa.Integer, nullable=False),
    sa.Column("amount_minor", sa.BigInteger, nullable=False),
    # [{"line_id": ..., "quantity": ..., "amount_minor": ...}]
    sa.Column("lines", JSONB, nullable=False),
    sa.Column("gifted_minor", sa.BigInteger, nullable=False),
    sa.Column("create_time", sa.DateTime(timezone=True), nullable=False),
    sa.Column("update_time", sa.DateTime(timezone=True), nullable=False),
    # RefundState by its number in payment.proto.
    sa.Column("state", sa.SmallInteger, nullable=False),
    sa.Column("provider_reference", sa.Text, nullable=False),
    sa.Column("failure_code", sa.Text, nullable=False),
    *_errand_columns(),
    sa.UniqueConstraint("order_id", "ordinal"),
    sa.CheckConstraint("state BETWEEN 1 AND 5", name="state"),
    sa.CheckConstraint("amount_minor > 0", name="amount"),
    sa.CheckConstraint("gifted_minor BETWEEN 0 AND amount_minor", name="gifted"),
    sa.CheckConstraint(_ERRAND_CHECK, name="errand"),
    sa.Index("ix_refunds_payment_id", "payment_id"),
    # One refund of a provider is one refund of ours.
    sa.Index(
        "uq_refunds_provider_reference",
        "payment_id",
        "provider_reference",
        unique=True,
        postgresql_where=sa.text("provider_reference <> ''"),
    ),
    sa.Index(
        "ix_refunds_provider_reference",
        "provider_reference",
        postgresql_where=sa.text("provider_reference <> ''"),
    ),
    # What a program of before left pending and did not ask after.
    sa.Index(
        "ix_refunds_unasked",
        "update_time",
        postgresql_where=sa.text("state = 2 AND errand_task IS NULL"),
    ),
    sa.Index(
        "ix_refunds_errand_due_time",
        "errand_due_time",
        postgresql_where=sa.text("errand_due_time IS NOT NULL"),
    ),
)

_ERRAND_COLUMNS = tuple(column.name for column in _errand_columns())
_PAYMENT_COLUMNS = tuple(column.name for column in PAYMENTS.columns)
_REFUND_COLUMNS = tuple(column.name for column in REFUNDS.columns)

_SQL_TYPE = {
    sa.Text: "text[]",
    sa.SmallInteger: "bigint[]::smallint[]",
    sa.Integer: "bigint[]::int[]",
    sa.BigInteger: "bigint[]",
    sa.Boolean: "bool[]",
    sa.DateTime: "timestamptz[]",
    JSONB: "text[]::jsonb[]",
}


def _read(table: sa.Table) -> str:
    names = ", ".join(column.name for column in table.columns)
    return (
        f"SELECT {names} FROM {table.name} WHERE order_id = ANY(%s::text[]) ORDER BY order_id, ordinal"
    )


def _write(table: sa.Table) -> str:
    """Inserts rows, or brings them up to date; one array a column."""
    names = [column.name for column in table.columns]
    arrays = ", ".join(f"%s::{_SQL_TYPE[type(column.type)]}" for column in table.columns)
    [key] = [column.name for column in table.primary_key.columns]
    news = ", ".join(f"{name} = excluded.{name}" for name in names if name != key)
    return (
        f"INSERT INTO {table.name} ({', '.join(names)}) SELECT * FROM unnest({arrays})"
        f" ON CONFLICT ({key}) DO UPDATE SET {news}"
    )


_READ_PAYMENTS, _READ_REFUNDS = _read(PAYMENTS), _read(REFUNDS)
_WRITE_PAYMENTS, _WRITE_REFUNDS = _write(PAYMENTS), _write(REFUNDS)

DUE_ERRANDS = """
SELECT DISTINCT order_id FROM (
    (SELECT order_id, errand_due_time FROM payments WHERE errand_due_time <= statement_timestamp()
     AND order_id <> ALL(%(resting)s::text[]) ORDER BY errand_due_time LIMIT %(count_max)s::bigint)
    UNION ALL
    (SELECT order_id, errand_due_time FROM refunds WHERE errand_due_time <= statement_timestamp()
     AND order_id <> ALL(%(resting)s::text[]) ORDER BY errand_due_time LIMIT %(count_max)s::bigint)
    UNION ALL
    (SELECT order_id, update_time FROM refunds WHERE state = 2 AND errand_task IS NULL
     AND order_id <> ALL(%(resting)s::text[]) ORDER BY update_time LIMIT %(count_max)s::bigint)
    ORDER BY errand_due_time LIMIT %(count_max)s::bigint
) AS due
"""
"""Orders with a call that waits for somebody to make it, of the calls that have waited for longest.

A refund that is pending and not asked after waits for somebody to begin. Not those that rest.
"""


class OrderPaymentsRepository:
    """Keeps the payments of orders."""

    @property
    def kind(self) -> Kind[str, OrderPayments]:
        """Payments, by order."""
        return ORDER_PAYMENTS

    def load(self, keys: Keys[str]) -> list[Statement]:
        """Both tables, without locks: the order's is held."""
        return [Statement(_READ_PAYMENTS, (keys.all,)), Statement(_READ_REFUNDS, (keys.all,))]

    def assemble(
        self, keys: Keys[str], results: Sequence[Sequence[Row]]
    ) -> dict[str, OrderPayments | None]:
        """Payments with their refunds; None for an order that never had one."""
        payments: dict[str, list[Payment]] = {}
        refunds: dict[str, list[Refund]] = {}
        for row in results[0]:
            payment = _payment(row)
            payments.setdefault(payment.order_id, []).append(payment)
        for row in results[1]:
            refund = _refund(row)
            refunds.setdefault(refund.order_id, []).append(refund)
        found: dict[str, OrderPayments | None] = dict.fromkeys(keys.all)
        for order_id, of_order in payments.items():
            found[order_id] = OrderPayments(order_id, tuple(of_order), tuple(refunds.get(order_id, ())))
        return found

    def save(self, changed: Sequence[Changed[str, OrderPayments]]) -> list[Statement]:
        """What differs, in one statement a table."""
        payments, refunds = [], []
        for key, before, after in changed:
            known = before or OrderPayments(key)
            payments += [
                _payment_row(n, each)
                for n, each in enumerate(after.payments, start=1)
                if each not in known.payments
            ]
            refunds += [
                _refund_row(n, each)
                for n, each in enumerate(after.refunds, start=1)
                if each not in known.refunds
            ]
        return [
            *([Statement(_WRITE_PAYMENTS, columns(payments))] if payments else []),
            *([Statement(_WRITE_REFUNDS, columns(refunds))] if refunds else []),
        ]


def _payment_row(ordinal: int, payment: Payment) -> tuple[Any, ...]:
    values = {name: getattr(payment, name, None) for name in _PAYMENT_COLUMNS}
    values |= {
        "ordinal": ordinal,
        "wish": _stored_wish(payment.wish),
        "other_names": json.dumps(payment.other_names),
        "refunds_by_hand": json.dumps(payment.refunds_by_hand),
        **_stored_errand(payment.errand),
    }
    return tuple(_plain(values[name]) for name in _PAYMENT_COLUMNS)


def _refund_row(ordinal: int, refund: Refund) -> tuple[Any, ...]:
    values = {name: getattr(refund, name, None) for name in _REFUND_COLUMNS}
    lines = json.dumps([asdict(line) for line in refund.lines])
    values |= {"ordinal": ordinal, "lines": lines, **_stored_errand(refund.errand)}
    return tuple(_plain(values[name]) for name in _REFUND_COLUMNS)


def _plain(value: object) -> object:
    """An enum by its number: psycopg would send its name."""
    return int(value) if isinstance(value, IntEnum) else value


def _payment(row: Row) -> Payment:
    values = dict(zip(_PAYMENT_COLUMNS, row, strict=True))
    return Payment(
        **_own(values, Payment),
        flow=Flow(values["flow"]),
        capture_mode=CaptureMode(values["capture_mode"]),
        state=PaymentState(values["state"]),
        wish=_restored_wish(values["wish"]),
        other_names=tuple(values["other_names"]),
        refunds_by_hand=tuple(values["refunds_by_hand"]),
        errand=_restored_errand(values),
    )


def _refund(row: Row) -> Refund:
    values = dict(zip(_REFUND_COLUMNS, row, strict=True))
    return Refund(
        **_own(values, Refund),
        state=RefundState(values["state"]),
        lines=tuple(RefundedLine(**line) for line in values["lines"]),
        errand=_restored_errand(values),
    )


_RESTORED_APART = {
    "flow",
    "capture_mode",
    "state",
    "wish",
    "other_names",
    "refunds_by_hand",
    "lines",
    "errand",
}


def _own(values: dict[str, Any], kind: type[Payment | Refund]) -> dict[str, Any]:
    """The columns that are fields as they are."""
    names = {each.name for each in fields(kind)} - _RESTORED_APART
    return {name: values[name] for name in names}


def _stored_wish(wish: Wish) -> str:
    values = asdict(wish)
    if wish.expire_time is not None:
        values["expire_time"] = wish.expire_time.isoformat()
    return json.dumps({name: value for name, value in values.items() if value})


def _restored_wish(values: dict[str, Any]) -> Wish:
    expire_time = values.get("expire_time")
    if expire_time is not None:
        values = values | {"expire_time": datetime.fromisoformat(expire_time)}
    return Wish(**values)


def _stored_errand(errand: Errand | None) -> dict[str, Any]:
    if errand is None:
        return dict.fromkeys(_ERRAND_COLUMNS)
    return {
        "errand_task": errand.task,
        "errand_due_time": errand.due_time,
        "errand_amount_minor": errand.amount_minor,
        "errand_key_generation": errand.key_generation,
        "errand_key_spent_time": errand.key_spent_time,
        "errand_attempt_count": errand.attempt_count,
        "errand_is_in_flight": errand.is_in_flight,
        "errand_claim_time": errand.claim_time,
        "errand_last_sent_time": errand.last_sent_time,
        "resolve_deadline": errand.resolve_deadline,
    }


def _restored_errand(values: dict[str, Any]) -> Errand | None:
    if values["errand_task"] is None:
        return None
    return Errand(
        task=Task(values["errand_task"]),
        due_time=values["errand_due_time"],
        amount_minor=values["errand_amount_minor"],
        key_generation=values["errand_key_generation"],
        key_spent_time=values["errand_key_spent_time"],
        attempt_count=values["errand_attempt_count"],
        is_in_flight=values["errand_is_in_flight"],
        claim_time=values["errand_claim_time"],
        last_sent_time=values["errand_last_sent_time"],
        resolve_deadline=values["resolve_deadline"],
    )
