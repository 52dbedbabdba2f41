"""What staff say of stock: what a count found, its policy, that its books be repaired. Pure.

The rule of `shortage` stands in movements.py: only a count raises it, of the shelf or of the books.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

from command_service.errors import BackorderLimitInUse, StockChanged
from command_service.inventory.domain import (
    COUNTERS,
    Level,
    LevelDrift,
    Location,
    MovementKind,
    Stock,
    StockChange,
    StockDeltas,
    StockDrift,
)
from command_service.inventory.events import StockMoved, StockRepaired

REPAIR_CAUSE = "repair"


@dataclass(frozen=True, slots=True)
class Count:
    """What a count of one SKU's shelf at one location found, and what it started from."""

    counted_quantity: int
    expected_on_hand: int


class RepairedCounter(NamedTuple):
    """A counter that was not the sum of its ledger."""

    location_id: str
    counter: str
    was: int
    now: int


def adjust(stock: Stock, location: Location, count: Count, *, cause: str) -> StockChange:
    """Records a count: on_hand is what is on the shelf, and the shortage what is then uncovered.

    A count below what is promised is the truth and never refused. One that finds nothing at a place
    without a level opens it.

    Raises:
        StockChanged: on_hand is no longer what the counter started from.
    """
    before = stock.level_at(location.location_id) or Level(location.location_id, location.rank)
    if before.on_hand != count.expected_on_hand:
        raise StockChanged(
            sku_id=stock.sku_id,
            location_id=location.location_id,
            on_hand=before.on_hand,
            expected_on_hand=count.expected_on_hand,
        )
    counted = replace(before, on_hand=count.counted_quantity)
    return _become(stock, replace(counted, shortage=counted.uncovered), MovementKind.ADJUSTED, cause)


def set_policy(
    stock: Stock, location: Location, *, safety_stock: int, backorder_limit: int, cause: str
) -> StockChange:
    """Sets how many units are kept back, and how many may be sold beyond those on hand.

    Raises:
        BackorderLimitInUse: promises rest on a higher limit.
    """
    before = stock.level_at(location.location_id) or Level(location.location_id, location.rank)
    after = replace(before, safety_stock=safety_stock, backorder_limit=backorder_limit)
    if after.uncovered > before.shortage:
        needed = after.uncovered - before.shortage + backorder_limit
        raise BackorderLimitInUse(sku_id=stock.sku_id, location_id=location.location_id, needed=needed)
    return _become(stock, replace(after, shortage=after.uncovered), MovementKind.POLICY_SET, cause)


def repair(
    stock: Stock | None, drift: StockDrift | None
) -> tuple[StockChange, tuple[RepairedCounter, ...]]:
    """Makes every counter equal the sum of its movements.

    Counters are simply set: the ledger was right, so it gets no row. Two things can stand in the way,
    because stock went on moving on wrong counters; both are booked as ADJUSTED, like a count: a counter
    cannot be below 0, and promises that the true counters do not cover are a shortage.
    """
    if drift is None or not drift.levels:
        return StockChange({}, ()), ()
    current = stock or Stock(drift.sku_id, ())
    found: list[RepairedCounter] = []
    corrections: list[StockMoved] = []
    for wrong in drift.levels:
        lost = Level(wrong.location_id, wrong.rank, active=wrong.active)
        before = current.level_at(wrong.location_id) or lost
        booked = _plus(before, wrong.ledger_minus_stored)
        after = _possible(booked)
        current = current.with_level(after)
        found.extend(_repaired_counters(wrong, before, after))
        deltas = _deltas(booked, after)
        if deltas != StockDeltas():
            kind = MovementKind.ADJUSTED
            corrections.append(StockMoved(current.sku_id, kind, deltas, after, REPAIR_CAUSE))
    return StockChange({current.sku_id: current}, [StockRepaired(current), *corrections]), tuple(found)


def _become(stock: Stock, after: Level, kind: MovementKind, cause: str) -> StockChange:
    """The change that makes one level so; without events when it already is."""
    existing = stock.level_at(after.location_id)
    deltas = _deltas(existing or Level(after.location_id, after.rank), after)
    if deltas == StockDeltas():
        if existing is not None:
            return StockChange({}, ())
        # Nothing was counted, kept back or allowed, yet from now on the SKU is known there.
        kind = MovementKind.OPENED
    event = StockMoved(stock.sku_id, kind, deltas, after, cause)
    return StockChange({stock.sku_id: stock.with_level(after)}, [event])


def _possible(booked: Level) -> Level:
    """The nearest level that can be: no counter below 0, and the shortage that follows."""
    after = replace(booked, **{name: max(0, getattr(booked, name)) for name in COUNTERS})
    return replace(after, shortage=after.uncovered)


def _repaired_counters(wrong: LevelDrift, before: Level, after: Level) -> Iterator[RepairedCounter]:
    for name in COUNTERS:
        was, now = getattr(before, name), getattr(after, name)
        if was != now or getattr(wrong.ledger_minus_stored, name) != 0:
            yield RepairedCounter(wrong.location_id, name, was, now)


def _deltas(before: Level, after: Level) -> StockDeltas:
    return StockDeltas(**{name: getattr(after, name) - getattr(before, name) for name in COUNTERS})


def _plus(level: Level, deltas: StockDeltas) -> Level:
    return replace(level, **{name: getattr(level, name) + getattr(deltas, name) for name in COUNTERS})
