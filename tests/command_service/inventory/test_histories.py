"""Random histories of a warehouse against a simple model, in memory and in PostgreSQL.

The model knows what is on each shelf, the policies and the reservations. All else follows from these:
reserved and allocated are sums over reservations, the shortage is what they exceed the rest by.
"""

from collections import Counter
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

from command_service.errors import (
    BackorderLimitInUse,
    OutOfStock,
    Refusal,
    ReservationNotCommitted,
    ReservationNotExpired,
    ReservationNotHeld,
    StockChanged,
    StockNotFound,
)
from command_service.inventory.commands import (
    AdjustStock,
    ReceiveStock,
    RepairStock,
    ReturnStock,
    SetStockPolicy,
    TransferStock,
    UpsertLocations,
)
from command_service.inventory.domain import (
    Demand,
    HeldLine,
    Location,
    Reservation,
    ReservationState,
)
from command_service.inventory.movements import StockRow
from command_service.inventory.reservation_commands import (
    CommitReservation,
    ExpireReservation,
    ExtendReservation,
    ReleaseReservation,
    ReserveStock,
    ShipReservation,
)
from command_service.row_outcome import RowState
from tests.command_service.inventory.warehouse import HOUR
from tests.command_service.inventory.warehouses import (
    SOME,
    MakeWarehouse,
    Stored,
    Warehouse,
    WarehouseInMemory,
    attempt,
)

SKUS = st.sampled_from(("cup", "mug"))
PLACES = st.sampled_from(("east", "west"))
FEW = st.integers(1, 5)
FEW_OR_NONE = st.integers(0, 5)
DEMANDS = st.lists(st.builds(Demand, SKUS, FEW, st.none() | PLACES), min_size=1, max_size=3)

Place = tuple[str, str]


@dataclass
class Shelf:
    """What the model knows of a SKU at a location."""

    on_hand: int = 0
    safety_stock: int = 0
    backorder_limit: int = 0


@dataclass
class Promise:
    """What the model knows of a reservation."""

    state: ReservationState
    lines: tuple[HeldLine, ...]
    is_over: bool = False


@dataclass
class Model:
    """A warehouse as simple as can be."""

    shelves: dict[Place, Shelf] = field(default_factory=dict)
    promises: dict[str, Promise] = field(default_factory=dict)

    def promised(self, place: Place, state: ReservationState) -> int:
        lines = [line for p in self.promises.values() if p.state is state for line in p.lines]
        return sum(line.quantity for line in lines if (line.sku_id, line.location_id) == place)

    def counters(self, place: Place) -> tuple[int, ...]:
        shelf = self.shelves[place]
        reserved = self.promised(place, ReservationState.HELD)
        allocated = self.promised(place, ReservationState.COMMITTED)
        shortage = max(0, reserved + allocated - shelf.on_hand - shelf.backorder_limit)
        return (
            shelf.on_hand,
            reserved,
            allocated,
            shelf.safety_stock,
            shelf.backorder_limit,
            shortage,
        )

    def free(self, place: Place) -> int:
        """Units on the shelf, or missing there, after promises and safety stock."""
        if place not in self.shelves:
            return 0
        on_hand, reserved, allocated, safety_stock, _, _ = self.counters(place)
        return on_hand - reserved - allocated - safety_stock

    def room(self, place: Place) -> int:
        limit = self.shelves[place].backorder_limit if place in self.shelves else 0
        return max(0, self.free(place) + limit)

    def can_hold(self, demands: list[Demand], places: list[str]) -> bool:
        fixed, wanted = Counter[Place](), Counter[str]()
        for demand in demands:
            wanted[demand.sku_id] += demand.quantity
            if demand.location_id is not None:
                fixed[demand.sku_id, demand.location_id] += demand.quantity
        rooms = {sku: sum(self.room((sku, place)) for place in places) for sku in wanted}
        return all(self.room(place) >= units for place, units in fixed.items()) and all(
            rooms[sku] >= units for sku, units in wanted.items()
        )

    def has_one_place_for(self, demands: list[Demand], places: list[str]) -> bool:
        wanted = Counter[str]()
        for demand in demands:
            wanted[demand.sku_id] += demand.quantity
        return any(
            all(self.room((sku, place)) >= units for sku, units in wanted.items()) for place in places
        )


