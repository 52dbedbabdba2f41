"""FulfillOrderLines: units of a paid order are shipped. Pure."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from command_service.checkout.holdings import Holdings, demands_for, reservation_of
from command_service.inventory.domain import RESERVATION, STOCK, Reservation, ReservationState
from command_service.ordering.commands import order_of
from command_service.ordering.domain import AWAITING, CLOSED, ORDER, Order, OrderState
from command_service.ordering.events import OrderLinesFulfilled, OrderProgress
from command_service.ordering.lines import Units
from command_service.world import Command, Decision, Touch, World


@dataclass(frozen=True, slots=True)
class FulfillOrderLines(Command[Order]):
    """Ships units; no units stand for all that may be shipped, and that the location holds.

    location_id: where they leave; "" for wherever they are held.
    """

    order_id: str
    units: tuple[Units, ...] = ()
    location_id: str = ""

    def touches(self) -> Iterable[Touch]:
        """The order and its reservation."""
        return ORDER.change(self.order_id), RESERVATION.change(self.order_id)

    def needs(self, world: World) -> Iterable[Touch]:
        """The stock that the order holds."""
        order = world.get(ORDER, self.order_id)
        if order is None or order.state in CLOSED | AWAITING:
            return ()
        return [STOCK.change(sku_id) for sku_id in {line.sku_id for line in order.lines}]

    def decide(self, world: World, now: datetime) -> Decision[Order]:
        """Takes the units off the shelves that hold them."""
        before = order_of(world, self.order_id)
        reservation = reservation_of(world, before)
        units = self.units or self._shippable(before, reservation)
        after = before.fulfill(units, now)
        demands = demands_for(before, units)
        if self.location_id:
            demands = [replace(demand, location_id=self.location_id) for demand in demands]
        sku_ids = {line.sku_id for line in before.lines}
        holdings = Holdings.of_stock(world, before, sku_ids=sku_ids).ship_stock(demands)
        is_complete = after.state is OrderState.FULFILLED
        state = ReservationState.SHIPPED if is_complete else ReservationState.COMMITTED
        return Decision(
            after,
            [ORDER.changed(self.order_id, after), *holdings.changes(reservation, state)],
            [OrderLinesFulfilled(OrderProgress.between(before, after), units), *holdings.events],
        )

    def _shippable(self, order: Order, reservation: Reservation) -> tuple[Units, ...]:
        """All that may be shipped, of that what the location holds; all if it holds none of it."""
        shippable = order.shippable()
        if not self.location_id:
            return shippable
        here = [line for line in reservation.lines if line.location_id == self.location_id]
        left = Counter({line.sku_id: line.unshipped_quantity for line in here})
        units = []
        for unit, demand in zip(shippable, demands_for(order, shippable), strict=True):
            quantity = min(unit.quantity, left[demand.sku_id])
            left[demand.sku_id] -= quantity
            units.append(Units(unit.line_id, quantity))
        return tuple(unit for unit in units if unit.quantity > 0) or shippable
