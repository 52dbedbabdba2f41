"""Two processes at the same locations: who closes one, and who puts stock there."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest_asyncio

from command_service.inventory.commands import ReceiveStock, UpsertLocations
from command_service.inventory.domain import Location
from command_service.inventory.movements import StockRow
from command_service.session import Session
from tests.command_service.conftest import CarryOut
from tests.eventually import eventually

ROUNDS = 40


@pytest_asyncio.fixture
async def two(carry_out: CarryOut, database_url: str) -> AsyncIterator[tuple[CarryOut, CarryOut]]:
    """Two processes of one warehouse with the locations east and west."""
    await carry_out(UpsertLocations((location("east"), location("west"))))
    session = Session(database_url, "the other")
    await session.connect()
    yield carry_out, CarryOut(database_url, session)
    await session.close()


def location(location_id: str, title: str = "", *, active: bool = True) -> Location:
    return Location(location_id, title, 0, active)


def receive(sku_id: str, location_id: str) -> ReceiveStock:
    return ReceiveStock((StockRow(sku_id, location_id, 1),), "delivery")


async def has_waiters(process: CarryOut, count_min: int) -> bool:
    [(count,)] = await process.fetch(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    return int(count) >= count_min


async def test_renaming_one_location_and_filling_another_from_both_sides_does_not_deadlock(
    two: tuple[CarryOut, CarryOut],
) -> None:
    """In one batch some locations are locked for change and others shared: still in one order."""
    here, there = two
    mirrored = [
        (there, [UpsertLocations((location("west", "West"),)), receive("cup", "east")]),
        (here, [UpsertLocations((location("east", "East"),)), receive("mug", "west")]),
    ]
    batches: list[asyncio.Task[list[Any]]] = []
    async with await psycopg.AsyncConnection.connect(here.database_url) as holder:
        await holder.execute("SELECT FROM locations WHERE location_id = 'west' FOR UPDATE")
        for process, commands in mirrored:
            batches.append(asyncio.create_task(process.together(commands)))
            await eventually(lambda: has_waiters(here, len(batches)))
    await asyncio.gather(*batches)
    stored = await here.fetch(
        "SELECT location_id, title, on_hand FROM locations JOIN stock_levels USING (location_id)"
        " ORDER BY location_id"
    )
    assert stored == [("east", "East", 1), ("west", "West", 1)]


async def test_a_location_is_closed_or_filled_but_never_both(two: tuple[CarryOut, CarryOut]) -> None:
    here, there = two
    names = [f"place {n}" for n in range(ROUNDS)]
    await here(UpsertLocations(tuple(map(location, names))))

    async def close() -> None:
        for name in names:
            await here(UpsertLocations((location(name, active=False),)))

    async def fill() -> None:
        for name in names:
            await there(receive("cup", name))

    await asyncio.gather(close(), fill())
    closed_with_stock = await here.fetch(
        "SELECT location_id FROM locations JOIN stock_levels USING (location_id)"
        " WHERE NOT active AND on_hand > 0"
    )
    assert closed_with_stock == []
