"""ReturnOrderLines: shipped units come back, to the shelf or not. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from command_service.checkout.holdings import Holdings, reservation_of
from command_service.inventory.commands import active_location
from command_service.inventory.domain import (
    LOCATION,
    RESERVATION,
    STOCK,
    HeldLine,
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


@dataclass(frozen=True, slots=True)
class _Shelving:
    """Units on their way to the shelves, and what the order holds with the units that came back."""

    rows: tuple[StockRow, ...]
    lines: tuple[HeldLine, ...]

    def after(self, sku_id: str, returned: ReturnedUnits) -> "_Shelving":
        """With these units as well.

        They are counted where they are put, if that place shipped any that are still away; else where
        the first ones came from that are.
        """
        left, back = returned.quantity, dict.fromkeys(self.lines, 0)
        for line in sorted(self.lines, key=lambda line: line.location_id != returned.location_id):
            if line.sku_id == sku_id:
                back[line] = min(left, line.away_quantity)
                left -= back[line]
        rows = [StockRow(sku_id, line.location_id, part) for line, part in back.items() if part]
        if returned.location_id:
            rows = [StockRow(sku_id, returned.location_id, returned.quantity)]
        lines = (
            replace(line, returned_quantity=line.returned_quantity + part) for line, part in back.items()
        )
        return _Shelving((*self.rows, *rows) if returned.restock else self.rows, tuple(lines))


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
        shelving = _Shelving((), reservation.lines)
        for each in self.returned:
            sku_id = sku_by_line.get(each.line_id)
            if sku_id is not None:
                shelving = shelving.after(sku_id, each)
        return shelving
