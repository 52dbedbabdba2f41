"""The ledger of stock in PostgreSQL: a row for each movement, and whether the counters are its sums."""

from collections.abc import Sequence
from datetime import datetime
from itertools import groupby

import sqlalchemy as sa

from command_service.inventory.domain import (
    COUNTERS,
    STOCK_DRIFT,
    LevelDrift,
    StockDeltas,
    StockDrift,
)
from command_service.inventory.events import StockMoved
from command_service.keyed_rows import columns
from command_service.pipeline import Row, Statement
from command_service.unit_of_work import Changed, Keys
from event_log.events import Event
from event_log.tables import METADATA

# Append only. Each row is one StockMoved event and has its position; the counters are deltas.
STOCK_MOVEMENTS = sa.Table(
    "stock_movements",
    METADATA,
    sa.Column("position", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("recorded_time", sa.DateTime(timezone=True), nullable=False),
    sa.Column("sku_id", sa.Text, nullable=False),
    sa.Column("location_id", sa.Text, nullable=False),
    sa.Column("kind", sa.SmallInteger, nullable=False),
    *(sa.Column(name, sa.Integer, nullable=False) for name in COUNTERS),
    sa.Column("cause", sa.Text, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Index("ix_stock_movements_sku_id", "sku_id", "location_id", "position"),
)

RECORD_MOVEMENTS = """
INSERT INTO stock_movements (position, recorded_time, sku_id, location_id, kind,
    on_hand, reserved, allocated, safety_stock, backorder_limit, shortage, cause, actor)
SELECT last.position - %s::bigint + row.ordinal, %s::timestamptz, row.sku_id, row.location_id, row.kind,
    row.on_hand, row.reserved, row.allocated, row.safety_stock, row.backorder_limit, row.shortage,
    row.cause, row.actor
FROM (SELECT max(position) FROM events) AS last(position),
    unnest(%s::bigint[], %s::text[], %s::text[], %s::bigint[], %s::bigint[], %s::bigint[],
        %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::text[], %s::text[])
    AS row(ordinal, sku_id, location_id, kind, on_hand, reserved, allocated, safety_stock,
        backorder_limit, shortage, cause, actor)
"""

# Reads the ledger under the lock on the SKU, which everybody holds who writes to it.
READ_STOCK_DRIFT = """
WITH booked AS (
    SELECT sku_id, location_id, sum(on_hand) AS on_hand, sum(reserved) AS reserved,
           sum(allocated) AS allocated, sum(safety_stock) AS safety_stock,
           sum(backorder_limit) AS backorder_limit, sum(shortage) AS shortage
    FROM stock_movements WHERE sku_id = ANY(%(sku_ids)s::text[]) GROUP BY sku_id, location_id),
stored AS (SELECT * FROM stock_levels WHERE sku_id = ANY(%(sku_ids)s::text[])),
compared AS (
    SELECT sku_id, location_id, stored.on_hand IS NULL AS is_lost,
           coalesce(booked.on_hand, 0) - coalesce(stored.on_hand, 0) AS on_hand,
           coalesce(booked.reserved, 0) - coalesce(stored.reserved, 0) AS reserved,
           coalesce(booked.allocated, 0) - coalesce(stored.allocated, 0) AS allocated,
           coalesce(booked.safety_stock, 0) - coalesce(stored.safety_stock, 0) AS safety_stock,
           coalesce(booked.backorder_limit, 0) - coalesce(stored.backorder_limit, 0)
               AS backorder_limit,
           coalesce(booked.shortage, 0) - coalesce(stored.shortage, 0) AS shortage
    FROM booked FULL JOIN stored USING (sku_id, location_id))
SELECT sku_id, location_id, coalesce(locations.rank, 0), coalesce(locations.active, false),
       on_hand, reserved, allocated, safety_stock, backorder_limit, shortage
FROM compared LEFT JOIN locations USING (location_id)
WHERE is_lost OR (on_hand, reserved, allocated, safety_stock, backorder_limit, shortage)
    <> (0, 0, 0, 0, 0, 0)
ORDER BY sku_id COLLATE "C", location_id COLLATE "C"
"""


class StockLedger:
    """Keeps a row for each StockMoved event."""

    def record(
        self, events: Sequence[tuple[int, Event, str]], event_count: int, now: datetime
    ) -> list[Statement]:
        """Writes the movements of a batch under the positions of their events."""
        rows = [
            _movement_row(ordinal, event, actor)
            for ordinal, event, actor in events
            if isinstance(event, StockMoved)
        ]
        return [Statement(RECORD_MOVEMENTS, (event_count, now, *columns(rows)))] if rows else []


def _movement_row(ordinal: int, event: StockMoved, actor: str) -> Row:
    deltas = event.deltas
    return (
        ordinal,
        event.sku_id,
        event.level.location_id,
        int(event.kind),
        deltas.on_hand,
        deltas.reserved,
        deltas.allocated,
        deltas.safety_stock,
        deltas.backorder_limit,
        deltas.shortage,
        event.cause,
        actor,
    )


class StockDriftRepository:
    """Tells how far stock is from its ledger. Only reads; those who ask hold the stock's lock."""

    kind = STOCK_DRIFT

    def load(self, keys: Keys[str]) -> list[Statement]:
        """Compares the counters with the sums of their movements."""
        return [Statement(READ_STOCK_DRIFT, {"sku_ids": keys.all})]

    def assemble(
        self, keys: Keys[str], results: Sequence[Sequence[Row]]
    ) -> dict[str, StockDrift | None]:
        """Each SKU's drift; None where there is none."""
        found: dict[str, StockDrift | None] = dict.fromkeys(keys.all)
        for sku_id, rows in groupby(results[0], key=lambda row: str(row[0])):
            levels = tuple(
                LevelDrift(location_id, rank, active, StockDeltas(*map(int, deltas)))
                for _, location_id, rank, active, *deltas in rows
            )
            found[sku_id] = StockDrift(sku_id, levels)
        return found

    def save(self, changed: Sequence[Changed[str, StockDrift]]) -> list[Statement]:
        """Nothing: a drift is gone once the stock is written."""
        return []
