"""From requests to commands and from answers to responses."""

from collections.abc import Callable
from typing import Any, cast
from uuid import uuid4

import pytest
from google.protobuf.duration_pb2 import Duration

from command_service.errors import InvalidField
from command_service.inventory.servicer import InventoryCommandServicer
from command_service.servicing import Door
from command_service.world import Command
from serving.interceptor import ServicerContext
from shopkeeper.inventory.v1 import inventory_command_service_pb2 as pb
from shopkeeper.inventory.v1.inventory_pb2 import Location, Reservation, ReservationLine, Stock
from shopkeeper.types.v1.row_outcome_pb2 import RowOutcome
from tests.command_service.inventory.warehouses import WarehouseInMemory

CONTEXT = cast("ServicerContext", None)
HOUR = Duration(seconds=3600)


class DoorToMemory:
    """Carries commands out in memory, at once."""

    def __init__(self) -> None:
        self.warehouse = WarehouseInMemory()

    async def carry_out(
        self, request: Any, context: Any, command: Command[Any], respond: Callable[[Any], Any]
    ) -> Any:
        return respond(self.warehouse.carry_out(command))


@pytest.fixture
def door() -> DoorToMemory:
    return DoorToMemory()


@pytest.fixture
def servicer(door: DoorToMemory) -> InventoryCommandServicer:
    return InventoryCommandServicer(cast("Door", door))


def message(request: type[Any], **parts: Any) -> Any:
    return request(request_id=str(uuid4()), **parts)


async def fill(servicer: InventoryCommandServicer, *quantities: int) -> None:
    """Opens location "north" with these units of "mug"."""
    north = Location(location_id="north", title="North", rank=1, active=True)
    await servicer.UpsertLocations(message(pb.UpsertLocationsRequest, locations=[north]), CONTEXT)
    rows = [pb.StockRow(sku_id="mug", location_id="north", quantity=each) for each in quantities]
    await servicer.ReceiveStock(message(pb.ReceiveStockRequest, rows=rows), CONTEXT)


def mugs(**counters: int) -> Stock:
    """The expected stock of "mug" at "north"."""
    stock = Stock(sku_id="mug", available=max(0, counters["available"]))
    stock.levels.add(location_id="north", **counters)
    return stock


async def test_rows_are_answered_one_by_one(servicer: InventoryCommandServicer) -> None:
    north = Location(location_id="north", title="North", active=True)
    request = message(pb.UpsertLocationsRequest, locations=[north])
    response = await servicer.UpsertLocations(request, CONTEXT)
    assert list(response.outcomes) == [RowOutcome(key="north", state=RowOutcome.STATE_CREATED)]
    rows = [pb.StockRow(sku_id="mug", location_id=place, quantity=1) for place in ("north", "south")]
    received = await servicer.ReceiveStock(message(pb.ReceiveStockRequest, rows=rows), CONTEXT)
    returned = await servicer.ReturnStock(message(pb.ReturnStockRequest, rows=rows), CONTEXT)
    assert [row.state for row in received.outcomes] == [
        RowOutcome.STATE_CREATED,
        RowOutcome.STATE_REFUSED,
    ]
    assert returned.outcomes[0].state == RowOutcome.STATE_UPDATED
    assert returned.outcomes[1] == RowOutcome(
        index=1,
        key="mug",
        state=RowOutcome.STATE_REFUSED,
        reason="LOCATION_NOT_FOUND",
        message="There is no active location south.",
    )


async def test_staff_are_told_the_stock_as_it_is_after_them(
    servicer: InventoryCommandServicer,
) -> None:
    await fill(servicer, 5)
    place = {"sku_id": "mug", "location_id": "north"}
    policy = message(pb.SetStockPolicyRequest, safety_stock=1, backorder_limit=2, **place)
    assert (await servicer.SetStockPolicy(policy, CONTEXT)).stock == mugs(
        on_hand=5, safety_stock=1, backorder_limit=2, available=6
    )
    count = message(pb.AdjustStockRequest, counted_quantity=3, expected_on_hand=5, **place)
    assert (await servicer.AdjustStock(count, CONTEXT)).stock == mugs(
        on_hand=3, safety_stock=1, backorder_limit=2, available=4
    )


