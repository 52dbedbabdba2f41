"""What staff do to locations and stock, against PostgreSQL."""

from typing import Any

import psycopg
import pytest

from command_service.errors import (
    BackorderLimitInUse,
    LocationNotFound,
    OutOfStock,
    SkuNeverStocked,
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
    COUNTER_MAX,
    Demand,
    HeldLine,
    Level,
    Location,
    Stock,
)
from command_service.inventory.movements import StockRow
from command_service.inventory.reservation_commands import ReserveStock, ShipReservation
from command_service.inventory.stocktaking import RepairedCounter
from command_service.row_outcome import RowOutcome, RowState
from command_service.world import Command
from tests.command_service.conftest import CarryOut
from tests.command_service.inventory.warehouse import (
    HOUR,
    NORTH,
    SOUTH,
    assert_ledger_adds_up,
    assert_refused,
    committed,
    counted,
    held,
    level,
    open_warehouse,
    policy,
    stored,
)

OPEN = Location(NORTH, "North", 1, active=True)
CLOSED = Location(NORTH, "North", 1, active=False)
CLOSE_NORTH = UpsertLocations((CLOSED,))


async def states(carry_out: CarryOut, command: Command[tuple[RowOutcome, ...]]) -> list[str]:
    """What became of each row: its state, or the reason of its refusal."""
    return [row.reason or row.state.name for row in await carry_out(command)]


# --- locations ------------------------------------------------------------------------------------


async def test_locations_are_created_updated_or_left_as_they_are(carry_out: CarryOut) -> None:
    south = Location(SOUTH, "South", -2, active=True)
    assert await states(carry_out, UpsertLocations((OPEN, south))) == ["CREATED", "CREATED"]
    moved = Location(SOUTH, "Deep south", 3, active=True)
    assert await states(carry_out, UpsertLocations((OPEN, moved))) == ["UNCHANGED", "UPDATED"]
    assert await carry_out.fetch("SELECT * FROM locations ORDER BY 1") == [
        (NORTH, 1, "North", 1, True),
        (SOUTH, 2, "Deep south", 3, True),
    ]
    assert await carry_out.fetch("SELECT key FROM events ORDER BY position") == [
        (NORTH,),
        (SOUTH,),
        (SOUTH,),
    ]


async def test_a_location_with_stock_is_not_closed(carry_out: CarryOut) -> None:
    await open_warehouse(carry_out, {("mug", NORTH): 1})
    before = await stored(carry_out)
    [outcome] = await carry_out(CLOSE_NORTH)
    assert outcome == RowOutcome(
        0,
        NORTH,
        RowState.REFUSED,
        "LOCATION_NOT_EMPTY",
        "Location north still has stock: move it before closing the location.",
    )
    assert await stored(carry_out) == before


@pytest.mark.parametrize("counter", ["safety_stock", "backorder_limit"])
async def test_a_location_with_a_policy_is_not_closed(carry_out: CarryOut, counter: str) -> None:
    await open_warehouse(carry_out, {})
    await policy(carry_out, "mug", **{counter: 1})
    assert await states(carry_out, CLOSE_NORTH) == ["LOCATION_NOT_EMPTY"]


async def test_an_emptied_location_is_closed_and_takes_nothing_more(carry_out: CarryOut) -> None:
    await open_warehouse(carry_out, {("mug", NORTH): 3})
    await carry_out(TransferStock("mug", NORTH, SOUTH, 3, "moving"))
    assert await states(carry_out, CLOSE_NORTH) == ["UPDATED"]
    row = (StockRow("mug", NORTH, 1),)
    assert await states(carry_out, ReceiveStock(row, "")) == ["LOCATION_NOT_FOUND"]
    assert await states(carry_out, ReturnStock(row, "")) == ["LOCATION_NOT_FOUND"]
    for command in (
        AdjustStock("mug", NORTH, 1, 0, ""),
        TransferStock("mug", SOUTH, NORTH, 1, ""),
        SetStockPolicy("mug", NORTH, 1, 1),
    ):
        await assert_refused(carry_out, command, LocationNotFound, location_id=NORTH)


@pytest.mark.parametrize(
    "filling",
    [
        ReceiveStock((StockRow("mug", NORTH, 1),), ""),
        ReturnStock((StockRow("mug", NORTH, 1),), ""),
        AdjustStock("mug", NORTH, 1, 0, ""),
        SetStockPolicy("mug", NORTH, 0, 1),
        TransferStock("mug", SOUTH, NORTH, 1, ""),
    ],
    ids=lambda command: type(command).__name__,
)
async def test_a_location_that_is_filled_in_the_same_batch_is_not_closed(
    carry_out: CarryOut, filling: Command[Any]
) -> None:
    await open_warehouse(carry_out, {("mug", SOUTH): 1})
    _, [outcome] = await carry_out.together([filling, CLOSE_NORTH])
    assert outcome.reason == "LOCATION_NOT_EMPTY"


