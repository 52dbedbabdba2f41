"""Stock, locations and reservations: what they are. Pure.

How stock moves is told by movements.py, which locations fill a demand by allocation.py.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from enum import IntEnum

from command_service.world import Change, Kind, LockRank
from event_log.events import Event
from event_log.units import available_in_all

COUNTER_MAX = 1_000_000_000
"""Bound of each counter, and of reserved + allocated: what is computed of them fits 32 bits."""


@dataclass(frozen=True, slots=True)
class Location:
    """A place that keeps stock. Locations fill an order by rising rank, then by id."""

    location_id: str
    title: str
    rank: int
    active: bool
    is_empty: bool = True
    """Whether all counters there are 0. Only known to those who lock the location for change; who
    raises a counter says so by `occupied`, for the commands after it."""

    def occupied(self) -> "Location":
        """The location after a counter there was raised."""
        return replace(self, is_empty=False) if self.is_empty else self


@dataclass(frozen=True, slots=True)
class Level:
    """The counters of one SKU at one location, in units; each equals the sum of its movements."""

    location_id: str
    rank: int
    """Of the location, as read with the level: it decides who fills an order first."""
    on_hand: int = 0
    reserved: int = 0
    allocated: int = 0
    safety_stock: int = 0
    backorder_limit: int = 0
    shortage: int = 0
    active: bool = True
    """Of the location, as read with the level: a closed one promises nothing, though a repair may have
    found units there."""

    @property
    def promised(self) -> int:
        """Units that somebody holds or has paid for."""
        return self.reserved + self.allocated

    @property
    def available(self) -> int:
        """Units that can be promised: negative when promised short."""
        return self.on_hand - self.promised - self.safety_stock + self.backorder_limit

    @property
    def spare(self) -> int:
        """Units on the shelf that nobody holds and nothing keeps back."""
        return max(0, self.on_hand - self.promised - self.safety_stock)

    @property
    def uncovered(self) -> int:
        """Promised units that neither the shelf nor the backorder limit covers: the due shortage."""
        return max(0, self.promised - self.on_hand - self.backorder_limit)


@dataclass(frozen=True, slots=True)
class Stock:
    """The stock of one SKU at all its locations: one aggregate. Levels in the order of location ids."""

    sku_id: str
    levels: tuple[Level, ...]

    @property
    def available(self) -> int:
        """Units that can be ordered now: the sum of what the locations have available, where above 0."""
        return available_in_all(level.available for level in self.levels)

    def level_at(self, location_id: str) -> Level | None:
        """The counters at a location; None when it never had any."""
        return next((level for level in self.levels if level.location_id == location_id), None)

    def with_level(self, level: Level) -> "Stock":
        """The stock with one level replaced or added."""
        others = [other for other in self.levels if other.location_id != level.location_id]
        levels = sorted([*others, level], key=lambda each: each.location_id)
        return Stock(self.sku_id, tuple(levels))


@dataclass(frozen=True, slots=True)
class StockDeltas:
    """How much each counter changed, or differs, in units."""

    on_hand: int = 0
    reserved: int = 0
    allocated: int = 0
    safety_stock: int = 0
    backorder_limit: int = 0
    shortage: int = 0


COUNTERS = tuple(field.name for field in fields(StockDeltas))
"""The names of the counters, of a level as of its movements."""


class MovementKind(IntEnum):
    """Why a counter changed; numbers as in inventory.proto."""

    RECEIVED = 1
    ADJUSTED = 2
    TRANSFERRED_OUT = 3
    TRANSFERRED_IN = 4
    RESERVED = 5
    RELEASED = 6
    EXPIRED = 7
    COMMITTED = 8
    DEALLOCATED = 9
    SHIPPED = 10
    RETURNED = 11
    POLICY_SET = 12
    OPENED = 13


Place = tuple[str, str]
"""A SKU at a location."""


@dataclass(frozen=True, slots=True)
class Demand:
    """Units of a SKU that somebody wants; from any location when location_id is None."""

    sku_id: str
    quantity: int
    location_id: str | None = None

    @property
    def at(self) -> str:
        """Where, as a part of a sentence: empty when it may be anywhere."""
        return "" if self.location_id is None else f" at {self.location_id}"


def summed(demands: Iterable[Demand]) -> list[Demand]:
    """One demand for each SKU and location, and one for each SKU from anywhere: these come last."""
    quantities = Counter[tuple[bool, str, str]]()
    for demand in demands:
        location_id = demand.location_id
        quantities[location_id is None, demand.sku_id, location_id or ""] += demand.quantity
    return [
        Demand(sku_id, quantity, None if is_free else location_id)
        for (is_free, sku_id, location_id), quantity in sorted(quantities.items())
    ]


@dataclass(frozen=True, slots=True)
class HeldLine:
    """Units of a SKU promised at one location.

    shipped_quantity of them have left; returned_quantity of these came back, to whatever shelf.
    """

    sku_id: str
    location_id: str
    quantity: int
    shipped_quantity: int = 0
    returned_quantity: int = 0

    @property
    def place(self) -> Place:
        """What is held where."""
        return self.sku_id, self.location_id

    @property
    def unshipped_quantity(self) -> int:
        """Units that have not left yet."""
        return self.quantity - self.shipped_quantity

    @property
    def away_quantity(self) -> int:
        """Units that have left and did not come back."""
        return self.shipped_quantity - self.returned_quantity


class ReservationState(IntEnum):
    """What has become of a reservation; numbers as in inventory.proto."""

    HELD = 1
    COMMITTED = 2
    RELEASED = 3
    EXPIRED = 4
    SHIPPED = 5


@dataclass(frozen=True, slots=True)
class Reservation:
    """Units held for an order (same id as the order) or for an outside reference.

    At most one line for each SKU and location, in that order.
    """

    reservation_id: str
    is_of_order: bool
    reference: str
    state: ReservationState
    lines: tuple[HeldLine, ...]
    expire_time: datetime

    def state_at(self, now: datetime) -> ReservationState:
        """The state as of now: a hold whose time has come is expired, whatever a sweeper does."""
        if self.state is ReservationState.HELD and now >= self.expire_time:
            return ReservationState.EXPIRED
        return self.state


@dataclass(frozen=True, slots=True)
class StockChange:
    """What a decision about stock changes: the stocks as they shall be, and the facts.

    `stocks` holds only those that changed; `lines` are those of the reservation, as they shall be.
    """

    stocks: Mapping[str, Stock]
    events: Sequence[Event]
    lines: tuple[HeldLine, ...] = ()


@dataclass(frozen=True, slots=True)
class LevelDrift:
    """How far the stored counters at one location are from the sums of their movements."""

    location_id: str
    rank: int
    active: bool
    """Of the location, like its rank: a level that was lost is opened anew with both."""
    ledger_minus_stored: StockDeltas


@dataclass(frozen=True, slots=True)
class StockDrift:
    """The levels of a SKU that are not the sums of their movements, as read under the stock's lock.

    Kept as differences, because the commands of a batch move stock before their movements are written.
    """

    sku_id: str
    levels: tuple[LevelDrift, ...]


LOCATION: Kind[str, Location] = Kind("location", LockRank.LOCATION)
STOCK: Kind[str, Stock] = Kind("stock", LockRank.STOCK)
STOCK_DRIFT: Kind[str, StockDrift] = Kind("stock drift", LockRank.STOCK_DRIFT)
RESERVATION: Kind[str, Reservation] = Kind("reservation", LockRank.RESERVATION)


def stock_changes(change: StockChange) -> list[Change]:
    """The changes of a decision that moves stock."""
    return [STOCK.changed(sku_id, stock) for sku_id, stock in change.stocks.items()]