async def test_a_transfer_tells_both_levels(servicer: InventoryCommandServicer) -> None:
    await fill(servicer, 5)
    south = Location(location_id="south", active=True)
    await servicer.UpsertLocations(message(pb.UpsertLocationsRequest, locations=[south]), CONTEXT)
    request = message(
        pb.TransferStockRequest,
        sku_id="mug",
        from_location_id="north",
        to_location_id="south",
        quantity=2,
    )
    response = await servicer.TransferStock(request, CONTEXT)
    on_hand = {level.location_id: level.on_hand for level in response.stock.levels}
    assert on_hand == {"north": 3, "south": 2}


async def test_a_repair_tells_each_difference(
    servicer: InventoryCommandServicer, door: DoorToMemory
) -> None:
    await fill(servicer, 5)
    door.warehouse.break_counter("mug", "north", 7)
    response = await servicer.RepairStock(message(pb.RepairStockRequest, sku_id="mug"), CONTEXT)
    [counter] = response.repaired
    assert (counter.location_id, counter.counter, counter.was) == ("north", "on_hand", 7)
    assert getattr(counter, "is") == 5
    assert response.stock == mugs(on_hand=5, available=5)


async def test_a_reservation_is_told_in_each_of_its_states(
    servicer: InventoryCommandServicer, door: DoorToMemory
) -> None:
    await fill(servicer, 5)
    lines = [ReservationLine(sku_id="mug", quantity=1), ReservationLine(sku_id="mug", quantity=1)]
    for name in ("shipped", "released", "expired"):
        request = message(
            pb.ReserveStockRequest,
            reservation_id=name,
            reference=f"to be {name}",
            lines=lines[: 1 + (name == "shipped")],
            hold_duration=HOUR,
        )
        held = (await servicer.ReserveStock(request, CONTEXT)).reservation
        assert held.state == Reservation.STATE_HELD
        assert held.reference == f"to be {name}"
    extend = message(pb.ExtendReservationRequest, reservation_id="shipped", hold_duration=HOUR)
    extended = (await servicer.ExtendReservation(extend, CONTEXT)).reservation
    commit = message(pb.CommitReservationRequest, reservation_id="shipped")
    committed = (await servicer.CommitReservation(commit, CONTEXT)).reservation
    part = ReservationLine(sku_id="mug", quantity=1, location_id="north")
    ship_part = message(pb.ShipReservationRequest, reservation_id="shipped", lines=[part])
    shipped_in_part = (await servicer.ShipReservation(ship_part, CONTEXT)).reservation
    ship = message(pb.ShipReservationRequest, reservation_id="shipped")
    shipped = (await servicer.ShipReservation(ship, CONTEXT)).reservation
    release = message(pb.ReleaseReservationRequest, reservation_id="released")
    released = (await servicer.ReleaseReservation(release, CONTEXT)).reservation
    door.warehouse.let_time_run_out("expired")
    expire = message(pb.ExpireReservationRequest, reservation_id="expired")
    expired = (await servicer.ExpireReservation(expire, CONTEXT)).reservation
    told = (extended, committed, shipped_in_part, shipped, released, expired)
    assert [each.state for each in told] == [
        Reservation.STATE_HELD,
        Reservation.STATE_COMMITTED,
        Reservation.STATE_COMMITTED,
        Reservation.STATE_SHIPPED,
        Reservation.STATE_RELEASED,
        Reservation.STATE_EXPIRED,
    ]
    assert [line.shipped_quantity for line in shipped_in_part.lines] == [1]
    assert list(shipped.lines) == [
        ReservationLine(sku_id="mug", quantity=2, location_id="north", shipped_quantity=2)
    ]


async def test_a_location_may_appear_once_in_a_request(servicer: InventoryCommandServicer) -> None:
    north = Location(location_id="north", active=True)
    with pytest.raises(InvalidField) as refused:
        await servicer.UpsertLocations(
            message(pb.UpsertLocationsRequest, locations=[north, north]), CONTEXT
        )
    assert refused.value.message == "locations[1].location_id: appears twice in the request"


async def test_a_transfer_goes_somewhere_else(servicer: InventoryCommandServicer) -> None:
    request = message(
        pb.TransferStockRequest,
        sku_id="mug",
        from_location_id="north",
        to_location_id="north",
        quantity=1,
    )
    with pytest.raises(InvalidField) as refused:
        await servicer.TransferStock(request, CONTEXT)
    assert refused.value.message == "to_location_id: must differ from from_location_id"
