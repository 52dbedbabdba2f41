"""Which locations give up units that were promised, paid for and not shipped. Pure."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from command_service.inventory.domain import (
    Demand,
    HeldLine,
    MovementKind,
    Stock,
    StockChange,
    StockDeltas,
)
from command_service.inventory.movements import Move, record


def deallocate_units(
    stocks: Mapping[str, Stock | None], held: Sequence[HeldLine], units: Sequence[Demand], *, cause: str
) -> StockChange:
    """Gives some of the allocated units back that were not shipped, from whichever location.

    `lines` of the result hold so many units less; a line without any is left out. Units that are not on
    the shelf (missed by a count, or backordered) go first, so that the others can be shipped; then those
    of the last lines, as locations come into use from the first on.

    Raises:
        ValueError: more than are unshipped; the caller knows better what to call that.
    """
    freed = _freed(stocks, held, units)
    moves = [
        Move(line.sku_id, line.location_id, StockDeltas(allocated=-freed[line]))
        for line in held
        if freed[line]
    ]
    rest = [replace(line, quantity=line.quantity - freed[line]) for line in held]
    lines = tuple(line for line in rest if line.quantity > 0)
    return replace(record(stocks, moves, MovementKind.DEALLOCATED, cause=cause), lines=lines)


def _freed(
    stocks: Mapping[str, Stock | None], held: Sequence[HeldLine], units: Sequence[Demand]
) -> Counter[HeldLine]:
    """How many units each line gives up."""
    left_by_sku = Counter[str]()
    for demand in units:
        left_by_sku[demand.sku_id] += demand.quantity
    freed = Counter[HeldLine]()
    for line, quantity_max in [
        *((line, min(line.unshipped_quantity, _missing(stocks, line))) for line in held),
        *((line, line.unshipped_quantity) for line in reversed(held)),
    ]:
        quantity = max(0, min(left_by_sku[line.sku_id], quantity_max - freed[line]))
        left_by_sku[line.sku_id] -= quantity
        freed[line] += quantity
    if left_by_sku.total():
        raise ValueError(f"{left_by_sku} more to give up than are unshipped")
    return freed


def _missing(stocks: Mapping[str, Stock | None], line: HeldLine) -> int:
    """Units promised where the line is held that are not on the shelf there."""
    stock = stocks.get(line.sku_id)
    level = None if stock is None else stock.level_at(line.location_id)
    return 0 if level is None else max(0, level.promised - level.on_hand)
