"""CancelOrderLines: units of a paid order that were not shipped are called off. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from command_service.checkout.holdings import (
    Holdings,
    demands_for,
    order_touches,
    reservation_of,
)
from command_service.inventory.domain import RESERVATION, ReservationState
from command_service.ordering.commands import order_of
from command_service.ordering.domain import AWAITING, CLOSED, ORDER, Order, OrderState
from command_service.ordering.events import OrderCancelled, OrderLinesCancelled, OrderProgress
from command_service.ordering.lines import Units
from command_service.world import Command, Decision, Touch, World
from event_log.events import Event

_RESERVATION_STATE_BY_STATE = {
    OrderState.PAID: ReservationState.COMMITTED,
    OrderState.PARTIALLY_FULFILLED: ReservationState.COMMITTED,
    OrderState.FULFILLED: ReservationState.SHIPPED,
    OrderState.CANCELLED: ReservationState.RELEASED,
}


@dataclass(frozen=True, slots=True)
class CancelOrderLines(Command[Order]):
    """Calls units off; what they cost is then to be given back.

    When they are the last of an order of which nothing was shipped, the order is called off as well, in
    a step of its own: so OrderCancelled tells of every order that comes to be CANCELLED.

    etag: "" for whatever it is.
    """

    order_id: str
    units: tuple[Units, ...]
    etag: str = ""

    def touches(self) -> Iterable[Touch]:
        """The order and its reservation."""
        return ORDER.change(self.order_id), RESERVATION.change(self.order_id)

    def needs(self, world: World) -> Iterable[Touch]:
        """What the order holds: its coupons too, in case nothing of it is left."""
        order = world.get(ORDER, self.order_id)
        return () if order is None or order.state in CLOSED | AWAITING else order_touches(order)

    def decide(self, world: World, now: datetime) -> Decision[Order]:
        """Gives the stock of the units back, and with the last of them the coupon uses."""
        before = order_of(world, self.order_id)
        before.check_etag(self.etag)
        after = before.cancel_units(self.units, now)
        events = [OrderLinesCancelled(OrderProgress.between(before, after), self.units)]
        demands = demands_for(before, self.units)
        holdings = Holdings.of(world, before).deallocate_units(demands)
        if not after.is_all_cancelled:
            return self._decision(world, after, holdings, events)
        cancelled = after.cancel(now)
        progress = OrderProgress.between(after, cancelled)
        return self._decision(
            world, cancelled, holdings.return_coupons(), [*events, OrderCancelled(progress)]
        )

    def _decision(
        self, world: World, after: Order, holdings: Holdings, events: Iterable[Event]
    ) -> Decision[Order]:
        state = _RESERVATION_STATE_BY_STATE[after.state]
        return Decision(
            after,
            [
                ORDER.changed(self.order_id, after),
                *holdings.changes(reservation_of(world, after), state),
            ],
            [*events, *holdings.events],
        )