@pytest.mark.breaks_invariants("inv_stock_ledger")
async def test_a_location_that_another_process_is_filling_is_not_closed(
    carry_out: CarryOut, wait_for_lock: Any
) -> None:
    await open_warehouse(carry_out, {("mug", NORTH): 1})
    await counted(carry_out, "mug", 0, expected=1)
    async with await psycopg.AsyncConnection.connect(carry_out.database_url) as other:
        await other.execute("SELECT FROM locations WHERE location_id = 'north' FOR SHARE")
        await other.execute("UPDATE stock_levels SET on_hand = 1")
        closing = await wait_for_lock(carry_out(CLOSE_NORTH))
        await other.commit()
        [outcome] = await closing
    assert outcome.reason == "LOCATION_NOT_EMPTY"


async def test_a_location_is_closed_in_a_rehearsal_only_if_it_could_be(carry_out: CarryOut) -> None:
    await open_warehouse(carry_out, {("mug", NORTH): 1})
    [refused] = await carry_out.rehearse(CLOSE_NORTH)
    [allowed] = await carry_out.rehearse(UpsertLocations((Location(SOUTH, "South", 2, active=False),)))
    assert (refused.reason, allowed.state) == ("LOCATION_NOT_EMPTY", RowState.UPDATED)


# --- the shelf ------------------------------------------------------------------------------------


async def test_goods_are_received_row_by_row(carry_out: CarryOut) -> None:
    await open_warehouse(carry_out, {("mug", NORTH): 2})
    rows = (
        StockRow("mug", NORTH, 1),
        StockRow("cup", "nowhere", 1),
        StockRow("cup", SOUTH, 4),
        StockRow("cup", SOUTH, 5),
        StockRow("mug", NORTH, COUNTER_MAX),
    )
    assert await states(carry_out, ReceiveStock(rows, "note 7")) == [
        "UPDATED",
        "LOCATION_NOT_FOUND",
        "CREATED",
        "UPDATED",
        "QUANTITY_TOO_LARGE",
    ]
    assert (await level(carry_out, "mug")).on_hand == 3
    assert (await level(carry_out, "cup", SOUTH)).on_hand == 9
    assert await carry_out.fetch(
        "SELECT sku_id, kind, on_hand, cause, actor FROM stock_movements WHERE cause = 'note 7'"
        " ORDER BY position"
    ) == [
        ("mug", 1, 1, "note 7", "tester"),
        ("cup", 1, 4, "note 7", "tester"),
        ("cup", 1, 5, "note 7", "tester"),
    ]
    await assert_ledger_adds_up(carry_out)


async def test_goods_that_came_back_are_on_the_shelf_again(carry_out: CarryOut) -> None:
    await open_warehouse(carry_out, {("mug", NORTH): 2})
    row = StockRow("mug", NORTH, 1)
    assert await states(carry_out, ReturnStock((row,), "order 7")) == ["UPDATED"]
    assert (await level(carry_out, "mug")).on_hand == 3
    [(kind,)] = await carry_out.fetch("SELECT kind FROM stock_movements WHERE cause = 'order 7'")
    assert kind == 11


async def test_each_movement_has_the_position_of_its_event(carry_out: CarryOut) -> None:
    await open_warehouse(carry_out, {("mug", NORTH): 2, ("cup", NORTH): 2})
    await carry_out.together(
        [
            ReserveStock("r1", "x", (Demand("cup", 1), Demand("mug", 1)), HOUR),
            ReserveStock("r2", "x", (Demand("jug", 1),), HOUR),
            ReserveStock("r3", "x", (Demand("mug", 1),), HOUR),
        ]
    )
    movements = await carry_out.fetch(
        "SELECT position, sku_id, recorded_time FROM stock_movements ORDER BY position"
    )
    moved = await carry_out.fetch(
        "SELECT position, key, recorded_time FROM events"
        " WHERE type = 'shopkeeper.inventory.v1.StockMoved' ORDER BY position"
    )
    assert len(movements) == 5
    assert movements == moved


async def test_a_count_between_payment_and_shipping_does_not_make_stock_sell_twice(
    carry_out: CarryOut,
) -> None:
    await open_warehouse(carry_out, {("mug", NORTH): 2})
    await committed(carry_out, "r", Demand("mug", 2))
    # The two paid units are still on the shelf, and the count finds them.
    await counted(carry_out, "mug", 2, expected=2)
    command = ReserveStock("greedy", "x", (Demand("mug", 1),), HOUR)
    await assert_refused(carry_out, command, OutOfStock, shortages="mug: 1 wanted, 0 available")
    await carry_out(ShipReservation("r"))
    await counted(carry_out, "mug", 0, expected=0)
    assert await level(carry_out, "mug") == Level(NORTH, 0)


