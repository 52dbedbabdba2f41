"""What the database itself refuses, and how cheaply it is asked."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import astuple, replace
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest

from command_service.errors import OutOfStock
from command_service.inventory.domain import (
    COUNTERS,
    Demand,
    HeldLine,
    Level,
    Location,
    Reservation,
    ReservationState,
    Stock,
)
from command_service.inventory.repository import (
    MOVE_STOCK_LEVELS,
    LocationRepository,
    ReservationRepository,
    StockRepository,
)
from command_service.inventory.reservation_commands import ReserveStock
from command_service.session import Session
from command_service.unit_of_work import Changed
from tests.command_service.conftest import CarryOut
from tests.command_service.inventory.warehouse import (
    HOUR,
    NORTH,
    SOUTH,
    assert_ledger_adds_up,
    held,
    level,
    open_warehouse,
)

# --- the last line of defence ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "set_counters",
    [
        "reserved = 6",
        "allocated = 6",
        "reserved = 3, allocated = 3",
        "on_hand = 0, reserved = 1",
        "backorder_limit = 2147483647, reserved = 2147483647, allocated = 2147483647",
    ],
)
async def test_the_database_refuses_to_oversell(carry_out: CarryOut, set_counters: str) -> None:
    await open_warehouse(carry_out, {("mug", NORTH): 5})
    with pytest.raises(psycopg.errors.CheckViolation, match="stock_never_oversold"):
        await carry_out.fetch(f"UPDATE stock_levels SET {set_counters}")
    assert await level(carry_out, "mug") == Level(NORTH, 0, on_hand=5)


@pytest.mark.parametrize("counter", COUNTERS)
async def test_the_database_refuses_negative_counters(carry_out: CarryOut, counter: str) -> None:
    await open_warehouse(carry_out, {("mug", NORTH): 5})
    with pytest.raises(psycopg.errors.CheckViolation, match=f"ck_stock_levels_{counter}"):
        await carry_out.fetch(f"UPDATE stock_levels SET {counter} = -1")


@pytest.mark.parametrize(
    "change", ["UPDATE stock_movements SET on_hand = 1", "DELETE FROM stock_movements"]
)
async def test_the_ledger_is_append_only(carry_out: CarryOut, change: str) -> None:
    await open_warehouse(carry_out, {("mug", NORTH): 5})
    with pytest.raises(psycopg.errors.RaiseException, match="append only"):
        await carry_out.fetch(change.format("stock_movements"))


async def test_a_line_cannot_ship_more_than_it_has(carry_out: CarryOut) -> None:
    await open_warehouse(carry_out, {("mug", NORTH): 5})
    await held(carry_out, "r", Demand("mug", 2))
    with pytest.raises(psycopg.errors.CheckViolation, match="shipped_quantity"):
        await carry_out.fetch("UPDATE reservation_lines SET shipped_quantity = 3")
    with pytest.raises(psycopg.errors.CheckViolation, match="returned_quantity"):
        await carry_out.fetch("UPDATE reservation_lines SET returned_quantity = 1")


# --- races ----------------------------------------------------------------------------------------


async def test_buyers_on_many_connections_get_each_unit_once(carry_out: CarryOut) -> None:
    await open_warehouse(carry_out, {("mug", NORTH): 2, ("mug", SOUTH): 1})
    sessions = [Session(carry_out.database_url, f"racer {n}") for n in range(8)]
    await asyncio.gather(*(session.connect() for session in sessions))
    racers = [CarryOut(carry_out.database_url, session) for session in sessions]
    answers = await asyncio.gather(
        *(
            racer.together([ReserveStock(f"r{n}", "race", (Demand("mug", 1),), HOUR)])
            for n, racer in enumerate(racers)
        )
    )
    await asyncio.gather(*(session.close() for session in sessions))
    kinds = sorted(type(answer).__name__ for [answer] in answers)
    assert kinds == ["OutOfStock"] * 5 + ["Reservation"] * 3
    await assert_ledger_adds_up(carry_out)


@pytest.mark.breaks_invariants("inv_stock_ledger", "inv_stock_reserved")
async def test_what_is_read_under_the_lock_is_as_new_as_the_lock(
    carry_out: CarryOut, wait_for_lock: Callable[[Coroutine[Any, Any, Any]], Any]
) -> None:
    await open_warehouse(carry_out, {("mug", NORTH): 1})
    async with await psycopg.AsyncConnection.connect(carry_out.database_url) as other:
        await other.execute("SELECT FROM stock_items WHERE sku_id = 'mug' FOR NO KEY UPDATE")
        await other.execute("UPDATE stock_levels SET reserved = 1")
        late = await wait_for_lock(held(carry_out, "r", Demand("mug", 1)))
        await other.commit()
        with pytest.raises(OutOfStock):
            await late


@pytest.mark.breaks_invariants("inv_stock_ledger")
async def test_a_sku_first_seen_by_two_processes_at_once_is_opened_once(
    carry_out: CarryOut, wait_for_lock: Callable[[Coroutine[Any, Any, Any]], Any]
) -> None:
    await open_warehouse(carry_out, {})
    async with await psycopg.AsyncConnection.connect(carry_out.database_url) as other:
        await other.execute("INSERT INTO stock_items VALUES ('mug')")
        await other.execute("INSERT INTO stock_levels VALUES ('mug', 'north', 1, 0, 0, 0, 0, 0)")
        late = await wait_for_lock(open_warehouse(carry_out, {("mug", NORTH): 2}))
        await other.commit()
        await late
    assert (await level(carry_out, "mug")).on_hand == 3


# --- what is written ------------------------------------------------------------------------------


@pytest.mark.breaks_invariants("inv_stock_ledger", "inv_stock_reserved")
async def test_moving_stock_leaves_the_indexes_alone(carry_out: CarryOut) -> None:
    await open_warehouse(carry_out, {("mug", NORTH): 5, ("cup", NORTH): 5})
    arrays = (["cup", "mug"], [NORTH, NORTH], [-1, -1], [1, 1], [0, 0], [0, 0], [0, 0], [0, 0])
    async with await psycopg.AsyncConnection.connect(carry_out.database_url) as connection:
        await connection.execute(MOVE_STOCK_LEVELS, arrays)
        cursor = await connection.execute(
            "SELECT pg_stat_get_xact_tuples_updated(oid), pg_stat_get_xact_tuples_hot_updated(oid)"
            " FROM pg_class WHERE relname = 'stock_levels'"
        )
        assert await cursor.fetchone() == (2, 2)


def test_only_levels_that_changed_are_written() -> None:
    north, south = Level(NORTH, 1, on_hand=5), Level(SOUTH, 2, on_hand=5)
    before = Stock("mug", (north, south))
    after = before.with_level(Level(SOUTH, 2, on_hand=5, reserved=1))
    [statement] = StockRepository().save([Changed("mug", before, after)])
    assert list(statement.parameters) == [["mug"], [SOUTH], [0], [1], [0], [0], [0], [0]]


def test_a_new_level_is_one_statement_and_a_changed_one_another() -> None:
    before = Stock("mug", (Level(NORTH, 1, on_hand=5),))
    after = Stock("mug", (Level(NORTH, 1, on_hand=3), Level(SOUTH, 2, on_hand=2)))
    assert len(StockRepository().save([Changed("mug", before, after)])) == 2


async def test_new_reservations_and_their_lines_are_one_statement(carry_out: CarryOut) -> None:
    expire_time = datetime(2030, 1, 1, tzinfo=UTC)
    lines = (HeldLine("mug", NORTH, 1), HeldLine("mug", SOUTH, 2))
    one = Reservation(
        reservation_id="r1",
        is_of_order=True,
        reference="",
        state=ReservationState.HELD,
        lines=lines,
        expire_time=expire_time,
    )
    two = replace(one, reservation_id="r2")
    repository = ReservationRepository()
    [statement] = repository.save([Changed("r1", None, one), Changed("r2", None, two)])
    await carry_out.session.run([statement])
    assert await carry_out.fetch(
        "SELECT r.is_of_order, r.version, l.* FROM reservations r JOIN reservation_lines l"
        " USING (reservation_id) ORDER BY reservation_id, location_id"
    ) == [
        (True, 1, name, "mug", place, quantity, 0, 0)
        for name in ("r1", "r2")
        for place, quantity in ((NORTH, 1), (SOUTH, 2))
    ]


def many_held(count: int) -> Reservation:
    """A reservation of many SKUs, all of which were shipped."""
    lines = tuple(HeldLine(f"sku{number:04}", NORTH, 2, 2) for number in range(count))
    expire_time = datetime(2030, 1, 1, tzinfo=UTC)
    return Reservation("r", True, "", ReservationState.SHIPPED, lines, expire_time)


def test_only_lines_that_changed_or_came_are_written() -> None:
    before = many_held(3)
    came = HeldLine("sku0001", SOUTH, 4)
    back = replace(before.lines[2], returned_quantity=1)
    after = replace(before, lines=(*before.lines[:2], came, back))
    [_, statement] = ReservationRepository().save([Changed("r", before, after)])
    assert list(statement.parameters) == [
        ["r", "r"],
        ["sku0001", "sku0002"],
        [SOUTH, NORTH],
        [4, 2],
        [0, 2],
        [0, 1],
    ]


def test_what_is_written_of_a_reservation_is_found_by_comparing_each_line_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = many_held(300)
    lines = tuple(replace(line, returned_quantity=1) for line in before.lines)
    compared: list[object] = []

    def compare(line: HeldLine, other: object) -> bool:
        compared.append(line)
        return isinstance(other, HeldLine) and astuple(line) == astuple(other)

    monkeypatch.setattr(HeldLine, "__eq__", compare)
    [_, statement] = ReservationRepository().save([Changed("r", before, replace(before, lines=lines))])
    assert [len(column) for column in statement.parameters] == [300] * 6
    assert len(compared) == 300


def test_a_location_that_was_only_filled_is_not_written() -> None:
    before = Location(NORTH, "North", 1, active=True)
    assert LocationRepository().save([Changed(NORTH, before, before.occupied())]) == []
