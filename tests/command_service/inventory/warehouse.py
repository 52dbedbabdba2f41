"""A small warehouse for the tests of inventory, and what must hold in it at all times."""

from datetime import timedelta
from typing import Any

import pytest

from command_service.errors import Refusal
from command_service.inventory.commands import (
    AdjustStock,
    ReceiveStock,
    SetStockPolicy,
    UpsertLocations,
)
from command_service.inventory.domain import COUNTERS, Demand, Level, Location, Reservation
from command_service.inventory.movements import StockRow
from command_service.inventory.reservation_commands import CommitReservation, ReserveStock
from command_service.world import Command
from tests.command_service.conftest import CarryOut

NORTH, SOUTH = "north", "south"
HOUR = timedelta(hours=1)

ALL_STORED = (
    "SELECT * FROM locations ORDER BY 1",
    "SELECT * FROM stock_levels ORDER BY 1, 2",
    "SELECT * FROM stock_movements ORDER BY 1",
    "SELECT * FROM reservations WHERE version > 0 ORDER BY 1",
    "SELECT * FROM reservation_lines ORDER BY 1, 2, 3",
    "SELECT * FROM events ORDER BY 1",
)
"""Everything that a command can change, but for key rows, which mean nothing."""

COUNTERS_AND_SUMS = f"""
SELECT sku_id, location_id, {", ".join(COUNTERS)},
    (SELECT ARRAY[{", ".join(f"sum(m.{name})" for name in COUNTERS)}]::bigint[] FROM stock_movements m
     WHERE m.sku_id = stock_levels.sku_id AND m.location_id = stock_levels.location_id)
FROM stock_levels ORDER BY 1, 2
"""


async def open_warehouse(carry_out: CarryOut, on_hand: dict[tuple[str, str], int]) -> None:
    """Opens NORTH (rank 1) and SOUTH (rank 2), and receives units by (sku, location)."""
    north = Location(NORTH, "North", 1, active=True)
    south = Location(SOUTH, "South", 2, active=True)
    await carry_out(UpsertLocations((north, south)))
    rows = tuple(StockRow(sku, place, quantity) for (sku, place), quantity in on_hand.items())
    if rows:
        await carry_out(ReceiveStock(rows, "delivery"))


async def stored(carry_out: CarryOut) -> list[object]:
    """All rows of inventory, to compare."""
    return [await carry_out.fetch(sql) for sql in ALL_STORED]


async def level(carry_out: CarryOut, sku_id: str, location_id: str = NORTH) -> Level:
    """The counters as they are stored."""
    sql = f"SELECT {', '.join(COUNTERS)} FROM stock_levels WHERE sku_id = %s AND location_id = %s"
    [row] = await carry_out.fetch(sql, sku_id, location_id)
    return Level(location_id, 0, *row)


async def held(carry_out: CarryOut, reservation_id: str, *demands: Demand) -> Reservation:
    """A reservation for an hour."""
    return await carry_out(ReserveStock(reservation_id, "outside", demands, HOUR))


async def committed(carry_out: CarryOut, reservation_id: str, *demands: Demand) -> Reservation:
    """A reservation that was paid."""
    await held(carry_out, reservation_id, *demands)
    return await carry_out(CommitReservation(reservation_id))


async def counted(carry_out: CarryOut, sku_id: str, found: int, *, expected: int) -> None:
    """Records a count at NORTH."""
    await carry_out(AdjustStock(sku_id, NORTH, found, expected, "count"))


async def policy(
    carry_out: CarryOut, sku_id: str, *, safety_stock: int = 0, backorder_limit: int = 0
) -> None:
    """Sets the policy at NORTH."""
    await carry_out(SetStockPolicy(sku_id, NORTH, safety_stock, backorder_limit))


async def assert_refused(
    carry_out: CarryOut, command: Command[Any], refusal: type[Refusal], **facts: str
) -> None:
    """It is refused with these facts, and nothing changes."""
    before = await stored(carry_out)
    with pytest.raises(refusal) as refused:
        await carry_out(command)
    assert facts.items() <= refused.value.facts.items()
    assert await stored(carry_out) == before


async def assert_ledger_adds_up(carry_out: CarryOut) -> None:
    """Every counter is the sum of its movements."""
    for sku_id, location_id, *counters, sums in await carry_out.fetch(COUNTERS_AND_SUMS):
        assert counters == sums, (sku_id, location_id)


async def time_runs_out(carry_out: CarryOut, reservation_id: str) -> None:
    """Makes a reservation's time have come."""
    await carry_out.fetch(
        "UPDATE reservations SET expire_time = clock_timestamp() WHERE reservation_id = %s",
        reservation_id,
    )
