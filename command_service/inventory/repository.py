"""Locations, stock and reservations in PostgreSQL; the ledger of stock stands in ledger.py."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from itertools import groupby
from operator import attrgetter, sub
from typing import Any

import sqlalchemy as sa

from command_service.inventory.domain import (
    COUNTERS,
    LOCATION,
    RESERVATION,
    STOCK,
    HeldLine,
    Level,
    Location,
    Reservation,
    ReservationState,
    Stock,
)
from command_service.keyed_rows import (
    assemble_rows,
    columns,
    load_rows,
    lock_roots,
    without_root,
)
from command_service.pipeline import Row, Statement
from command_service.unit_of_work import Changed, Keys
from event_log.tables import METADATA

LOCATIONS = sa.Table(
    "locations",
    METADATA,
    sa.Column("location_id", sa.Text, primary_key=True),
    # 0: a key row, made so that the absence of the location could be locked.
    sa.Column("version", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("title", sa.Text, nullable=False, server_default=""),
    sa.Column("rank", sa.Integer, nullable=False, server_default="0"),
    sa.Column("active", sa.Boolean, nullable=False, server_default=sa.false()),
)

# The root of a SKU's stock: whoever changes any of its levels holds the lock on this row. It is there
# from its first level on, and never written again.
STOCK_ITEMS = sa.Table("stock_items", METADATA, sa.Column("sku_id", sa.Text, primary_key=True))

STOCK_LEVELS = sa.Table(
    "stock_levels",
    METADATA,
    sa.Column("sku_id", sa.Text, sa.ForeignKey("stock_items.sku_id"), primary_key=True),
    sa.Column("location_id", sa.Text, sa.ForeignKey("locations.location_id"), primary_key=True),
    *(sa.Column(name, sa.Integer, nullable=False) for name in COUNTERS),
    *(sa.CheckConstraint(f"{name} >= 0", name=name) for name in COUNTERS),
    # The last line of defence. In 64 bits, so that the sums cannot overflow.
    sa.CheckConstraint(
        "reserved::bigint + allocated <= on_hand::bigint + backorder_limit + shortage",
        name=sa.schema.conv("stock_never_oversold"),
    ),
    # For closing a location. On a column that never changes, so that updates stay HOT.
    sa.Index("ix_stock_levels_location_id", "location_id"),
    # Half of each page is free for the next versions of its rows: the hottest table of the shop.
    postgresql_with={"fillfactor": "50"},
)

RESERVATIONS = sa.Table(
    "reservations",
    METADATA,
    sa.Column("reservation_id", sa.Text, primary_key=True),
    # 0: a key row, made so that the absence of the reservation could be locked.
    sa.Column("version", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("is_of_order", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("reference", sa.Text, nullable=False, server_default=""),
    sa.Column("state", sa.SmallInteger, nullable=False, server_default="0"),
    sa.Column("expire_time", sa.DateTime(timezone=True)),
    sa.CheckConstraint(
        "version = 0 OR (state BETWEEN 1 AND 5 AND expire_time IS NOT NULL)", name="complete"
    ),
    # For the worker that looks for what has expired: only holds (state 1) can.
    sa.Index("ix_reservations_expire_time", "expire_time", postgresql_where=sa.text("state = 1")),
)

RESERVATION_LINES = sa.Table(
    "reservation_lines",
    METADATA,
    sa.Column("reservation_id", sa.Text, sa.ForeignKey("reservations.reservation_id"), primary_key=True),
    sa.Column("sku_id", sa.Text, primary_key=True),
    sa.Column("location_id", sa.Text, primary_key=True),
    sa.Column("quantity", sa.Integer, nullable=False),
    sa.Column("shipped_quantity", sa.Integer, nullable=False),
    sa.Column("returned_quantity", sa.Integer, nullable=False),
    sa.CheckConstraint("quantity > 0", name="quantity"),
    sa.CheckConstraint("shipped_quantity BETWEEN 0 AND quantity", name="shipped_quantity"),
    sa.CheckConstraint("returned_quantity BETWEEN 0 AND shipped_quantity", name="returned_quantity"),
)

# --- locations ------------------------------------------------------------------------------------

MAKE_LOCATIONS = """
INSERT INTO locations (location_id) SELECT unnest(%s::text[]) ON CONFLICT DO NOTHING
"""

READ_LOCATIONS = """
SELECT location_id, version, title, rank, active
FROM locations WHERE location_id = ANY(%s::text[]) ORDER BY location_id
"""

# A statement of its own, after the lock: what the locking one joins is as old as its own beginning.
READ_EMPTY_LOCATIONS = """
SELECT location_id FROM unnest(%s::text[]) AS location_id
WHERE NOT EXISTS (
    SELECT FROM stock_levels AS level
    WHERE level.location_id = location_id.location_id
      AND (on_hand, reserved, allocated, safety_stock, backorder_limit, shortage)
          <> (0, 0, 0, 0, 0, 0))
