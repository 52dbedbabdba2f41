"""The facts of inventory; each has a protobuf twin in inventory_events.proto. Pure."""

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from command_service.inventory.domain import (
    Level,
    Location,
    MovementKind,
    Reservation,
    Stock,
    StockDeltas,
)
from event_log.events import Event


class InventoryEvent(Event):
    """A fact of the inventory context."""

    __slots__ = ()
    context: ClassVar[str] = "inventory"


@dataclass(frozen=True, slots=True)
class LocationUpserted(InventoryEvent):
    """A location was created or replaced."""

    location: Location

    @property
    def key(self) -> str:
        """The location."""
        return self.location.location_id


@dataclass(frozen=True, slots=True)
class StockMoved(InventoryEvent):
    """Counters of one SKU at one location changed: a row of the ledger. `level` is as after it."""

    sku_id: str
    kind: MovementKind
    deltas: StockDeltas
    level: Level
    cause: str

    @property
    def key(self) -> str:
        """The SKU."""
        return self.sku_id


@dataclass(frozen=True, slots=True)
class StockRepaired(InventoryEvent):
    """Counters were made equal to their ledger."""

    stock: Stock

    @property
    def key(self) -> str:
        """The SKU."""
        return self.stock.sku_id


@dataclass(frozen=True, slots=True)
class ReservationMade(InventoryEvent):
    """Units were held for an outside reference."""

    reservation: Reservation

    @property
    def key(self) -> str:
        """The reservation."""
        return self.reservation.reservation_id


@dataclass(frozen=True, slots=True)
class _OfReservation(InventoryEvent):
    reservation_id: str

    @property
    def key(self) -> str:
        """The reservation."""
        return self.reservation_id


@dataclass(frozen=True, slots=True)
class ReservationExtended(_OfReservation):
    """A hold was prolonged."""

    expire_time: datetime


@dataclass(frozen=True, slots=True)
class ReservationReleased(_OfReservation):
    """A hold or a commitment was given back, by someone or by time."""

    expired: bool


@dataclass(frozen=True, slots=True)
class ReservationCommitted(_OfReservation):
    """A hold was paid."""


@dataclass(frozen=True, slots=True)
class ReservationShipped(_OfReservation):
    """Committed units were shipped, all of them or some."""

    complete: bool
