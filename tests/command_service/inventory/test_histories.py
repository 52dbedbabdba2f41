"""Random histories of a warehouse against a simple model, in memory and in PostgreSQL.

The model knows what is on each shelf, the policies and the reservations. All else follows from these:
reserved and allocated are sums over reservations, the shortage is what they exceed the rest by. Which
locations fill a demand is for the warehouse to choose, within what the model allows.
"""

from collections import Counter
from dataclasses import dataclass, field, replace
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
    LocationNotFound,
    OutOfStock,
    Refusal,
    ReservationNotCommitted,
    ReservationNotExpired,
    ReservationNotHeld,
    StockChanged,
    StockNotFound,
    UnitsNotHeld,
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
    Stock,
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
MANY = st.integers(1, 20)
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
    closed: set[str] = field(default_factory=set)

    def promised(self, place: Place, state: ReservationState) -> int:
        lines = [line for p in self.promises.values() if p.state is state for line in p.lines]
        return sum(line.unshipped_quantity for line in lines if line.place == place)

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

    def spare(self, place: Place) -> int:
        """Units on the shelf that can be promised."""
        return 0 if place[1] in self.closed else max(0, self.free(place))

    def room(self, place: Place) -> int:
        """Units that can be promised, backorders among them."""
        if place not in self.shelves or place[1] in self.closed:
            return 0
        return max(0, self.free(place) + self.shelves[place].backorder_limit)

    def alone(self, sku: str, place: str, places: list[str]) -> int:
        """Units that a location can promise by itself: no backorder while others have units."""
        others = any(self.spare((sku, other)) for other in places if other != place)
        return self.spare((sku, place)) if others else self.room((sku, place))

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
            all(self.alone(sku, place, places) >= units for sku, units in wanted.items())
            for place in places
        )

    def can_ship(self, promise: Promise, units: list[Demand]) -> bool:
        """Whether the reservation holds the units where they are wanted, and the shelves have them."""
        able = {
            line.place: min(line.unshipped_quantity, self.shelves[line.place].on_hand)
            for line in promise.lines
        }
        fixed, wanted = Counter[Place](), Counter[str]()
        for demand in units:
            wanted[demand.sku_id] += demand.quantity
            if demand.location_id is not None:
                fixed[demand.sku_id, demand.location_id] += demand.quantity
        able_by_sku = Counter[str]()
        for (sku, _), quantity in able.items():
            able_by_sku[sku] += quantity
        return all(quantity <= able.get(place, 0) for place, quantity in fixed.items()) and (
            wanted <= able_by_sku
        )

    def places_with_units_alone(self, places: list[str]) -> list[str]:
        """Open locations that have units on shelves, and no other counter above 0."""
        found = []
        for place in set(places) - self.closed:
            counters = [self.counters(at) for at in self.shelves if at[1] == place]
            if any(on_hand for on_hand, *_ in counters) and not any(any(rest) for _, *rest in counters):
                found.append(place)
        return sorted(found)


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

    def named(self, demands: list[Demand]) -> list[Demand]:
        return [
            Demand(self.name(d.sku_id), d.quantity, d.location_id and self.name(d.location_id))
            for d in demands
        ]

    @initialize(quantities=st.lists(st.just(0) | MANY, min_size=4, max_size=4))
    def open_and_fill_locations(self, quantities: list[int]) -> None:
        rows = tuple(Location(place, place, n, active=True) for n, place in enumerate(self.places))
        self.warehouse.carry_out(UpsertLocations(rows))
        places = [(self.name(sku), place) for sku in ("cup", "mug") for place in self.places]
        for at, quantity in zip(places, quantities, strict=True):
            if quantity > 0:
                self.warehouse.carry_out(ReceiveStock((StockRow(*at, quantity),), "opening"))
                self.model.shelves[at] = Shelf(quantity)

    # --- staff -------------------------------------------------------------------------------------

    @rule(sku=SKUS, place=PLACES, quantity=MANY, command=st.sampled_from((ReceiveStock, ReturnStock)))
    def shelve(
        self, sku: str, place: str, quantity: int, command: type[ReceiveStock] | type[ReturnStock]
    ) -> None:
        at = self.at(sku, place)
        [outcome] = self.warehouse.carry_out(command((StockRow(*at, quantity),), "delivery"))
        if at[1] in self.model.closed:
            assert (outcome.state, outcome.reason) == (RowState.REFUSED, "LOCATION_NOT_FOUND")
            return
        assert outcome.state is (RowState.UPDATED if at in self.model.shelves else RowState.CREATED)
        self.model.shelves.setdefault(at, Shelf()).on_hand += quantity

    @rule(sku=SKUS, place=PLACES, found=FEW_OR_NONE, is_stale=st.booleans())
    def count_shelf(self, sku: str, place: str, found: int, is_stale: bool) -> None:
        at = self.at(sku, place)
        on_hand = self.model.shelves.get(at, Shelf()).on_hand
        answer = attempt(self.warehouse, AdjustStock(*at, found, on_hand + is_stale, "count"))
        if at[1] in self.model.closed:
            assert isinstance(answer, LocationNotFound)
        elif is_stale:
            assert isinstance(answer, StockChanged)
        else:
            assert isinstance(answer, Stock)
            self.model.shelves.setdefault(at, Shelf()).on_hand = found

    @rule(sku=SKUS, quantity=FEW)
    def transfer(self, sku: str, quantity: int) -> None:
        source, target = self.at(sku, "east"), self.at(sku, "west")
        answer = attempt(
            self.warehouse, TransferStock(source[0], source[1], target[1], quantity, "moving")
        )
        if target[1] in self.model.closed:
            assert isinstance(answer, LocationNotFound)
        elif source not in self.model.shelves:
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
        if at[1] in self.model.closed:
            assert isinstance(answer, LocationNotFound)
        elif promised > covered:
            assert isinstance(answer, BackorderLimitInUse)
        else:
            self.model.shelves[at] = Shelf(shelf.on_hand, safety_stock, backorder_limit)

    def upsert(self, location_id: str, *, active: bool) -> RowState:
        rank = self.places.index(location_id)
        row = Location(location_id, location_id, rank, active=active)
        [outcome] = self.warehouse.carry_out(UpsertLocations((row,)))
        return outcome.state

    @rule(place=PLACES)
    def close(self, place: str) -> None:
        location_id = self.name(place)
        at_location = [at for at in self.model.shelves if at[1] == location_id]
        state = self.upsert(location_id, active=False)
        if location_id in self.model.closed:
            assert state is RowState.UNCHANGED
        elif any(any(self.model.counters(at)) for at in at_location):
            assert state is RowState.REFUSED
        else:
            assert state is RowState.UPDATED
            self.model.closed.add(location_id)

    @precondition(lambda self: self.model.closed)
    @rule()
    def open_again(self) -> None:
        for location_id in sorted(self.model.closed):
            assert self.upsert(location_id, active=True) is RowState.UPDATED
        self.model.closed.clear()

    @precondition(lambda self: self.model.places_with_units_alone(self.places))
    @rule(data=st.data())
    def lose_units_close_and_find_them_by_repair(self, data: st.DataObject) -> None:
        found = self.model.places_with_units_alone(self.places)
        location_id = data.draw(st.sampled_from(found))
        levels = {at: shelf for at, shelf in self.model.shelves.items() if at[1] == location_id}
        for at in levels:
            self.warehouse.break_counter(*at, 0)
        assert self.upsert(location_id, active=False) is RowState.UPDATED
        self.model.closed.add(location_id)
        for (sku, _), shelf in levels.items():
            repaired = self.warehouse.carry_out(RepairStock(sku)).repaired
            assert repaired == (((location_id, "on_hand", 0, shelf.on_hand),) if shelf.on_hand else ())

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
        named = self.named(demands)
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
        if any(demand.location_id is not None for demand in demands):
            return
        if self.model.has_one_place_for(demands, self.places):
            assert len({line.location_id for line in lines}) == 1
        taken = {line.place: line.quantity for line in lines}
        for sku, quantity in wanted.items():
            spare = {(sku, place): self.model.spare((sku, place)) for place in self.places}
            assert quantity > sum(spare.values()) or all(taken.get(at, 0) <= spare[at] for at in spare)
            assert quantity < sum(spare.values()) or all(taken.get(at, 0) >= spare[at] for at in spare)

    @rule(target=reservations, demands=DEMANDS)
    def reserve_and_commit(self, demands: list[Demand]) -> Any:
        reservation_id = self.reserve(demands)
        if isinstance(reservation_id, str):
            self.commit(reservation_id)
        return reservation_id

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
        self.ship_units(reservation_id, [])

    @precondition(lambda self: self.committed())
    @rule(data=st.data())
    def ship_some(self, data: st.DataObject) -> None:
        """Units of its lines, a few too many now and then, from where they are held or anywhere."""
        reservation_id = data.draw(st.sampled_from(self.committed()))
        units = []
        for line in self.model.promises[reservation_id].lines:
            quantity = data.draw(st.integers(0, line.unshipped_quantity + 1))
            location_id = data.draw(st.sampled_from((None, line.location_id, *self.places)))
            if quantity > 0:
                units.append(Demand(line.sku_id, quantity, location_id))
        if units:
            self.ship_units(reservation_id, units)

    def ship_units(self, reservation_id: str, units: list[Demand]) -> None:
        promise = self.model.promises[reservation_id]
        wanted = units or [Demand(line.sku_id, line.unshipped_quantity) for line in promise.lines]
        answer = attempt(self.warehouse, ShipReservation(reservation_id, tuple(units)))
        if promise.state is not ReservationState.COMMITTED:
            assert isinstance(answer, ReservationNotCommitted)
        elif not self.model.can_ship(promise, wanted):
            assert isinstance(answer, UnitsNotHeld | OutOfStock)
        else:
            assert isinstance(answer, Reservation)
            self.check_shipped(promise, answer, wanted)
            promise.lines, promise.state = answer.lines, answer.state

    def check_shipped(self, promise: Promise, answer: Reservation, units: list[Demand]) -> None:
        shipped, wanted, shipped_by_sku = Counter[Place](), Counter[str](), Counter[str]()
        for before, after in zip(promise.lines, answer.lines, strict=True):
            assert before == replace(after, shipped_quantity=before.shipped_quantity)
            shipped[after.place] = after.shipped_quantity - before.shipped_quantity
            shipped_by_sku[after.sku_id] += shipped[after.place]
            self.model.shelves[after.place].on_hand -= shipped[after.place]
        fixed = Counter[Place]()
        for demand in units:
            wanted[demand.sku_id] += demand.quantity
            if demand.location_id is not None:
                fixed[demand.sku_id, demand.location_id] += demand.quantity
        assert shipped_by_sku == wanted
        assert fixed <= shipped
        is_complete = not any(line.unshipped_quantity for line in answer.lines)
        state = ReservationState.SHIPPED if is_complete else ReservationState.COMMITTED
        assert answer.state is state

    def committed(self) -> list[str]:
        promises = self.model.promises.items()
        return [name for name, each in promises if each.state is ReservationState.COMMITTED]

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
    many = settings(max_examples=200, stateful_step_count=40, deadline=None)
    run_state_machine_as_test(HistoriesInMemory, settings=many)


def test_any_history_in_postgresql_is_that_of_the_model(make_warehouse: MakeWarehouse) -> None:
    class HistoriesInPostgres(Histories):
        def __init__(self) -> None:
            super().__init__(*make_warehouse())

    run_state_machine_as_test(HistoriesInPostgres, settings=settings(SOME, stateful_step_count=25))