"""

SAVE_LOCATIONS = """
UPDATE locations AS location
SET version = location.version + 1, title = row.title, rank = row.rank, active = row.active
FROM unnest(%s::text[], %s::text[], %s::bigint[], %s::bool[]) AS row(location_id, title, rank, active)
WHERE location.location_id = row.location_id
"""


class LocationRepository:
    """Keeps locations. Whether one is empty is read for all but those who only share it."""

    kind = LOCATION

    def load(self, keys: Keys[str]) -> list[Statement]:
        """Locks and reads locations, then whether they are empty."""
        statements = load_rows(keys, table="locations", make=MAKE_LOCATIONS, read=READ_LOCATIONS)
        return [*statements, Statement(READ_EMPTY_LOCATIONS, (_not_shared(keys),))]

    def assemble(self, keys: Keys[str], results: Sequence[Sequence[Row]]) -> dict[str, Location | None]:
        """Each location, or None."""
        *rows, empty_rows = results
        empty = {row[0] for row in empty_rows}

        def build(location_id: str, _version: int, *rest: Any) -> Location:
            title, rank, active = rest
            return Location(location_id, title, rank, active, location_id in empty)

        return assemble_rows(keys, rows, build)

    def save(self, changed: Sequence[Changed[str, Location]]) -> list[Statement]:
        """Writes locations; that one is no longer empty is said by its levels."""
        rows = [_location_row(after) for _, before, after in changed if not _is_same(before, after)]
        return [Statement(SAVE_LOCATIONS, columns(rows))] if rows else []


def _not_shared(keys: Keys[str]) -> list[str]:
    return sorted(set(keys.all) - set(keys.shared))


def _location_row(location: Location) -> Row:
    return location.location_id, location.title, location.rank, location.active


def _is_same(before: Location | None, after: Location) -> bool:
    return before is not None and _location_row(before) == _location_row(after)


# --- stock ----------------------------------------------------------------------------------------

MAKE_STOCK_ITEMS = """
INSERT INTO stock_items (sku_id) SELECT unnest(%s::text[]) ON CONFLICT DO NOTHING
"""

LOCK_STOCK_ITEMS = """
SELECT sku_id FROM stock_items WHERE sku_id = ANY(%s::text[]) ORDER BY sku_id
"""

READ_STOCK_LEVELS = """
SELECT sku_id, location_id, rank,
       on_hand, reserved, allocated, safety_stock, backorder_limit, shortage, active
FROM stock_levels JOIN locations USING (location_id)
WHERE sku_id = ANY(%s::text[])
ORDER BY sku_id COLLATE "C", location_id COLLATE "C"
"""

OPEN_STOCK_LEVELS = """
INSERT INTO stock_levels (sku_id, location_id,
    on_hand, reserved, allocated, safety_stock, backorder_limit, shortage)
