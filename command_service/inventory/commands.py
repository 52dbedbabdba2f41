"""The commands of inventory: what each touches and what it decides. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import ClassVar

from command_service.errors import (
    LocationNotEmpty,
    LocationNotFound,
    Refusal,
    SkuNeverStocked,
)
from command_service.inventory.domain import (
    LOCATION,
    STOCK,
    STOCK_DRIFT,
    Location,
    MovementKind,
    Stock,
    StockChange,
    StockDrift,
    stock_changes,
)
from command_service.inventory.events import LocationUpserted
from command_service.inventory.movements import StockRow, shelve, transfer
from command_service.inventory.stocktaking import (
    Count,
    RepairedCounter,
    adjust,
    repair,
    set_policy,
)
from command_service.row_outcome import Outcomes, RowOutcome, RowState, refused_row, upserted
from command_service.world import Change, Command, Decision, Touch, World
from event_log.events import Event

# --- locations ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class UpsertLocations(Command[Outcomes]):
    """Creates or replaces locations, row by row."""

    is_bulk: ClassVar[bool] = True
    locations: tuple[Location, ...]

    @property
    def row_count(self) -> int:
        """As many as it names."""
        return len(self.locations)

    def touches(self) -> Iterable[Touch]:
        """Each location, which may not exist yet."""
        return [LOCATION.create(location.location_id) for location in self.locations]

    def decide(self, world: World, now: datetime) -> Decision[Outcomes]:
        """Refuses no more than rows: LocationNotEmpty for one that would close a location with stock."""
        after: dict[str, Location] = {}
        outcomes = []
        for index, row in enumerate(self.locations):
            key = row.location_id
            before = after.get(key) or world.get(LOCATION, key)
            try:
                changed, state = _upsert(before, row)
            except LocationNotEmpty as refusal:
                outcomes.append(refused_row(index, key, refusal))
                continue
            if state is not RowState.UNCHANGED:
                after[key] = changed
            outcomes.append(RowOutcome(index, key, state))
        changes = [LOCATION.changed(key, location) for key, location in after.items()]
        events = [LocationUpserted(location) for location in after.values()]
        return Decision(tuple(outcomes), changes, events)


def _upsert(before: Location | None, row: Location) -> tuple[Location, RowState]:
    if before is None:
        return row, RowState.CREATED
    if before.active and not row.active and not before.is_empty:
        raise LocationNotEmpty(location_id=row.location_id)
    after = replace(row, is_empty=before.is_empty)
    return after, upserted(before, after)


# --- the shelf ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _ShelveStock(Command[Outcomes]):
    """Puts units on shelves, row by row."""

    is_bulk: ClassVar[bool] = True
    movement_kind: ClassVar[MovementKind]
    rows: tuple[StockRow, ...]
    reference: str

    @property
    def row_count(self) -> int:
        """As many as it names."""
        return len(self.rows)

    def touches(self) -> Iterable[Touch]:
        """The locations, which may not close meanwhile, and the stocks, which may have to be opened."""
        for row in self.rows:
            yield LOCATION.share(row.location_id)
            yield STOCK.create(row.sku_id)

    def decide(self, world: World, now: datetime) -> Decision[Outcomes]:
        """Refuses no more than rows: LocationNotFound, QuantityTooLarge."""
        stocks: dict[str, Stock | None] = {r.sku_id: world.get(STOCK, r.sku_id) for r in self.rows}
        outcomes: list[RowOutcome] = []
        events: list[Event] = []
        changed: dict[str, Stock] = {}
        filled: dict[str, Location] = {}
        for index, row in enumerate(self.rows):
            try:
                location = active_location(world, row.location_id)
                ranks = {location.location_id: location.rank}
                change = shelve(
                    stocks, [row], self.movement_kind, cause=self.reference, rank_by_location=ranks
                )
            except Refusal as refusal:
                outcomes.append(refused_row(index, row.sku_id, refusal))
                continue
            known = _level_exists(stocks[row.sku_id], row.location_id)
            outcomes.append(
                RowOutcome(index, row.sku_id, RowState.UPDATED if known else RowState.CREATED)
            )
            stocks.update(change.stocks)
            changed.update(change.stocks)
            events.extend(change.events)
            filled[location.location_id] = location
        changes = [*stock_changes(StockChange(changed, events)), *_occupied(filled.values())]
        return Decision(tuple(outcomes), changes, events)


class ReceiveStock(_ShelveStock):
    """Records goods that came in."""

    __slots__ = ()
    movement_kind = MovementKind.RECEIVED


class ReturnStock(_ShelveStock):
    """Puts goods that came back on the shelf."""

    __slots__ = ()
    movement_kind = MovementKind.RETURNED


@dataclass(frozen=True, slots=True)
class AdjustStock(Command[Stock]):
    """Records what a count found, if on_hand still is what the counter started from."""

    sku_id: str
    location_id: str
    counted_quantity: int
    expected_on_hand: int
    reference: str

    def touches(self) -> Iterable[Touch]:
        """The location and the stock, which may have to be opened."""
        return [LOCATION.share(self.location_id), STOCK.create(self.sku_id)]

    def decide(self, world: World, now: datetime) -> Decision[Stock]:
        """Refuses LocationNotFound, StockChanged."""
        location = active_location(world, self.location_id)
        stock = _stock_or_none_yet(world, self.sku_id)
        count = Count(self.counted_quantity, self.expected_on_hand)
        return _staff_decision(stock, location, adjust(stock, location, count, cause=self.reference))


@dataclass(frozen=True, slots=True)
class TransferStock(Command[Stock]):
    """Moves units that nobody holds to another location."""

    sku_id: str
    from_location_id: str
    to_location_id: str
    quantity: int
    reference: str

    def touches(self) -> Iterable[Touch]:
        """Where the units go, and the stock. Where they come from cannot be closed: they are there."""
        return [LOCATION.share(self.to_location_id), STOCK.change(self.sku_id)]

    def decide(self, world: World, now: datetime) -> Decision[Stock]:
        """Refuses LocationNotFound, StockNotFound, OutOfStock, QuantityTooLarge."""
        to = active_location(world, self.to_location_id)
        stock = _stock_or_none_yet(world, self.sku_id)
        change = transfer(stock, self.from_location_id, to, self.quantity, cause=self.reference)
        return _staff_decision(stock, to, change)


@dataclass(frozen=True, slots=True)
class SetStockPolicy(Command[Stock]):
    """Sets safety stock and backorder limit of a SKU at a location."""

    sku_id: str
    location_id: str
    safety_stock: int
    backorder_limit: int

    def touches(self) -> Iterable[Touch]:
        """The location and the stock, which may have to be opened."""
        return [LOCATION.share(self.location_id), STOCK.create(self.sku_id)]

    def decide(self, world: World, now: datetime) -> Decision[Stock]:
        """Refuses LocationNotFound, BackorderLimitInUse."""
        location = active_location(world, self.location_id)
        stock = _stock_or_none_yet(world, self.sku_id)
        change = set_policy(
            stock,
            location,
            safety_stock=self.safety_stock,
            backorder_limit=self.backorder_limit,
            cause="",
        )
        return _staff_decision(stock, location, change)


@dataclass(frozen=True, slots=True)
class StockRepair:
    """What RepairStock answers."""

    repaired: tuple[RepairedCounter, ...]
    stock: Stock


@dataclass(frozen=True, slots=True)
class RepairStock(Command[StockRepair]):
    """Makes the counters of a SKU equal their ledger."""

    is_bulk: ClassVar[bool] = True
    """It sums up all that ever happened to the SKU."""

    sku_id: str

    def touches(self) -> Iterable[Touch]:
        """The stock, locked even if all of it was lost, and how far it has drifted from its ledger."""
        return [STOCK.create(self.sku_id), STOCK_DRIFT.change(self.sku_id)]

    def decide(self, world: World, now: datetime) -> Decision[StockRepair]:
        """Refuses SkuNeverStocked when there neither is nor was any stock."""
        before = world.get(STOCK, self.sku_id)
        change, repaired = repair(before, world.get(STOCK_DRIFT, self.sku_id))
        after = change.stocks.get(self.sku_id, before)
        if after is None:
            raise SkuNeverStocked(sku_id=self.sku_id)
        # A second repair in the same batch finds nothing left to do.
        none_left = StockDrift(self.sku_id, ())
        changes = [*stock_changes(change), STOCK_DRIFT.changed(self.sku_id, none_left)]
        return Decision(StockRepair(repaired, after), changes, change.events)


def active_location(world: World, location_id: str) -> Location:
    """The location.

    Raises:
        LocationNotFound: there is none, or it is closed.
    """
    location = world.get(LOCATION, location_id)
    if location is None or not location.active:
        raise LocationNotFound(location_id=location_id)
    return location


def _stock_or_none_yet(world: World, sku_id: str) -> Stock:
    return world.get(STOCK, sku_id) or Stock(sku_id, ())


def _level_exists(stock: Stock | None, location_id: str) -> bool:
    return stock is not None and stock.level_at(location_id) is not None


def _occupied(locations: Iterable[Location]) -> list[Change]:
    return [LOCATION.changed(place.location_id, place.occupied()) for place in locations]


def _staff_decision(before: Stock, location: Location, change: StockChange) -> Decision[Stock]:
    after = change.stocks.get(before.sku_id, before)
    changes = [*stock_changes(change), *_occupied([location])]
    return Decision(after, changes, change.events)
