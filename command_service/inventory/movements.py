"""How stock moves: what is promised, what leaves, what comes back. Pure.

The rule of `shortage`: after every movement it is exactly what neither the shelf nor the backorder
limit covers of the promises (Level.uncovered). A movement that would raise it is refused; only what a
count found raises it (adjust, and repair, which is a count of the books). When something covers it
again, the same movement lowers it. So reserved + allocated <= on_hand + backorder_limit + shortage
holds at all times, and shortage is never more than is needed for that.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from command_service.errors import OutOfStock, QuantityTooLarge
from command_service.inventory.allocation import allocate
from command_service.inventory.domain import (
    COUNTER_MAX,
    Demand,
    HeldLine,
    Level,
    MovementKind,
    Stock,
    StockChange,
    StockDeltas,
)
from command_service.inventory.events import StockMoved

Stocks = Mapping[str, Stock | None]
"""The stock of each SKU that the command named; None for one that never had any."""


class StockRow(NamedTuple):
    """Units of one SKU for the shelf of one location."""

    sku_id: str
    location_id: str
    quantity: int


class Move(NamedTuple):
    """One movement to be recorded: the counters of a SKU at a location change by the deltas."""

    sku_id: str
    location_id: str
    deltas: StockDeltas


def hold(stocks: Stocks, demands: Sequence[Demand], *, cause: str) -> StockChange:
    """Reserves all demands or nothing; `lines` of the result tell at which locations.

    Raises:
        OutOfStock: names each SKU that is short, with what is wanted and available.
    """
    lines = allocate(stocks, demands)
    moves = [Move(line.sku_id, line.location_id, StockDeltas(reserved=line.quantity)) for line in lines]
    return replace(record(stocks, moves, MovementKind.RESERVED, cause=cause), lines=lines)


def release(
    stocks: Stocks,
    lines: Sequence[HeldLine],
    *,
    cause: str,
    kind: MovementKind = MovementKind.RELEASED,
) -> StockChange:
    """Gives reserved units back; kind is RELEASED, or EXPIRED when time ran out."""
    moves = [Move(line.sku_id, line.location_id, StockDeltas(reserved=-line.quantity)) for line in lines]
    return replace(record(stocks, moves, kind, cause=cause), lines=tuple(lines))


def commit(stocks: Stocks, lines: Sequence[HeldLine], *, cause: str) -> StockChange:
    """Turns reserved units into allocated ones."""
    moves = [
        Move(
            line.sku_id,
            line.location_id,
            StockDeltas(reserved=-line.quantity, allocated=line.quantity),
        )
        for line in lines
    ]
    return replace(record(stocks, moves, MovementKind.COMMITTED, cause=cause), lines=tuple(lines))


def deallocate(stocks: Stocks, lines: Sequence[HeldLine], *, cause: str) -> StockChange:
    """Gives allocated units back that have not been shipped."""
    moves = [
        Move(line.sku_id, line.location_id, StockDeltas(allocated=-line.unshipped_quantity))
        for line in lines
        if line.unshipped_quantity > 0
    ]
    return replace(record(stocks, moves, MovementKind.DEALLOCATED, cause=cause), lines=tuple(lines))


def ship(
    stocks: Stocks,
    reservation_lines: Sequence[HeldLine],
    quantity_by_sku: Mapping[str, int],
    *,
    cause: str,
) -> StockChange:
    """Takes units of a committed reservation off the shelves that hold them.

    `lines` of the result are all lines of the reservation, with their new shipped_quantity. A SKU held
    at several locations leaves those first that come first among the lines and have units on hand.

    Raises:
        OutOfStock: units are promised (backordered, or missed by a count) that are not on the shelf.
        ValueError: more than is unshipped; the caller knows better what to call that.
    """
    lines, moves, short = [], [], []
    left_by_sku = dict(quantity_by_sku)
    for line in reservation_lines:
        on_hand = _level(stocks, line.sku_id, line.location_id).on_hand
        quantity = min(left_by_sku.get(line.sku_id, 0), line.unshipped_quantity, on_hand)
        if quantity > 0:
            left_by_sku[line.sku_id] -= quantity
            deltas = StockDeltas(on_hand=-quantity, allocated=-quantity)
            moves.append(Move(line.sku_id, line.location_id, deltas))
        lines.append(replace(line, shipped_quantity=line.shipped_quantity + quantity))
    for sku_id, left in sorted(left_by_sku.items()):
        if left > _unshipped(lines, sku_id):
            raise ValueError(f"{left} more of {sku_id} to ship than are unshipped")
        if left > 0:
            wanted = quantity_by_sku[sku_id]
            short.append(f"{sku_id}: {wanted} to ship, {wanted - left} on hand")
    if short:
        raise OutOfStock(shortages="; ".join(short))
    return replace(record(stocks, moves, MovementKind.SHIPPED, cause=cause), lines=tuple(lines))


def take_back(
    stocks: Stocks,
    rows: Sequence[tuple[str, str, int]],
    *,
    cause: str,
    rank_by_location: Mapping[str, int] | None = None,
) -> StockChange:
    """Puts (sku_id, location_id, quantity) that came back on the shelf.

    A level is opened where there is none. Its rank is that of its location if told, else 0 until it is
    loaded again: that matters only to commands of the same batch that choose between locations.

    Raises:
        QuantityTooLarge: on_hand would exceed its bound.
    """
    ranks = rank_by_location or {}
    kind = MovementKind.RETURNED
    return record(stocks, _on_shelf(rows), kind, cause=cause, rank_by_location=ranks)


def receive(
    stocks: Stocks,
    rows: Sequence[tuple[str, str, int]],
    *,
    cause: str,
    rank_by_location: Mapping[str, int],
) -> StockChange:
    """Puts (sku_id, location_id, quantity) that came in on the shelf; opens levels as needed.

    Raises:
        QuantityTooLarge: on_hand would exceed its bound.
    """
    kind = MovementKind.RECEIVED
    return record(stocks, _on_shelf(rows), kind, cause=cause, rank_by_location=rank_by_location)


def record(
    stocks: Stocks,
    moves: Iterable[Move],
    kind: MovementKind,
    *,
    cause: str,
    rank_by_location: Mapping[str, int] | None = None,
) -> StockChange:
    """Carries the moves out one after the other, each with its row for the ledger.

    `rank_by_location` allows levels to be opened at these locations; None allows none.

    Raises:
        QuantityTooLarge: on_hand would exceed its bound.
    """
    changed: dict[str, Stock] = {}
    events = []
    for sku_id, location_id, deltas in moves:
        stock = changed.get(sku_id) or stocks.get(sku_id) or Stock(sku_id, ())
        before = stock.level_at(location_id)
        if before is None and rank_by_location is not None:
            before = Level(location_id, rank_by_location.get(location_id, 0))
        if before is None:
            raise LookupError(f"{sku_id} was promised at {location_id}, where it never was")
        after = moved(before, deltas)
        if after.on_hand > COUNTER_MAX:
            raise QuantityTooLarge(quantity_max=COUNTER_MAX)
        settled = replace(deltas, shortage=after.shortage - before.shortage)
        changed[sku_id] = stock.with_level(after)
        events.append(StockMoved(sku_id, kind, settled, after, cause))
    return StockChange(changed, events)


def moved(level: Level, deltas: StockDeltas) -> Level:
    """The level after a movement, its shortage lowered to what is still uncovered."""
    after = replace(
        level,
        on_hand=level.on_hand + deltas.on_hand,
        reserved=level.reserved + deltas.reserved,
        allocated=level.allocated + deltas.allocated,
        safety_stock=level.safety_stock + deltas.safety_stock,
        backorder_limit=level.backorder_limit + deltas.backorder_limit,
        shortage=level.shortage + deltas.shortage,
    )
    return replace(after, shortage=min(after.shortage, after.uncovered))


def _on_shelf(rows: Iterable[tuple[str, str, int]]) -> list[Move]:
    return [Move(sku_id, place, StockDeltas(on_hand=quantity)) for sku_id, place, quantity in rows]


def _level(stocks: Stocks, sku_id: str, location_id: str) -> Level:
    stock = stocks.get(sku_id)
    level = None if stock is None else stock.level_at(location_id)
    if level is None:
        raise LookupError(f"{sku_id} was promised at {location_id}, where it never was")
    return level


def _unshipped(lines: Iterable[HeldLine], sku_id: str) -> int:
    return sum(line.unshipped_quantity for line in lines if line.sku_id == sku_id)