SELECT * FROM unnest(%s::text[], %s::text[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[],
    %s::bigint[], %s::bigint[])
"""

# Differences, not values: should a lock ever be missing, two writers add up and the CHECK refuses what
# was sold twice, where the later of two values would silently replace the earlier.
MOVE_STOCK_LEVELS = """
UPDATE stock_levels AS level
SET on_hand = level.on_hand + row.on_hand,
    reserved = level.reserved + row.reserved,
    allocated = level.allocated + row.allocated,
    safety_stock = level.safety_stock + row.safety_stock,
    backorder_limit = level.backorder_limit + row.backorder_limit,
    shortage = level.shortage + row.shortage
FROM unnest(%s::text[], %s::text[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[],
    %s::bigint[], %s::bigint[])
    AS row(sku_id, location_id, on_hand, reserved, allocated, safety_stock, backorder_limit, shortage)
WHERE level.sku_id = row.sku_id AND level.location_id = row.location_id
"""


class StockRepository:
    """Keeps stock: each SKU with its levels at all locations, under one lock."""

    kind = STOCK

    def load(self, keys: Keys[str]) -> list[Statement]:
        """Locks the SKUs' roots, then reads their levels: those may only be read under the lock."""
        roots = lock_roots(keys, make=MAKE_STOCK_ITEMS, lock=LOCK_STOCK_ITEMS)
        return [*roots, Statement(READ_STOCK_LEVELS, (keys.all,))]

    def assemble(self, keys: Keys[str], results: Sequence[Sequence[Row]]) -> dict[str, Stock | None]:
        """Each SKU's stock; None when it has no level, or had none when it was to be locked."""
        *roots, level_rows = results
        absent = without_root(keys, roots)
        found: dict[str, Stock | None] = dict.fromkeys(keys.all)
        for sku_id, rows in groupby(level_rows, key=lambda row: str(row[0])):
            if sku_id not in absent:
                found[sku_id] = Stock(sku_id, tuple(Level(*row[1:]) for row in rows))
        return found

    def save(self, changed: Sequence[Changed[str, Stock]]) -> list[Statement]:
        """Adds to the levels that changed, and to no others, by how much they did."""
        opened, moved = [], []
        for sku_id, before, after in changed:
            known_levels = () if before is None else before.levels
            known = {level.location_id: level for level in known_levels}
            for level in after.levels:
                old = known.get(level.location_id)
                if old is None:
                    opened.append((sku_id, level.location_id, *_counters(level)))
                elif level != old:
                    differences = map(sub, _counters(level), _counters(old))
                    moved.append((sku_id, level.location_id, *differences))
        statements = [Statement(OPEN_STOCK_LEVELS, columns(opened))] if opened else []
        return [*statements, Statement(MOVE_STOCK_LEVELS, columns(moved))] if moved else statements


_counters: Callable[[Level], tuple[int, ...]] = attrgetter(*COUNTERS)


# --- reservations ---------------------------------------------------------------------------------

MAKE_RESERVATIONS = """
INSERT INTO reservations (reservation_id) SELECT unnest(%s::text[]) ON CONFLICT DO NOTHING
"""

READ_RESERVATIONS = """
SELECT reservation_id, version, is_of_order, reference, state, expire_time
FROM reservations WHERE reservation_id = ANY(%s::text[]) ORDER BY reservation_id
"""

READ_RESERVATION_LINES = """
SELECT reservation_id, sku_id, location_id, quantity, shipped_quantity, returned_quantity
FROM reservation_lines WHERE reservation_id = ANY(%s::text[])
ORDER BY reservation_id COLLATE "C", sku_id COLLATE "C", location_id COLLATE "C"
"""

ADD_RESERVATIONS = """
WITH added AS (
    INSERT INTO reservations (reservation_id, version, is_of_order, reference, state, expire_time)
    SELECT reservation_id, 1, is_of_order, reference, state, expire_time
    FROM unnest(%s::text[], %s::bool[], %s::text[], %s::bigint[], %s::timestamptz[])
        AS row(reservation_id, is_of_order, reference, state, expire_time)
    ON CONFLICT (reservation_id) DO UPDATE
    SET version = 1, is_of_order = excluded.is_of_order, reference = excluded.reference,
        state = excluded.state, expire_time = excluded.expire_time
    WHERE reservations.version = 0)
INSERT INTO reservation_lines
    (reservation_id, sku_id, location_id, quantity, shipped_quantity, returned_quantity)
SELECT * FROM unnest(
    %s::text[], %s::text[], %s::text[], %s::bigint[], %s::bigint[], %s::bigint[])
"""

SAVE_RESERVATIONS = """
UPDATE reservations AS reservation
SET version = reservation.version + 1, state = row.state, expire_time = row.expire_time
FROM unnest(%s::text[], %s::bigint[], %s::timestamptz[]) AS row(reservation_id, state, expire_time)
WHERE reservation.reservation_id = row.reservation_id
"""

SAVE_RESERVATION_LINES = """
INSERT INTO reservation_lines AS line
    (reservation_id, sku_id, location_id, quantity, shipped_quantity, returned_quantity)
SELECT * FROM unnest(
    %s::text[], %s::text[], %s::text[], %s::bigint[], %s::bigint[], %s::bigint[])
ON CONFLICT (reservation_id, sku_id, location_id) DO UPDATE
SET quantity = excluded.quantity, shipped_quantity = excluded.shipped_quantity,
    returned_quantity = excluded.returned_quantity
"""

# An order that is paid late is held anew, perhaps elsewhere.
REMOVE_RESERVATION_LINES = """
DELETE FROM reservation_lines AS line
USING unnest(%s::text[], %s::text[], %s::text[]) AS row(reservation_id, sku_id, location_id)
WHERE line.reservation_id = row.reservation_id AND line.sku_id = row.sku_id
  AND line.location_id = row.location_id
"""


DUE_RESERVATIONS = """
SELECT reservation_id, expire_time FROM reservations
WHERE state = 1 AND NOT is_of_order AND expire_time <= statement_timestamp()
  AND (reservation_id, expire_time) NOT IN (SELECT * FROM unnest(%s::text[], %s::timestamptz[]))
ORDER BY expire_time LIMIT %s
"""
"""Outside holds whose time is up, longest overdue first, for whoever sends ExpireReservation."""


class ReservationRepository:
    """Keeps reservations with their lines."""

    kind = RESERVATION

    def load(self, keys: Keys[str]) -> list[Statement]:
        """Locks and reads reservations, then their lines."""
        make, read = MAKE_RESERVATIONS, READ_RESERVATIONS
        statements = load_rows(keys, table="reservations", make=make, read=read)
        return [*statements, Statement(READ_RESERVATION_LINES, (keys.all,))]

    def assemble(
        self, keys: Keys[str], results: Sequence[Sequence[Row]]
    ) -> dict[str, Reservation | None]:
        """Each reservation, or None."""
        *rows, line_rows = results
        lines = {
            reservation_id: tuple(HeldLine(*row[1:]) for row in of_one)
            for reservation_id, of_one in groupby(line_rows, key=lambda row: row[0])
        }

        def build(reservation_id: str, _version: int, *rest: Any) -> Reservation:
            is_of_order, reference, state, expire_time = rest
            return Reservation(
                reservation_id,
                is_of_order,
                reference,
                ReservationState(state),
                lines.get(reservation_id, ()),
                expire_time,
            )

        return assemble_rows(keys, rows, build)

    def save(self, changed: Sequence[Changed[str, Reservation]]) -> list[Statement]:
        """Adds new reservations with their lines; of the others, writes only lines that changed."""
        added = [after for _, before, after in changed if before is None]
        kept = [(before, after) for _, before, after in changed if before is not None]
        statements = [_add(added)] if added else []
        if kept:
            saved = [(after.reservation_id, int(after.state), after.expire_time) for _, after in kept]
            statements.append(Statement(SAVE_RESERVATIONS, columns(saved)))
        if removed := [place for before, after in kept for place in _places(before) - _places(after)]:
            statements.append(Statement(REMOVE_RESERVATION_LINES, columns(removed)))
        if lines := [line for before, after in kept for line in _changed_lines(before, after)]:
            statements.append(Statement(SAVE_RESERVATION_LINES, columns(lines)))
        return statements


def _add(added: Sequence[Reservation]) -> Statement:
    rows = [(r.reservation_id, r.is_of_order, r.reference, int(r.state), r.expire_time) for r in added]
    lines = [row for reservation in added for row in _line_rows(reservation, reservation.lines)]
    return Statement(ADD_RESERVATIONS, (*columns(rows), *columns(lines)))


def _places(reservation: Reservation) -> set[Row]:
    return {(reservation.reservation_id, line.sku_id, line.location_id) for line in reservation.lines}


def _changed_lines(before: Reservation, after: Reservation) -> list[Row]:
    line_by_place = {line.place: line for line in before.lines}
    return _line_rows(after, [line for line in after.lines if line_by_place.get(line.place) != line])


def _line_rows(reservation: Reservation, lines: Iterable[HeldLine]) -> list[Row]:
    return [(reservation.reservation_id, *_columns_of(line)) for line in lines]


_columns_of: Callable[[HeldLine], Row] = attrgetter(*(field.name for field in fields(HeldLine)))
