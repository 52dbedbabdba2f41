"""FulfillOrderLines: units of a paid order are shipped. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from command_service.checkout.holdings import Holdings, reservation_of
from command_service.inventory.domain import RESERVATION, STOCK, ReservationState
from command_service.ordering.commands import order_of
from command_service.ordering.domain import AWAITING, CLOSED, ORDER, Order, OrderState, Units
from command_service.ordering.events import OrderLinesFulfilled, OrderProgress
from command_service.world import Command, Decision, Touch, World


@dataclass(frozen=True, slots=True)
class FulfillOrderLines(Command[Order]):
    """Ships units; no units stand for all that were not shipped yet."""

    order_id: str
    units: tuple[Units, ...] = ()

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
        units = self.units or before.unshipped()
        after = before.fulfill(units, now)
        holdings = Holdings.of_stock(
            world, before, sku_ids={line.sku_id for line in before.lines}
        ).ship_stock(_quantity_by_sku(before, units))
        is_complete = after.state is OrderState.FULFILLED
        state = ReservationState.SHIPPED if is_complete else ReservationState.COMMITTED
        return Decision(
            after,
            [
                ORDER.changed(self.order_id, after),
                *holdings.changes(reservation_of(world, before), state),
            ],
            [OrderLinesFulfilled(OrderProgress.between(before, after), units), *holdings.events],
        )


def _quantity_by_sku(order: Order, units: Sequence[Units]) -> Mapping[str, int]:
    sku_by_line = {line.line_id: line.sku_id for line in order.lines}
    quantities = Counter[str]()
    for unit in units:
        quantities[sku_by_line[unit.line_id]] += unit.quantity
    return quantities
