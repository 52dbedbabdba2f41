"""ExtendOrderHold: an unpaid order keeps its stock while the customer is at the provider. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from command_service.checkout.holdings import reservation_of
from command_service.errors import OrderNotAwaitingPayment
from command_service.inventory.domain import RESERVATION
from command_service.ordering.commands import order_of
from command_service.ordering.domain import AWAITING, ORDER, Order, OrderState
from command_service.ordering.events import OrderHoldExtended, OrderProgress
from command_service.world import Change, Command, Decision, Touch, World
from event_log.events import Event


@dataclass(frozen=True, slots=True)
class Held:
    """An order with its hold as it shall be."""

    order: Order
    changes: Sequence[Change]
    events: Sequence[Event]


@dataclass(frozen=True, slots=True)
class ExtendOrderHold(Command[Order]):
    """Holds until at least `hold_duration` from now; never for shorter than before."""

    order_id: str
    hold_duration: timedelta

    def touches(self) -> Iterable[Touch]:
        """The order and its reservation."""
        return ORDER.change(self.order_id), RESERVATION.change(self.order_id)

    def decide(self, world: World, now: datetime) -> Decision[Order]:
        """Refuses OrderNotFound, OrderNotAwaitingPayment."""
        order = order_of(world, self.order_id)
        if not order.holds_stock(now):
            state = OrderState.EXPIRED if order.state in AWAITING else order.state
            raise OrderNotAwaitingPayment(order_id=self.order_id, state=state.name)
        held = held_until(world, order, now + self.hold_duration, now)
        return Decision(held.order, held.changes, held.events)


def held_until(world: World, order: Order, expire_time: datetime, now: datetime) -> Held:
    """Order and reservation with one expire_time, as ever."""
    after = order.extend_hold(expire_time, now)
    if after is order:
        return Held(order, (), ())
    reservation = replace(reservation_of(world, order), expire_time=after.expire_time)
    return Held(
        after,
        [
            ORDER.changed(order.order_id, after),
            RESERVATION.changed(order.order_id, reservation),
        ],
        [OrderHoldExtended(OrderProgress.between(order, after), after.expire_time)],
    )
