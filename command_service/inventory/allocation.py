"""Which locations fill a demand: all or nothing, in as few parcels as can be. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from command_service.errors import OutOfStock
from command_service.inventory.domain import COUNTER_MAX, Demand, HeldLine, Stock


@dataclass(slots=True)
class _Rooms:
    """What each location can still promise of each SKU, while lines are being taken from it."""

    room_by_location: Mapping[str, dict[str, int]]
    rank_by_location: Mapping[str, int]
    taken: Counter[tuple[str, str]]

    def take(self, sku_id: str, location_id: str, quantity: int) -> None:
        self.room_by_location[sku_id][location_id] -= quantity
        self.taken[sku_id, location_id] += quantity

    def total(self, sku_id: str) -> int:
        return sum(self.room_by_location[sku_id].values())

    def locations_for(self, wanted: Mapping[str, int]) -> list[str]:
        """Locations that can serve all of it, best first: already in use, then rank, then id."""
        able = [
            {place for place, room in self.room_by_location[sku_id].items() if room >= quantity}
            for sku_id, quantity in wanted.items()
        ]
        used = {location_id for _, location_id in self.taken}
        every = set[str].intersection(*able)
        return sorted(every, key=lambda place: (place not in used, self.rank_by_location[place], place))

    def by_rank(self, sku_id: str) -> list[str]:
        """Locations that can serve some of it, in the order in which they fill an order."""
        rooms = self.room_by_location[sku_id]
        some = [location_id for location_id, room in rooms.items() if room > 0]
        return sorted(some, key=lambda place: (self.rank_by_location[place], place))

    def lines(self) -> tuple[HeldLine, ...]:
        """What was taken, in the order of SKUs and locations."""
        return tuple(
            HeldLine(sku_id, location_id, quantity)
            for (sku_id, location_id), quantity in sorted(self.taken.items())
        )


def allocate(stocks: Mapping[str, Stock | None], demands: Sequence[Demand]) -> tuple[HeldLine, ...]:
    """The lines that fill the demands, one for each SKU and location, in that order.

    Demand is summed per SKU (and fixed location) before it is checked. One location fills everything
    if one can; else one fills each SKU where one can; else a SKU is split over locations by rank.

    Raises:
        OutOfStock: names every SKU that is short; nothing is filled.
    """
    fixed = Counter[tuple[str, str]]()
    free = Counter[str]()
    for demand in demands:
        if demand.location_id is None:
            free[demand.sku_id] += demand.quantity
        else:
            fixed[demand.sku_id, demand.location_id] += demand.quantity
    rooms = _rooms(stocks, {demand.sku_id for demand in demands})
    _refuse_shortages(rooms, fixed, free)
    for (sku_id, location_id), quantity in fixed.items():
        rooms.take(sku_id, location_id, quantity)
    _fill(rooms, free)
    return rooms.lines()


def _rooms(stocks: Mapping[str, Stock | None], sku_ids: Iterable[str]) -> _Rooms:
    rooms: dict[str, dict[str, int]] = {}
    ranks: dict[str, int] = {}
    for sku_id in sku_ids:
        stock = stocks.get(sku_id)
        levels = () if stock is None else stock.levels
        ranks.update((level.location_id, level.rank) for level in levels)
        rooms[sku_id] = {
            # Promises are bounded like every counter, however generous the backorder limit is.
            level.location_id: max(0, min(level.available, COUNTER_MAX - level.promised))
            for level in levels
        }
    return _Rooms(rooms, ranks, Counter())


def _refuse_shortages(
    rooms: _Rooms, fixed: Mapping[tuple[str, str], int], free: Mapping[str, int]
) -> None:
    short, fixed_by_sku = [], Counter[str]()
    for (sku_id, location_id), wanted in fixed.items():
        fixed_by_sku[sku_id] += wanted
        room = rooms.room_by_location[sku_id].get(location_id, 0)
        if wanted > room:
            short.append(f"{sku_id} at {location_id}: {wanted} wanted, {room} available")
    for sku_id, wanted in free.items():
        room = max(0, rooms.total(sku_id) - fixed_by_sku[sku_id])
        if wanted > room:
            short.append(f"{sku_id}: {wanted} wanted, {room} available")
    if short:
        raise OutOfStock(shortages="; ".join(sorted(short)))


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
    for location_id in rooms.by_rank(sku_id):
        part = min(quantity, rooms.room_by_location[sku_id][location_id])
        rooms.take(sku_id, location_id, part)
        quantity -= part
        if quantity == 0:
            return
