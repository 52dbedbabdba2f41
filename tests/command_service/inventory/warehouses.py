"""Two warehouses behind one port: in memory and in PostgreSQL; the same histories run on both."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, Protocol

from hypothesis import HealthCheck, settings

from command_service.errors import Refusal
from command_service.inventory.domain import (
    COUNTERS,
    LOCATION,
    RESERVATION,
    STOCK,
    STOCK_DRIFT,
    Level,
    LevelDrift,
    Location,
    Reservation,
    Stock,
    StockDeltas,
    StockDrift,
)
from command_service.inventory.events import StockMoved
from command_service.world import AnswerT, Command, Kind, LockRank, Touch, World
from event_log.codec import encode_event
from tests.command_service.conftest import CarryOut
from tests.command_service.inventory.warehouse import COUNTERS_AND_SUMS

Counters = tuple[int, ...]
"""The six counters, in the order of COUNTERS."""


class Stored(NamedTuple):
    """The counters of a level, and the sums of its movements."""

    counters: Counters
    ledger_sums: Counters


class Warehouse(Protocol):
    """A place where commands have effects."""

    def carry_out(self, command: Command[AnswerT]) -> AnswerT:
        """The answer; raises the refusal."""
        ...

    def levels(self) -> dict[tuple[str, str], Stored]:
        """All levels by SKU and location."""
        ...

    def let_time_run_out(self, reservation_id: str) -> None:
        """Makes the time of a reservation have come."""
        ...

    def break_counter(self, sku_id: str, location_id: str, on_hand: int) -> None:
        """Sets a counter behind the back of the ledger."""
        ...


class WarehouseInMemory:
    """Decides one command after another on aggregates in a dictionary."""

    def __init__(self) -> None:
        self._aggregates: dict[tuple[LockRank, Any], Any] = {}
        self._movements: list[StockMoved] = []
        self._now = datetime(2030, 1, 1, tzinfo=UTC)

    def carry_out(self, command: Command[AnswerT]) -> AnswerT:
        self._now += timedelta(milliseconds=1)
        world = World()
        self._load(world, command.touches())
        self._load(world, command.needs(world))
        decision = command.decide(world, self._now)
        for event in decision.events:
            encode_event(event)
        for change in decision.changes:
            self._aggregates[change.kind.rank, change.key] = change.after
        self._movements += [event for event in decision.events if isinstance(event, StockMoved)]
        return decision.answer

    def levels(self) -> dict[tuple[str, str], Stored]:
        return {
            (stock.sku_id, level.location_id): Stored(
                _counters(level), self._ledger_sums(stock.sku_id, level.location_id)
            )
            for stock in self._stocks()
            for level in stock.levels
        }

    def let_time_run_out(self, reservation_id: str) -> None:
        place = (RESERVATION.rank, reservation_id)
        reservation: Reservation = self._aggregates[place]
        self._aggregates[place] = replace(reservation, expire_time=self._now)

    def break_counter(self, sku_id: str, location_id: str, on_hand: int) -> None:
        stock: Stock = self._aggregates[STOCK.rank, sku_id]
        [level] = [level for level in stock.levels if level.location_id == location_id]
        self._aggregates[STOCK.rank, sku_id] = stock.with_level(replace(level, on_hand=on_hand))

    def _load(self, world: World, touches: Any) -> None:
        for touch in touches:
            kind: Kind[Any, Any] = touch.kind
            world.load(kind, {touch.key: self._found(touch)})

    def _found(self, touch: Touch) -> Any:
        found = self._aggregates.get((touch.kind.rank, touch.key))
        if touch.kind is STOCK_DRIFT:
            return self._drift(touch.key)
        if touch.kind is LOCATION and found is not None:
            location: Location = found
            return replace(location, is_empty=self._is_empty(location.location_id))
        if touch.kind is STOCK and found is not None:
            return self._as_of_its_locations(found)
        return found

    def _as_of_its_locations(self, stock: Stock) -> Stock:
        """The stock as the database reads it: with each location's rank, and whether it is open."""
        locations = [self._aggregates[LOCATION.rank, level.location_id] for level in stock.levels]
        levels = [
            replace(level, rank=location.rank, active=location.active)
            for level, location in zip(stock.levels, locations, strict=True)
        ]
        return Stock(stock.sku_id, tuple(levels))

    def _stocks(self) -> list[Stock]:
        return [each for (rank, _), each in self._aggregates.items() if rank is STOCK.rank]

    def _is_empty(self, location_id: str) -> bool:
        levels = [level for stock in self._stocks() for level in stock.levels]
        return not any(any(_counters(each)) for each in levels if each.location_id == location_id)

    def _drift(self, sku_id: str) -> StockDrift:
        stock: Stock | None = self._aggregates.get((STOCK.rank, sku_id))
        drifts = []
        for level in () if stock is None else stock.levels:
            sums = self._ledger_sums(sku_id, level.location_id)
            if sums != _counters(level):
                differences = [a - b for a, b in zip(sums, _counters(level), strict=True)]
                deltas = StockDeltas(*differences)
                drifts.append(LevelDrift(level.location_id, level.rank, level.active, deltas))
        return StockDrift(sku_id, tuple(drifts))

    def _ledger_sums(self, sku_id: str, location_id: str) -> Counters:
        rows = [
            _counters(movement.deltas)
            for movement in self._movements
            if (movement.sku_id, movement.level.location_id) == (sku_id, location_id)
        ]
        return tuple(sum(column) for column in zip(*rows, strict=True))


class WarehouseInPostgres:
    """Commits each command alone through the real transaction. Shares its database with others."""

    def __init__(self, runner: asyncio.Runner, carry_out: CarryOut, prefix: str) -> None:
        self._runner = runner
        self._carry_out = carry_out
        self._prefix = prefix

    def carry_out(self, command: Command[AnswerT]) -> AnswerT:
        return self._runner.run(self._carry_out(command))

    def together(self, commands: Sequence[Command[Any]]) -> list[Any]:
        """The answers and refusals of one batch."""
        return self._runner.run(self._carry_out.together(commands))

    def levels(self) -> dict[tuple[str, str], Stored]:
        rows = self._runner.run(self._carry_out.fetch(COUNTERS_AND_SUMS))
        return {
            (sku_id, location_id): Stored(tuple(counters), tuple(sums))
            for sku_id, location_id, *counters, sums in rows
            if sku_id.startswith(self._prefix)
        }

    def let_time_run_out(self, reservation_id: str) -> None:
        sql = "UPDATE reservations SET expire_time = clock_timestamp() WHERE reservation_id = %s"
        self._runner.run(self._carry_out.fetch(sql, reservation_id))

    def break_counter(self, sku_id: str, location_id: str, on_hand: int) -> None:
        sql = "UPDATE stock_levels SET on_hand = %s WHERE sku_id = %s AND location_id = %s"
        self._runner.run(self._carry_out.fetch(sql, on_hand, sku_id, location_id))


MakeWarehouse = Callable[[], tuple[WarehouseInPostgres, str]]
"""Makes a warehouse and the prefix that its names must have."""

# The database is shared by the examples of a test, each of which has a prefix of its own for names.
SOME = settings(
    max_examples=10,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def attempt(warehouse: Warehouse, command: Command[AnswerT]) -> AnswerT | Refusal:
    """The answer or the refusal."""
    try:
        return warehouse.carry_out(command)
    except Refusal as refusal:
        return refusal


def _counters(level: Level | StockDeltas) -> Counters:
    return tuple(getattr(level, name) for name in COUNTERS)
