"""How stock moves: what is promised, what leaves, what comes, what changes place. Pure.

The rule of `shortage`: after every movement it is exactly what neither the shelf nor the backorder
limit covers of the promises (Level.uncovered). A movement that would raise it is refused; only what a
count found raises it (adjust, and repair, which is a count of the books). When something covers it
again, the same movement lowers it. So reserved + allocated <= on_hand + backorder_limit + shortage
holds at all times, and shortage is never more than is needed for that.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from command_service.errors import (
    OutOfStock,
    QuantityTooLarge,
    StockNotFound,
    UnitsNotHeld,
    Violation,
)
from command_service.inventory.allocation import allocate
from command_service.inventory.domain import (
    COUNTER_MAX,
    Demand,
    HeldLine,
    Level,
    Location,
    MovementKind,
    Place,
    Stock,
    StockChange,
    StockDeltas,
    summed,
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
    return record(stocks, moves, MovementKind.RESERVED, cause=cause, lines=lines)


def release(
    stocks: Stocks,
    lines: Sequence[HeldLine],
    *,
    cause: str,
    kind: MovementKind = MovementKind.RELEASED,
) -> StockChange:
    """Gives reserved units back; kind is RELEASED, or EXPIRED when time ran out."""
    moves = [Move(line.sku_id, line.location_id, StockDeltas(reserved=-line.quantity)) for line in lines]
    return record(stocks, moves, kind, cause=cause, lines=lines)


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
    return record(stocks, moves, MovementKind.COMMITTED, cause=cause, lines=lines)


def deallocate(stocks: Stocks, lines: Sequence[HeldLine], *, cause: str) -> StockChange:
    """Gives allocated units back that have not been shipped."""
    moves = [
        Move(line.sku_id, line.location_id, StockDeltas(allocated=-line.unshipped_quantity))
        for line in lines
        if line.unshipped_quantity > 0
    ]
    return record(stocks, moves, MovementKind.DEALLOCATED, cause=cause, lines=lines)


def ship(
    stocks: Stocks, held: Sequence[HeldLine], units: Sequence[Demand], *, cause: str
) -> StockChange:
    """Takes units of a committed reservation off the shelves that hold them.

    `lines` of the result are all lines of the reservation, with their new shipped_quantity. Units leave
    the location that is named; of a SKU without one, those that hold it and have units on hand, by rank.

    Raises:
        UnitsNotHeld: fewer are held, there or at all, that were not shipped yet.
        OutOfStock: units are promised (backordered, or missed by a count) that are not on the shelf.
    """
    picked = _picked(stocks, held, units)
    lines, moves = [], []
    for line in held:
        quantity = picked[line.sku_id, line.location_id]
        if quantity > 0:
            deltas = StockDeltas(on_hand=-quantity, allocated=-quantity)
            moves.append(Move(line.sku_id, line.location_id, deltas))
        lines.append(replace(line, shipped_quantity=line.shipped_quantity + quantity))
    return record(stocks, moves, MovementKind.SHIPPED, cause=cause, lines=lines)


def shelve(
    stocks: Stocks,
    rows: Iterable[StockRow],
    kind: MovementKind,
    *,
    cause: str,
    rank_by_location: Mapping[str, int],
) -> StockChange:
    """Puts units on shelves, opening levels as needed; kind is RECEIVED or RETURNED.

    Raises:
        QuantityTooLarge: on_hand would exceed its bound.
    """
    moves = [Move(row.sku_id, row.location_id, StockDeltas(on_hand=row.quantity)) for row in rows]
    return record(stocks, moves, kind, cause=cause, rank_by_location=rank_by_location)


def transfer(
    stock: Stock, from_location_id: str, to: Location, quantity: int, *, cause: str
) -> StockChange:
    """Moves units that nobody holds and nothing keeps back to another location.

    Raises:
        StockNotFound: the SKU never had stock there.
        OutOfStock: fewer are on the shelf there beyond what is promised and the safety stock.
        QuantityTooLarge: on_hand would exceed its bound.
    """
    source = stock.level_at(from_location_id)
    if source is None:
        raise StockNotFound(sku_id=stock.sku_id, location_id=from_location_id)
    if quantity > source.spare:
        wanted = f"{quantity} wanted at {from_location_id}, {source.spare} to spare"
        raise OutOfStock([Violation(stock.sku_id, wanted)])
    leaves = Move(stock.sku_id, from_location_id, StockDeltas(on_hand=-quantity))
    out = record({stock.sku_id: stock}, [leaves], MovementKind.TRANSFERRED_OUT, cause=cause)
    arrives = Move(stock.sku_id, to.location_id, StockDeltas(on_hand=quantity))
    ranks = {to.location_id: to.rank}
    kind = MovementKind.TRANSFERRED_IN
    into = record(out.stocks, [arrives], kind, cause=cause, rank_by_location=ranks)
    return StockChange(into.stocks, [*out.events, *into.events])


def record(
    stocks: Stocks,
    moves: Iterable[Move],
    kind: MovementKind,
    *,
    cause: str,
    rank_by_location: Mapping[str, int] | None = None,
    lines: Sequence[HeldLine] = (),
) -> StockChange:
    """Carries the moves out one after the other, each with its row for the ledger.

    `lines` are those of the result: what is held after it.
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
        shortage = after.shortage - before.shortage
        settled = deltas if deltas.shortage == shortage else replace(deltas, shortage=shortage)
        changed[sku_id] = stock.with_level(after)
        events.append(StockMoved(sku_id, kind, settled, after, cause))
    return StockChange(changed, events, tuple(lines))