class Histories(RuleBasedStateMachine):
    """What staff, buyers and time do to two SKUs at two locations."""

    reservations = Bundle("reservations")

    def __init__(self, warehouse: Warehouse, prefix: str = "") -> None:
        super().__init__()
        self.warehouse = warehouse
        self.prefix = prefix
        self.places = [f"{prefix}{name}" for name in ("east", "west")]
        self.model = Model()
        self.ids = count()

    def name(self, name: str) -> str:
        return f"{self.prefix}{name}"

    def at(self, sku: str, place: str) -> Place:
        return self.name(sku), self.name(place)

    @initialize()
    def open_locations(self) -> None:
        rows = tuple(Location(place, place, n, active=True) for n, place in enumerate(self.places))
        self.warehouse.carry_out(UpsertLocations(rows))

    # --- staff -------------------------------------------------------------------------------------

    @rule(sku=SKUS, place=PLACES, quantity=FEW, command=st.sampled_from((ReceiveStock, ReturnStock)))
    def shelve(
        self, sku: str, place: str, quantity: int, command: type[ReceiveStock] | type[ReturnStock]
    ) -> None:
        at = self.at(sku, place)
        state = RowState.UPDATED if at in self.model.shelves else RowState.CREATED
        [outcome] = self.warehouse.carry_out(command((StockRow(*at, quantity),), "delivery"))
        assert outcome.state is state
        self.model.shelves.setdefault(at, Shelf()).on_hand += quantity

    @rule(sku=SKUS, place=PLACES, found=FEW_OR_NONE, is_stale=st.booleans())
    def count_shelf(self, sku: str, place: str, found: int, is_stale: bool) -> None:
        at = self.at(sku, place)
        on_hand = self.model.shelves.get(at, Shelf()).on_hand
        answer = attempt(self.warehouse, AdjustStock(*at, found, on_hand + is_stale, "count"))
        assert isinstance(answer, StockChanged) == is_stale
        if not is_stale:
            self.model.shelves.setdefault(at, Shelf()).on_hand = found

    @rule(sku=SKUS, quantity=FEW)
    def transfer(self, sku: str, quantity: int) -> None:
        source, target = self.at(sku, "east"), self.at(sku, "west")
        answer = attempt(
            self.warehouse, TransferStock(source[0], source[1], target[1], quantity, "moving")
        )
        if source not in self.model.shelves:
            assert isinstance(answer, StockNotFound)
        elif self.model.free(source) < quantity:
            assert isinstance(answer, OutOfStock)
        else:
            self.model.shelves[source].on_hand -= quantity
            self.model.shelves.setdefault(target, Shelf()).on_hand += quantity

    @rule(sku=SKUS, place=PLACES, safety_stock=FEW_OR_NONE, backorder_limit=FEW_OR_NONE)
    def set_policy(self, sku: str, place: str, safety_stock: int, backorder_limit: int) -> None:
        at = self.at(sku, place)
        shelf = self.model.shelves.get(at, Shelf())
        short = self.model.counters(at)[-1] if at in self.model.shelves else 0
        covered = shelf.on_hand + backorder_limit + short
        promised = sum(
            self.model.promised(at, state) for state in (ReservationState(1), ReservationState(2))
        )
        answer = attempt(self.warehouse, SetStockPolicy(*at, safety_stock, backorder_limit))
        assert isinstance(answer, BackorderLimitInUse) == (promised > covered)
        if promised <= covered:
            self.model.shelves[at] = Shelf(shelf.on_hand, safety_stock, backorder_limit)

    @rule(place=PLACES)
    def close_and_open_again(self, place: str) -> None:
        location_id = self.name(place)
        is_empty = not any(
            any(self.model.counters(at)) for at in self.model.shelves if at[1] == location_id
        )
        rank = self.places.index(location_id)
        closed = Location(location_id, location_id, rank, active=False)
        [outcome] = self.warehouse.carry_out(UpsertLocations((closed,)))
        assert outcome.state is (RowState.UPDATED if is_empty else RowState.REFUSED)
        opened = Location(location_id, location_id, rank, active=True)
        self.warehouse.carry_out(UpsertLocations((opened,)))

    @precondition(lambda self: self.model.shelves)
    @rule(data=st.data(), more=FEW)
    def break_and_repair(self, data: st.DataObject, more: int) -> None:
        at = data.draw(st.sampled_from(sorted(self.model.shelves)))
        on_hand = self.model.shelves[at].on_hand
        self.warehouse.break_counter(*at, on_hand + more)
        [repaired] = self.warehouse.carry_out(RepairStock(at[0])).repaired
        assert repaired == (at[1], "on_hand", on_hand + more, on_hand)

    # --- reservations ------------------------------------------------------------------------------

    @rule(target=reservations, demands=DEMANDS)
    def reserve(self, demands: list[Demand]) -> Any:
        named = [
            Demand(self.name(d.sku_id), d.quantity, d.location_id and self.name(d.location_id))
            for d in demands
        ]
        reservation_id = self.name(f"r{next(self.ids)}")
        answer = attempt(self.warehouse, ReserveStock(reservation_id, "x", tuple(named), HOUR))
        assert isinstance(answer, OutOfStock) != self.model.can_hold(named, self.places)
        if isinstance(answer, Refusal):
            return multiple()
        self.check_lines(answer.lines, named)
        self.model.promises[reservation_id] = Promise(ReservationState.HELD, answer.lines)
        return reservation_id

    def check_lines(self, lines: tuple[HeldLine, ...], demands: list[Demand]) -> None:
        held, wanted = Counter[str](), Counter[str]()
        for line in lines:
            assert line.quantity <= self.model.room((line.sku_id, line.location_id))
            held[line.sku_id] += line.quantity
        for demand in demands:
            wanted[demand.sku_id] += demand.quantity
        assert held == wanted
        if all(d.location_id is None for d in demands) and self.model.has_one_place_for(
            demands, self.places
        ):
            assert len({line.location_id for line in lines}) == 1

    @rule(reservation_id=reservations)
    def let_time_run_out(self, reservation_id: str) -> None:
        self.warehouse.let_time_run_out(reservation_id)
        self.model.promises[reservation_id].is_over = True

    @rule(reservation_id=reservations)
    def commit(self, reservation_id: str) -> None:
        promise = self.model.promises[reservation_id]
        answer = attempt(self.warehouse, CommitReservation(reservation_id))
        if self.holds(promise):
            promise.state = ReservationState.COMMITTED
        else:
            assert isinstance(answer, ReservationNotHeld)

    @rule(reservation_id=reservations)
    def release(self, reservation_id: str) -> None:
        promise = self.model.promises[reservation_id]
        answer = attempt(self.warehouse, ReleaseReservation(reservation_id))
        if self.holds(promise) or promise.state is ReservationState.COMMITTED:
            promise.state = ReservationState.RELEASED
        else:
            assert isinstance(answer, ReservationNotHeld)

    @rule(reservation_id=reservations)
    def extend(self, reservation_id: str) -> None:
        answer = attempt(self.warehouse, ExtendReservation(reservation_id, hold_duration=HOUR))
        holds = self.holds(self.model.promises[reservation_id])
        assert isinstance(answer, Reservation if holds else ReservationNotHeld)

    @rule(reservation_id=reservations)
    def expire(self, reservation_id: str) -> None:
        promise = self.model.promises[reservation_id]
        answer = attempt(self.warehouse, ExpireReservation(reservation_id))
        if promise.state is not ReservationState.HELD:
            assert isinstance(answer, ReservationNotHeld)
        elif not promise.is_over:
            assert isinstance(answer, ReservationNotExpired)
        else:
            promise.state = ReservationState.EXPIRED

    @rule(reservation_id=reservations)
    def ship(self, reservation_id: str) -> None:
        promise = self.model.promises[reservation_id]
        places = {(line.sku_id, line.location_id): line.quantity for line in promise.lines}
        answer = attempt(self.warehouse, ShipReservation(reservation_id))
        if promise.state is not ReservationState.COMMITTED:
            assert isinstance(answer, ReservationNotCommitted)
        elif any(self.model.shelves[at].on_hand < quantity for at, quantity in places.items()):
            assert isinstance(answer, OutOfStock)
        else:
            promise.state = ReservationState.SHIPPED
            for at, quantity in places.items():
                self.model.shelves[at].on_hand -= quantity

    @staticmethod
    def holds(promise: Promise) -> bool:
        return promise.state is ReservationState.HELD and not promise.is_over

    # --- what always holds -------------------------------------------------------------------------

    @invariant()
    def counters_are_those_of_the_model_and_of_the_ledger(self) -> None:
        expected = {at: self.model.counters(at) for at in self.model.shelves}
        assert self.warehouse.levels() == {
            at: Stored(counters, ledger_sums=counters) for at, counters in expected.items()
        }


class HistoriesInMemory(Histories):
    """Fast, so many and long."""

    def __init__(self) -> None:
        super().__init__(WarehouseInMemory())


def test_any_history_in_memory_is_that_of_the_model() -> None:
    many = settings(max_examples=100, stateful_step_count=40, deadline=None)
    run_state_machine_as_test(HistoriesInMemory, settings=many)


def test_any_history_in_postgresql_is_that_of_the_model(make_warehouse: MakeWarehouse) -> None:
    class HistoriesInPostgres(Histories):
        def __init__(self) -> None:
            super().__init__(*make_warehouse())

    run_state_machine_as_test(HistoriesInPostgres, settings=settings(SOME, stateful_step_count=25))