async def test_a_count_below_what_is_promised_is_recorded_as_a_shortage(carry_out: CarryOut) -> None:
    await open_warehouse(carry_out, {("mug", NORTH): 5})
    await committed(carry_out, "paid", Demand("mug", 3))
    await held(carry_out, "held", Demand("mug", 2))
    stock = await carry_out(AdjustStock("mug", NORTH, 1, 5, "count"))
    assert stock == Stock("mug", (Level(NORTH, 1, on_hand=1, reserved=2, allocated=3, shortage=4),))
    await carry_out(ReceiveStock((StockRow("mug", NORTH, 3),), ""))
    assert (await level(carry_out, "mug")).shortage == 1
    await carry_out(ShipReservation("paid"))
    assert await level(carry_out, "mug") == Level(NORTH, 0, on_hand=1, reserved=2, shortage=1)
    await assert_ledger_adds_up(carry_out)


async def test_a_count_that_started_from_another_number_is_refused(carry_out: CarryOut) -> None:
    await open_warehouse(carry_out, {("mug", NORTH): 5})
    command = AdjustStock("mug", NORTH, 4, 6, "count")
    await assert_refused(carry_out, command, StockChanged, on_hand="5", expected_on_hand="6")
    command = AdjustStock("mug", SOUTH, 4, 6, "count")
    await assert_refused(carry_out, command, StockChanged, on_hand="0", expected_on_hand="6")


async def test_of_two_counts_at_once_the_second_has_to_count_again(carry_out: CarryOut) -> None:
    await open_warehouse(carry_out, {("mug", NORTH): 5})
    counts = [AdjustStock("mug", NORTH, found, 5, "count") for found in (4, 3)]
    first, second = await carry_out.together(counts)
    assert first.levels[0].on_hand == 4
    assert isinstance(second, StockChanged)


async def test_units_are_transferred_with_both_shelves_in_the_ledger(carry_out: CarryOut) -> None:
    await open_warehouse(carry_out, {("mug", NORTH): 5})
    stock = await carry_out(TransferStock("mug", NORTH, SOUTH, 2, "moving"))
    assert stock == Stock("mug", (Level(NORTH, 1, on_hand=3), Level(SOUTH, 2, on_hand=2)))
    await assert_ledger_adds_up(carry_out)


async def test_only_spare_units_are_transferred(carry_out: CarryOut) -> None:
    await open_warehouse(carry_out, {("mug", NORTH): 5})
    await policy(carry_out, "mug", safety_stock=1, backorder_limit=9)
    await held(carry_out, "r", Demand("mug", 2))
    command = TransferStock("mug", NORTH, SOUTH, 3, "")
    await assert_refused(carry_out, command, OutOfStock, shortages="mug: 3 wanted at north, 2 to spare")
    await assert_refused(carry_out, TransferStock("mug", SOUTH, NORTH, 1, ""), StockNotFound)


async def test_a_backorder_limit_in_use_is_not_lowered(carry_out: CarryOut) -> None:
    await open_warehouse(carry_out, {("mug", NORTH): 1})
    await policy(carry_out, "mug", backorder_limit=3)
    await held(carry_out, "r", Demand("mug", 3))
    await assert_refused(carry_out, SetStockPolicy("mug", NORTH, 0, 1), BackorderLimitInUse, needed="2")
    await policy(carry_out, "mug", safety_stock=7, backorder_limit=2)
    assert (await level(carry_out, "mug")).available == -7


# --- repair ---------------------------------------------------------------------------------------


async def test_a_broken_counter_is_made_equal_to_its_ledger(carry_out: CarryOut) -> None:
    await open_warehouse(carry_out, {("mug", NORTH): 5, ("mug", SOUTH): 1})
    await carry_out.fetch("UPDATE stock_levels SET on_hand = 9 WHERE location_id = 'north'")
    rehearsed = await carry_out.rehearse(RepairStock("mug"))
    repair = await carry_out(RepairStock("mug"))
    assert repair == rehearsed
    assert repair.repaired == (RepairedCounter(NORTH, "on_hand", 9, 5),)
    assert repair.stock == Stock("mug", (Level(NORTH, 1, on_hand=5), Level(SOUTH, 2, on_hand=1)))
    assert await level(carry_out, "mug") == Level(NORTH, 0, on_hand=5)
    [(last_type,)] = await carry_out.fetch("SELECT type FROM events ORDER BY position DESC LIMIT 1")
    assert last_type == "shopkeeper.inventory.v1.StockRepaired"
    await assert_ledger_adds_up(carry_out)


async def test_a_repair_of_what_is_right_changes_nothing(carry_out: CarryOut) -> None:
    await open_warehouse(carry_out, {("mug", NORTH): 5})
    before = await stored(carry_out)
    assert (await carry_out(RepairStock("mug"))).repaired == ()
    assert await stored(carry_out) == before


