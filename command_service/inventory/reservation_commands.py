"""The commands for reservations that no order owns: what each touches and what it decides. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from command_service.errors import (
    ReservationAlreadyExists,
    ReservationNotCommitted,
    ReservationNotExpired,
    ReservationNotFound,
    ReservationNotHeld,
    ReservationOwnedByOrder,
)
from command_service.inventory.domain import (
    RESERVATION,
    STOCK,
    Demand,
    MovementKind,
    Reservation,
    ReservationState,
    Stock,
    StockChange,
    stock_changes,
)
from command_service.inventory.events import (
    InventoryEvent,
    ReservationCommitted,
    ReservationExtended,
    ReservationMade,
    ReservationReleased,
    ReservationShipped,
)
from command_service.inventory.movements import (
    commit,
    deallocate,
    hold,
    release,
    ship,
)
from command_service.world import Command, Decision, Touch, World


@dataclass(frozen=True, slots=True)
class ReserveStock(Command[Reservation]):
    """Holds units for an outside reference, for a while from now on."""

    reservation_id: str
    reference: str
    demands: tuple[Demand, ...]
    hold_duration: timedelta

    def touches(self) -> Iterable[Touch]:
        """The reservation, which must not exist yet, and the stocks."""
        yield RESERVATION.create(self.reservation_id)
        for demand in self.demands:
            yield STOCK.change(demand.sku_id)

    def decide(self, world: World, now: datetime) -> Decision[Reservation]:
        """Refuses ReservationAlreadyExists, OutOfStock."""
        if world.get(RESERVATION, self.reservation_id) is not None:
            raise ReservationAlreadyExists(reservation_id=self.reservation_id)
        stocks = {demand.sku_id: world.get(STOCK, demand.sku_id) for demand in self.demands}
        change = hold(stocks, self.demands, cause=self.reservation_id)
        reservation = Reservation(
            reservation_id=self.reservation_id,
            is_of_order=False,
            reference=self.reference,
            state=ReservationState.HELD,
            lines=change.lines,
            expire_time=now + self.hold_duration,
        )
        return _reservation_decision(reservation, ReservationMade(reservation), change)


@dataclass(frozen=True, slots=True)
class _OfReservation(Command[Reservation]):
    """Changes a reservation that no order owns."""

    reservation_id: str

    def touches(self) -> Iterable[Touch]:
        """The reservation."""
        return [RESERVATION.change(self.reservation_id)]

    def needs(self, world: World) -> Iterable[Touch]:
        """The stocks that it holds."""
        reservation = world.get(RESERVATION, self.reservation_id)
        lines = () if reservation is None else reservation.lines
        return [STOCK.change(line.sku_id) for line in lines]

    def _found(self, world: World) -> Reservation:
        reservation = world.get(RESERVATION, self.reservation_id)
        if reservation is None:
            raise ReservationNotFound(reservation_id=self.reservation_id)
        if reservation.is_of_order:
            raise ReservationOwnedByOrder(reservation_id=self.reservation_id)
        return reservation


@dataclass(frozen=True, slots=True)
class ExtendReservation(_OfReservation):
    """Holds until at least `hold_duration` from now; never for shorter than before."""

    hold_duration: timedelta = field(kw_only=True)

    def needs(self, world: World) -> Iterable[Touch]:
        """No stock: the units are held already."""
        return ()

    def decide(self, world: World, now: datetime) -> Decision[Reservation]:
        """Refuses ReservationNotFound, ReservationOwnedByOrder, ReservationNotHeld."""
        before = _held(self._found(world), now)
        expire_time = max(before.expire_time, now + self.hold_duration)
        if expire_time == before.expire_time:
            return Decision(before)
        after = replace(before, expire_time=expire_time)
        event = ReservationExtended(self.reservation_id, expire_time)
        return _reservation_decision(after, event)


@dataclass(frozen=True, slots=True)
class ReleaseReservation(_OfReservation):
    """Gives held units back, or committed ones that were not shipped yet."""

    def decide(self, world: World, now: datetime) -> Decision[Reservation]:
        """Refuses ReservationNotFound, ReservationOwnedByOrder, ReservationNotHeld."""
        before = self._found(world)
        stocks = _stocks(world, before)
        if before.state is ReservationState.COMMITTED:
            change = deallocate(stocks, before.lines, cause=self.reservation_id)
        else:
            change = release(stocks, _held(before, now).lines, cause=self.reservation_id)
        after = replace(before, state=ReservationState.RELEASED)
        event = ReservationReleased(self.reservation_id, expired=False)
        return _reservation_decision(after, event, change)


@dataclass(frozen=True, slots=True)
class CommitReservation(_OfReservation):
    """Turns held units into allocated ones."""

    def decide(self, world: World, now: datetime) -> Decision[Reservation]:
        """Refuses ReservationNotFound, ReservationOwnedByOrder, ReservationNotHeld."""
        before = _held(self._found(world), now)
        change = commit(_stocks(world, before), before.lines, cause=self.reservation_id)
        after = replace(before, state=ReservationState.COMMITTED)
        return _reservation_decision(after, ReservationCommitted(self.reservation_id), change)


@dataclass(frozen=True, slots=True)
class ShipReservation(_OfReservation):
    """Takes committed units off the shelf; no units stand for all that were not shipped yet.

    The reservation stays committed until all are shipped, or the rest is released.
    """

    units: tuple[Demand, ...] = ()

    def decide(self, world: World, now: datetime) -> Decision[Reservation]:
        """Refuses ReservationNotFound, ReservationOwnedByOrder, ReservationNotCommitted, UnitsNotHeld.

        And OutOfStock for units that are not on the shelf.
        """
        before = self._found(world)
        if before.state is not ReservationState.COMMITTED:
            raise ReservationNotCommitted(
                reservation_id=self.reservation_id, state=before.state_at(now).name
            )
        units = self.units or _unshipped(before)
        change = ship(_stocks(world, before), before.lines, units, cause=self.reservation_id)
        complete = not any(line.unshipped_quantity for line in change.lines)
        state = ReservationState.SHIPPED if complete else ReservationState.COMMITTED
        after = replace(before, state=state, lines=change.lines)
        return _reservation_decision(after, ReservationShipped(self.reservation_id, complete), change)


@dataclass(frozen=True, slots=True)
class ExpireReservation(_OfReservation):
    """Gives back a hold whose time has come."""

    def decide(self, world: World, now: datetime) -> Decision[Reservation]:
        """Refuses ReservationNotFound, ReservationOwnedByOrder, ReservationNotHeld, -NotExpired."""
        before = self._found(world)
        if before.state is not ReservationState.HELD:
            raise ReservationNotHeld(reservation_id=self.reservation_id, state=before.state.name)
        if before.state_at(now) is ReservationState.HELD:
            raise ReservationNotExpired(
                reservation_id=self.reservation_id, expire_time=before.expire_time.isoformat()
            )
        stocks, kind = _stocks(world, before), MovementKind.EXPIRED
        change = release(stocks, before.lines, cause=self.reservation_id, kind=kind)
        after = replace(before, state=ReservationState.EXPIRED)
        event = ReservationReleased(self.reservation_id, expired=True)
        return _reservation_decision(after, event, change)


def _held(reservation: Reservation, now: datetime) -> Reservation:
    state = reservation.state_at(now)
    if state is not ReservationState.HELD:
        raise ReservationNotHeld(reservation_id=reservation.reservation_id, state=state.name)
    return reservation


def _unshipped(reservation: Reservation) -> list[Demand]:
    return [Demand(line.sku_id, line.unshipped_quantity) for line in reservation.lines]


def _stocks(world: World, reservation: Reservation) -> dict[str, Stock | None]:
    return {line.sku_id: world.get(STOCK, line.sku_id) for line in reservation.lines}


def _reservation_decision(
    after: Reservation, event: InventoryEvent, change: StockChange | None = None
) -> Decision[Reservation]:
    change = change or StockChange({}, ())
    changes = [RESERVATION.changed(after.reservation_id, after), *stock_changes(change)]
    return Decision(after, changes, [event, *change.events])
