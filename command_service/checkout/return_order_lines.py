"""ReturnOrderLines: shipped units come back, to the shelf or not. Pure."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from command_service.checkout.holdings import Holdings, reservation_of
from command_service.inventory.commands import active_location
from command_service.inventory.domain import (
    LOCATION,
    RESERVATION,
    STOCK,
    Reservation,
)
from command_service.inventory.movements import StockRow
from command_service.ordering.commands import order_of
from command_service.ordering.domain import ORDER, Order, Units
from command_service.ordering.events import OrderLinesReturned, OrderProgress
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
        for row in self._rows(order, reservation):
            yield LOCATION.share(row.location_id)
            yield STOCK.change(row.sku_id)

    def decide(self, world: World, now: datetime) -> Decision[Order]:
        """Counts the units as returned and puts those to be sold again on the shelf."""
        before = order_of(world, self.order_id)
        units = tuple(Units(each.line_id, each.quantity) for each in self.returned)
        after = before.take_back(units, now)
        reservation = reservation_of(world, before)
        rows = list(self._rows(before, reservation))
        locations = [active_location(world, row.location_id) for row in rows]
        sku_ids = {row.sku_id for row in rows}
        holdings = Holdings.of_stock(world, before, sku_ids=sku_ids).shelve_stock(
            rows, {location.location_id: location.rank for location in locations}
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

    def _rows(self, order: Order, reservation: Reservation) -> Iterator[StockRow]:
        """Where the units to be restocked go; what `take_back` will refuse goes nowhere."""
        sku_by_line = {line.line_id: line.sku_id for line in order.lines}
        back = Counter[str]()
        for line in order.lines:
            back[line.sku_id] += line.returned_quantity
        for each in self.returned:
            sku_id = sku_by_line.get(each.line_id, "")
            first, back[sku_id] = back[sku_id], back[sku_id] + each.quantity
            if each.restock and sku_id and each.location_id:
                yield StockRow(sku_id, each.location_id, each.quantity)
            elif each.restock:
                yield from _origins(reservation, sku_id, first, back[sku_id])


def _origins(reservation: Reservation, sku_id: str, first: int, end: int) -> Iterator[StockRow]:
    """Where a SKU's shipped units came from, counted from 0, from `first` up to before `end`.

    The units that came back before are the first ones: so every location gets back what it shipped,
    one after the other, however many times units come back.
    """
    for line in reservation.lines:
        if line.sku_id == sku_id:
            quantity = min(end, line.shipped_quantity) - max(first, 0)
            if quantity > 0:
                yield StockRow(sku_id, line.location_id, quantity)
            first, end = first - line.shipped_quantity, end - line.shipped_quantity
