"""Which locations fill a demand: all or nothing, from one location if one can. Pure."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from command_service.errors import OutOfStock, Violation
from command_service.inventory.domain import (
    COUNTER_MAX,
    Demand,
    HeldLine,
    Level,
    Place,
    Stock,
    summed,
)

Rooms = dict[str, dict[str, int]]
"""Units that can be promised, by SKU and location."""


@dataclass(slots=True)
class _Rooms:
    """What each location can still promise of each SKU, while lines are being taken from it.

    spare: units on the shelf. room: these and what may be backordered.
    """

    spare: Rooms
    room: Rooms
    rank_by_location: Mapping[str, int]
    taken: Counter[Place]

    def take(self, sku_id: str, location_id: str, quantity: int) -> None:
        self.room[sku_id][location_id] -= quantity
        self.spare[sku_id][location_id] = max(0, self.spare[sku_id][location_id] - quantity)
        self.taken[sku_id, location_id] += quantity

    def total(self, sku_id: str) -> int:
        return sum(self.room[sku_id].values())

    def alone(self, sku_id: str) -> dict[str, int]:
        """What each location can fill alone: with backorders only where no other shelf has a unit."""
        spare = self.spare[sku_id]
        total = sum(spare.values())
        return {
            place: room if spare[place] == total else spare[place]
            for place, room in self.room[sku_id].items()
        }

    def locations_for(self, wanted: Mapping[str, int]) -> list[str]:
        """Locations that can serve all of it, best first: already in use, then rank, then id."""
        able = [
            {place for place, room in self.alone(sku_id).items() if room >= quantity}
            for sku_id, quantity in wanted.items()
        ]
        used = {location_id for _, location_id in self.taken}
        every = set[str].intersection(*able)
        return sorted(every, key=lambda place: (place not in used, self.rank_by_location[place], place))

    def by_rank(self, sku_id: str) -> list[str]:
        """Locations of the SKU, in the order in which they fill an order."""
        return sorted(self.room[sku_id], key=lambda place: (self.rank_by_location[place], place))

    def lines(self) -> tuple[HeldLine, ...]:
        """What was taken, in the order of SKUs and locations."""
        return tuple(
            HeldLine(sku_id, location_id, quantity)
            for (sku_id, location_id), quantity in sorted(self.taken.items())
        )


def allocate(stocks: Mapping[str, Stock | None], demands: Sequence[Demand]) -> tuple[HeldLine, ...]:
    """The lines that fill the demands, one for each SKU and location, in that order.

    Demand is summed per SKU (and fixed location) before it is checked. One location fills everything
    if one can; else one fills each SKU where one can; else a SKU is split over locations by rank. Units
    on any shelf come before backorders: those are promised only of a SKU whose shelves are all empty
    by then, unless the location is fixed.

    Raises:
        OutOfStock: names every SKU that is short; nothing is filled.
    """
    wanted = summed(demands)
    rooms = _rooms(stocks, {demand.sku_id for demand in wanted})
    _refuse_shortages(rooms, wanted)
    free: dict[str, int] = {}
    for demand in wanted:
        if demand.location_id is None:
            free[demand.sku_id] = demand.quantity
        else:
            rooms.take(demand.sku_id, demand.location_id, demand.quantity)
    _fill(rooms, free)
    return rooms.lines()


def _rooms(stocks: Mapping[str, Stock | None], sku_ids: Iterable[str]) -> _Rooms:
    spare: Rooms = {}
    room: Rooms = {}
    ranks: dict[str, int] = {}
    for sku_id in sku_ids:
        stock = stocks.get(sku_id)
        levels = [level for level in stock.levels if level.active] if stock is not None else []
        ranks.update((level.location_id, level.rank) for level in levels)
        spare[sku_id] = {level.location_id: _bounded(level, level.spare) for level in levels}
        room[sku_id] = {level.location_id: _bounded(level, level.available) for level in levels}
    return _Rooms(spare, room, ranks, Counter())


def _bounded(level: Level, quantity: int) -> int:
    """Promises are bounded like every counter, however generous the backorder limit is."""
    return max(0, min(quantity, COUNTER_MAX - level.promised))


def _refuse_shortages(rooms: _Rooms, wanted: Iterable[Demand]) -> None:
    """`wanted` is summed: what is fixed comes first, and leaves the rest to the others."""
    short = defaultdict[str, list[str]](list)
    fixed_by_sku = Counter[str]()
    for demand in wanted:
        sku_id = demand.sku_id
        if demand.location_id is None:
            room = max(0, rooms.total(sku_id) - fixed_by_sku[sku_id])
        else:
            room = rooms.room[sku_id].get(demand.location_id, 0)
            fixed_by_sku[sku_id] += demand.quantity
        if demand.quantity > room:
            short[sku_id].append(f"{demand.quantity} wanted{demand.at}, {room} available")
    if short:
        raise OutOfStock(Violation(sku_id, "; ".join(texts)) for sku_id, texts in short.items())


def _fill(rooms: _Rooms, wanted: Mapping[str, int]) -> None:
    if wanted and (whole := rooms.locations_for(wanted)):
        for sku_id, quantity in wanted.items():
            rooms.take(sku_id, whole[0], quantity)
        return
    for sku_id, quantity in sorted(wanted.items()):
        if single := rooms.locations_for({sku_id: quantity}):
            rooms.take(sku_id, single[0], quantity)
        else:
            _split(rooms, sku_id, quantity)


def _split(rooms: _Rooms, sku_id: str, quantity: int) -> None:
    for units in (rooms.spare[sku_id], rooms.room[sku_id]):
        for location_id in rooms.by_rank(sku_id):
            part = min(quantity, units[location_id])
            if part > 0:
                rooms.take(sku_id, location_id, part)
                quantity -= part
