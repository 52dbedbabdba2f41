"""The ledger of money in PostgreSQL: double entry, written with the events that it is about.

Accounts, debit positive:

clearing      what a provider, or whoever took it, has received for us and not given back
receivable    what customers owe us; below 0 what we owe them
revenue       the price of what was paid
refunds       what of it is no longer ours: called off, returned, refunded, given as a gift
payable       refunds that are under way

Each event's entries sum to zero. Nothing is ever changed: what fails is booked back.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

import sqlalchemy as sa

from command_service.keyed_rows import columns
from command_service.ordering.events import (
    OrderProgressed,
    PaymentRecorded,
    RefundFailed,
    RefundRecorded,
    RefundRecordReversed,
)
from command_service.payment.events import RefundChanged
from command_service.payment.refunds import RefundState
from command_service.pipeline import Row, Statement
from event_log.events import Event
from event_log.tables import METADATA

OTHER = "other"
"""Stands for the provider of money that came by RecordPayment alone."""

MONEY_ENTRIES = sa.Table(
    "money_entries",
    METADATA,
    # Of the event that it belongs to.
    sa.Column("position", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("ordinal", sa.SmallInteger, primary_key=True, autoincrement=False),
    sa.Column("recorded_time", sa.DateTime(timezone=True), nullable=False),
    sa.Column("order_id", sa.Text, nullable=False),
    sa.Column("account", sa.Text, nullable=False),
    # "" but for clearing and payable.
    sa.Column("provider", sa.Text, nullable=False),
    sa.Column("currency_code", sa.Text, nullable=False),
    sa.Column("amount_minor", sa.BigInteger, nullable=False),
    sa.CheckConstraint(
        "account IN ('clearing', 'receivable', 'revenue', 'refunds', 'payable')", name="account"
    ),
    sa.CheckConstraint("amount_minor <> 0", name="amount"),
    sa.Index("ix_money_entries_order_id", "order_id"),
)

RECORD_ENTRIES = """
INSERT INTO money_entries (position, ordinal, recorded_time, order_id, account, provider, currency_code,
    amount_minor)
SELECT last.position - %s::bigint + row.event_ordinal, row.ordinal, %s::timestamptz, row.order_id,
    row.account, row.provider, row.currency_code, row.amount_minor
FROM (SELECT max(position) FROM events) AS last(position),
    unnest(%s::bigint[], %s::bigint[], %s::text[], %s::text[], %s::text[], %s::text[], %s::bigint[])
    AS row(event_ordinal, ordinal, order_id, account, provider, currency_code, amount_minor)
"""


class Entry(NamedTuple):
    """One line of a posting."""

    account: str
    provider: str
    amount_minor: int


class MoneyLedger:
    """Keeps the entries of each event that moves money."""

    def record(
        self, events: Sequence[tuple[int, Event, str]], event_count: int, now: datetime
    ) -> list[Statement]:
        """Writes the entries of a batch under the positions of their events."""
        rows = [row for ordinal, event, _ in events for row in _rows(ordinal, event)]
        return [Statement(RECORD_ENTRIES, (event_count, now, *columns(rows)))] if rows else []


def _rows(event_ordinal: int, event: Event) -> Iterator[Row]:
    entries = [entry for entry in posting(event) if entry.amount_minor]
    assert sum(entry.amount_minor for entry in entries) == 0, "debit equals credit"
    if not entries:
        return
    currency_code = _currency_code(event)
    for ordinal, entry in enumerate(entries):
        yield (
            event_ordinal,
            ordinal,
            event.key,
            entry.account,
            entry.provider,
            currency_code,
            entry.amount_minor,
        )


def posting(event: Event) -> list[Entry]:
    """What the event means for the accounts; their sum is zero."""
    match event:
        case PaymentRecorded():
            came = _moved("clearing", "receivable", event.amount_minor, event.provider or OTHER)
            return [*came, *_kept(event.progress.kept_change_minor)]
        case RefundRecorded(is_under_way=True):
            asked = _moved("receivable", "payable", event.amount_minor)
            return [*asked, *_kept(event.progress.kept_change_minor)]
        case RefundRecorded():
            given = _moved("receivable", "clearing", event.amount_minor, OTHER)
            return [*given, *_kept(event.progress.kept_change_minor)]
        case RefundFailed():
            failed = _moved("payable", "receivable", event.amount_minor)
            return [*failed, *_kept(event.progress.kept_change_minor)]
        case RefundRecordReversed():
            reversed_ = _moved("clearing", "receivable", event.amount_minor, OTHER)
            return [*reversed_, *_kept(event.progress.kept_change_minor)]
        case RefundChanged():
            return _done(event)
        case OrderProgressed():
            return _kept(event.progress.kept_change_minor)
    return []


def _kept(change_minor: int) -> list[Entry]:
    """More that is ours is revenue; less of it is a refund owed."""
    if change_minor > 0:
        return _moved("receivable", "revenue", change_minor)
    return _moved("refunds", "receivable", -change_minor)


def _done(event: RefundChanged) -> list[Entry]:
    was_done = event.state_before is RefundState.SUCCEEDED
    is_done = event.refund.state is RefundState.SUCCEEDED
    provider, amount_minor = event.payment.provider, event.refund.amount_minor
    if is_done and not was_done:
        return _moved("payable", "clearing", amount_minor, provider)
    if was_done and not is_done:
        return _moved("clearing", "payable", amount_minor, provider)
    return []


def _moved(debit: str, credit: str, amount_minor: int, provider: str = "") -> list[Entry]:
    return [
        Entry(debit, provider if debit == "clearing" else "", amount_minor),
        Entry(credit, provider if credit == "clearing" else "", -amount_minor),
    ]


def _currency_code(event: Event) -> str:
    if isinstance(event, RefundChanged):
        return event.payment.currency_code
    assert isinstance(event, OrderProgressed)
    return event.progress.currency_code
