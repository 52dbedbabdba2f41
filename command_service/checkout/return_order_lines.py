"""ReturnOrderLines: shipped units come back, to the shelf or not. Pure."""

from collections import Counter, defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import NamedTuple

from command_service.checkout.holdings import Holdings, reservation_of
from command_service.inventory.commands import active_location
from command_service.inventory.domain import (
    LOCATION,
    RESERVATION,
    STOCK,
    HeldLine,
    Place,
    Reservation,
)
from command_service.inventory.movements import StockRow
from command_service.ordering.commands import order_of
from command_service.ordering.domain import ORDER, Order
from command_service.ordering.events import OrderLinesReturned, OrderProgress
from command_service.ordering.lines import Units
from command_service.world import Command, Decision, Touch, World


@dataclass(frozen=True, slots=True)
class ReturnedUnits:
    """Units of one line that came back.

    location_id: where they go when restocked; "" stands for the locations that shipped the SKU.
    """

    line_id: str
    quantity: int
    restock: bool
    location_id: str


class _Away:
    """How many units of what an order holds are away, counted down as they come back.

    Sorted out once: an order has hundreds of lines, and each of them may come back in the one request.
    """

    def __init__(self, lines: Iterable[HeldLine]) -> None:
        self._quantities = Counter[Place]()
        self._places = defaultdict[str, deque[Place]](deque)
        """Of each SKU, in their order; the first ones go once none of theirs is away."""
        for line in lines:
            self._quantities[line.place] = line.away_quantity
            self._places[line.sku_id].append(line.place)

    def bring_back(self, sku_id: str, returned: ReturnedUnits) -> list[StockRow]:
        """Where these units go.

        They are counted where they are put, if that place shipped any that are still away; else where
        the first ones came from that are.
        """
        left = returned.quantity - self._count((sku_id, returned.location_id), returned.quantity)
        rows, places = [], self._places[sku_id]
        while left and places:
            if part := self._count(places[0], left):
                rows.append(StockRow(*places[0], part))
                left -= part
            else:
                places.popleft()
        if returned.location_id:
            return [StockRow(sku_id, returned.location_id, returned.quantity)]
        return rows

    def _count(self, place: Place, quantity: int) -> int:
        """So many units of these are away no longer."""
        part = min(quantity, self._quantities[place])
        self._quantities[place] -= part
        return part

    def line(self, line: HeldLine) -> HeldLine:
        """The line with all that came back."""
        return replace(line, returned_quantity=line.shipped_quantity - self._quantities[line.place])


class _Shelving(NamedTuple):
    """Units on their way to the shelves, and what the order holds with the units that came back."""

    rows: tuple[StockRow, ...]
    lines: tuple[HeldLine, ...]


@dataclass(frozen=True, slots=True)
class ReturnOrderLines(Command[Order]):
    """Takes units back; what is owed for them shows in the order's refund_due_minor."""

    order_id: str
    returned: tuple[ReturnedUnits, ...]

    def touches(self) -> Iterable[Touch]:
        """The order, and its reservation, which tells where the units came from."""
        return ORDER.change(self.order_id), RESERVATION.change(self.order_id)

    def needs(self, world: World) -> Iterable[Touch]:
        """The shelves that the units go to."""
        order, reservation = world.get(ORDER, self.order_id), world.get(RESERVATION, self.order_id)
        if order is None or reservation is None:
            return
        for row in self._shelving(order, reservation).rows:
            yield LOCATION.share(row.location_id)
            yield STOCK.change(row.sku_id)

    def decide(self, world: World, now: datetime) -> Decision[Order]:
        """Counts the units as returned and puts those to be sold again on the shelf."""
        before = order_of(world, self.order_id)
        units = tuple(Units(each.line_id, each.quantity) for each in self.returned)
        after = before.take_back(units, now)
        reservation = reservation_of(world, before)
        shelving = self._shelving(before, reservation)
        locations = [active_location(world, row.location_id) for row in shelving.rows]
        sku_ids = {row.sku_id for row in shelving.rows}
        holdings = Holdings.of_stock(world, before, sku_ids=sku_ids).shelve_stock(
            shelving.rows,
            {location.location_id: location.rank for location in locations},
            lines=shelving.lines,
        )
        return Decision(
            after,
            [
                ORDER.changed(self.order_id, after),
                *holdings.changes(reservation, reservation.state),
                *(LOCATION.changed(place.location_id, place.occupied()) for place in locations),
            ],
            [OrderLinesReturned(OrderProgress.between(before, after), units), *holdings.events],
        )

    def _shelving(self, order: Order, reservation: Reservation) -> _Shelving:
        """Where the units to be restocked go; what `take_back` will refuse goes nowhere."""
        sku_by_line = {line.line_id: line.sku_id for line in order.lines}
        away, rows = _Away(reservation.lines), list[StockRow]()
        for each in self.returned:
            sku_id = sku_by_line.get(each.line_id)
            if sku_id is not None:
                came_back = away.bring_back(sku_id, each)
                rows.extend(came_back if each.restock else ())
        return _Shelving(tuple(rows), tuple(away.line(line) for line in reservation.lines))
