"""CancelOrder: an order is called off before anything was shipped. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from command_service.checkout.holdings import Holdings, order_touches, reservation_of
from command_service.inventory.domain import RESERVATION, ReservationState
from command_service.ordering.commands import order_of
from command_service.ordering.domain import CLOSED, ORDER, Order
from command_service.ordering.events import OrderCancelled, OrderProgress
from command_service.world import Command, Decision, Touch, World


@dataclass(frozen=True, slots=True)
class CancelOrder(Command[Order]):
    """Calls an order off; what was paid is then to be given back.

    etag: "" for whatever it is. reason: for people.
    """

    order_id: str
    etag: str = ""
    reason: str = ""

    def touches(self) -> Iterable[Touch]:
        """The order and its reservation."""
        return ORDER.change(self.order_id), RESERVATION.change(self.order_id)

    def needs(self, world: World) -> Iterable[Touch]:
        """What the order holds."""
        order = world.get(ORDER, self.order_id)
        return () if order is None or order.state in CLOSED else order_touches(order)

    def decide(self, world: World, now: datetime) -> Decision[Order]:
        """Gives stock and coupon uses back."""
        before = order_of(world, self.order_id)
        before.check_etag(self.etag)
        after = before.cancel(now, reason=self.reason)
        holdings = Holdings.of(world, before).cancelled(before.state)
        return Decision(
            after,
            [
                ORDER.changed(self.order_id, after),
                *holdings.changes(reservation_of(world, before), ReservationState.RELEASED),
            ],
            [OrderCancelled(OrderProgress.between(before, after)), *holdings.events],
        )
