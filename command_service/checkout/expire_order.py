"""ExpireOrder: an unpaid order gives its stock and coupon uses back. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from command_service.checkout.holdings import Holdings, order_touches, reservation_of
from command_service.inventory.domain import RESERVATION, ReservationState
from command_service.ordering.commands import order_of
from command_service.ordering.domain import AWAITING, ORDER, Order
from command_service.ordering.events import OrderExpired, OrderProgress
from command_service.world import Command, Decision, Touch, World


@dataclass(frozen=True, slots=True)
class ExpireOrder(Command[Order]):
    """Expires an order whose time has come."""

    order_id: str

    def touches(self) -> Iterable[Touch]:
        """The order and its reservation."""
        return ORDER.change(self.order_id), RESERVATION.change(self.order_id)

    def needs(self, world: World) -> Iterable[Touch]:
        """What the order holds, if it holds anything that could expire."""
        order = world.get(ORDER, self.order_id)
        return () if order is None or order.state not in AWAITING else order_touches(order)

    def decide(self, world: World, now: datetime) -> Decision[Order]:
        """Gives everything back."""
        before = order_of(world, self.order_id)
        after = before.expire(now)
        holdings = Holdings.of(world, before).expired()
        return Decision(
            after,
            [
                ORDER.changed(self.order_id, after),
                *holdings.changes(reservation_of(world, before), ReservationState.EXPIRED),
            ],
            [OrderExpired(OrderProgress.between(before, after)), *holdings.events],
        )