async def test_there_is_nothing_to_repair_where_there_never_was_stock(carry_out: CarryOut) -> None:
    await assert_refused(carry_out, RepairStock("mug"), SkuNeverStocked, sku_id="mug")


async def test_a_lost_level_is_found_again_in_the_ledger(carry_out: CarryOut) -> None:
    await open_warehouse(carry_out, {("mug", SOUTH): 5})
    await carry_out.fetch("DELETE FROM stock_levels")
    await carry_out.fetch("DELETE FROM stock_items")
    repair = await carry_out(RepairStock("mug"))
    assert repair.stock == Stock("mug", (Level(SOUTH, 2, on_hand=5),))
    await assert_ledger_adds_up(carry_out)


@pytest.mark.breaks_invariants("inv_stock_ever_oversold")
async def test_promises_made_on_a_wrong_counter_are_a_shortage_after_the_repair(
    carry_out: CarryOut,
) -> None:
    await open_warehouse(carry_out, {("mug", NORTH): 5})
    await carry_out.fetch("UPDATE stock_levels SET on_hand = 10")
    await held(carry_out, "r", Demand("mug", 8))
    await carry_out(RepairStock("mug"))
    assert await level(carry_out, "mug") == Level(NORTH, 0, on_hand=5, reserved=8, shortage=3)
    await assert_ledger_adds_up(carry_out)


@pytest.mark.breaks_invariants("inv_stock_ever_oversold")
async def test_units_shipped_on_a_wrong_counter_are_booked_by_the_repair(carry_out: CarryOut) -> None:
    await open_warehouse(carry_out, {("mug", NORTH): 5})
    await carry_out.fetch("UPDATE stock_levels SET on_hand = 10")
    await committed(carry_out, "r", Demand("mug", 8))
    await carry_out(ShipReservation("r"))
    await carry_out(RepairStock("mug"))
    assert await level(carry_out, "mug") == Level(NORTH, 0)
    await assert_ledger_adds_up(carry_out)


async def test_a_repair_reckons_with_the_rest_of_its_batch(carry_out: CarryOut) -> None:
    await open_warehouse(carry_out, {("mug", NORTH): 5})
    await carry_out.fetch("UPDATE stock_levels SET on_hand = 4")
    receive = ReceiveStock((StockRow("mug", NORTH, 10),), "")
    answers = await carry_out.together([receive, RepairStock("mug"), RepairStock("mug"), receive])
    assert [repair.repaired for repair in answers[1:3]] == [
        (RepairedCounter(NORTH, "on_hand", 14, 15),),
        (),
    ]
    assert (await level(carry_out, "mug")).on_hand == 25
    await assert_ledger_adds_up(carry_out)


async def test_units_that_a_repair_finds_in_a_closed_location_are_not_sold(carry_out: CarryOut) -> None:
    await open_warehouse(carry_out, {("mug", NORTH): 3, ("mug", SOUTH): 1})
    await carry_out.fetch("UPDATE stock_levels SET on_hand = 0 WHERE location_id = 'north'")
    await carry_out(UpsertLocations((Location(NORTH, "North", 1, active=False),)))
    repair = await carry_out(RepairStock("mug"))
    assert repair.repaired == (RepairedCounter(NORTH, "on_hand", 0, 3),)
    await assert_refused(
        carry_out,
        ReserveStock("r", "x", (Demand("mug", 2),), HOUR),
        OutOfStock,
        shortages="mug: 2 wanted, 1 available",
    )
    assert (await held(carry_out, "r", Demand("mug", 1))).lines == (HeldLine("mug", SOUTH, 1),)
    await carry_out(TransferStock("mug", NORTH, SOUTH, 3, "found again"))
    assert await level(carry_out, "mug", SOUTH) == Level(SOUTH, 0, on_hand=4, reserved=1)
    await assert_ledger_adds_up(carry_out)


async def test_a_lost_level_that_is_found_in_a_closed_location_is_not_sold(carry_out: CarryOut) -> None:
    await open_warehouse(carry_out, {("mug", NORTH): 3})
    await carry_out.fetch("DELETE FROM stock_levels")
    await carry_out(UpsertLocations((Location(NORTH, "North", 1, active=False),)))
    reserve = ReserveStock("r", "x", (Demand("mug", 1),), HOUR)
    repair, refusal = await carry_out.together([RepairStock("mug"), reserve])
    assert repair.stock == Stock("mug", (Level(NORTH, 1, on_hand=3, active=False),))
    assert isinstance(refusal, OutOfStock)
    assert refusal.violations == [("mug", "1 wanted, 0 available")]
    assert await level(carry_out, "mug") == Level(NORTH, 0, on_hand=3)
    await assert_ledger_adds_up(carry_out)