def moved(level: Level, deltas: StockDeltas) -> Level:
    """The level after a movement, its shortage lowered to what is still uncovered."""
    # Not by `replace`, which takes three times as long: every line of every order comes by here.
    after = Level(
        level.location_id,
        level.rank,
        level.on_hand + deltas.on_hand,
        level.reserved + deltas.reserved,
        level.allocated + deltas.allocated,
        level.safety_stock + deltas.safety_stock,
        level.backorder_limit + deltas.backorder_limit,
        level.shortage + deltas.shortage,
        level.active,
    )
    if after.shortage <= after.uncovered:
        return after
    return replace(after, shortage=after.uncovered)


def _picked(stocks: Stocks, held: Sequence[HeldLine], units: Sequence[Demand]) -> Counter[Place]:
    """How many of the units leave each place that holds them."""
    picked = Counter[Place]()
    short = []
    lines_by_sku = _by_rank(stocks, held)
    for demand in summed(units):
        places = [each for each in lines_by_sku[demand.sku_id] if _is_at(demand, each[0])]
        held_quantity = sum(line.unshipped_quantity - picked[line.place] for line, _ in places)
        _refuse_what_is_not_held(demand, held_quantity)
        left = demand.quantity
        for line, level in places:
            part = min(left, min(line.unshipped_quantity, level.on_hand) - picked[line.place])
            picked[line.place] += part
            left -= part
        if left > 0:
            what = f"{demand.quantity} to ship{demand.at}, {demand.quantity - left} on hand"
            short.append(Violation(demand.sku_id, what))
    if short:
        raise OutOfStock(short)
    return picked


def _by_rank(stocks: Stocks, held: Iterable[HeldLine]) -> Mapping[str, list[tuple[HeldLine, Level]]]:
    """The lines of each SKU in the order in which units leave them, each with its level."""
    lines = [(line, _level(stocks, *line.place)) for line in held]
    lines_by_sku = defaultdict[str, list[tuple[HeldLine, Level]]](list)
    for line, level in sorted(lines, key=lambda each: (each[1].rank, each[0].location_id)):
        lines_by_sku[line.sku_id].append((line, level))
    return lines_by_sku


def _is_at(demand: Demand, line: HeldLine) -> bool:
    return demand.location_id in (None, line.location_id)


def _refuse_what_is_not_held(demand: Demand, held_quantity: int) -> None:
    if demand.quantity > held_quantity:
        raise UnitsNotHeld(
            sku_id=demand.sku_id,
            location_id=demand.location_id or "any location",
            quantity=demand.quantity,
            held_quantity=held_quantity,
        )


def _level(stocks: Stocks, sku_id: str, location_id: str) -> Level:
    stock = stocks.get(sku_id)
    level = None if stock is None else stock.level_at(location_id)
    if level is None:
        raise LookupError(f"{sku_id} was promised at {location_id}, where it never was")
    return level
