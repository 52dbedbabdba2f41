"""Waiting for what another transaction holds up, and warehouses for random histories."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from itertools import count
from typing import Any

import psycopg
import pytest

from command_service.session import Session
from tests.command_service.conftest import CarryOut
from tests.command_service.inventory.warehouses import MakeWarehouse, WarehouseInPostgres

WaitForLock = Callable[[Coroutine[Any, Any, Any]], Awaitable["asyncio.Task[Any]"]]


@pytest.fixture
def wait_for_lock(database_url: str) -> WaitForLock:
    """Starts a coroutine and returns its task once that waits for a lock."""

    async def start(coroutine: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
        task = asyncio.create_task(coroutine)
        async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
            while not await _somebody_waits(connection):
                assert not task.done(), "it should have waited"
                await asyncio.sleep(0.005)
        return task

    return start


async def _somebody_waits(connection: psycopg.AsyncConnection[Any]) -> bool:
    cursor = await connection.execute(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    row = await cursor.fetchone()
    return row is not None and row[0] > 0


@pytest.fixture
def make_warehouse(database_url: str) -> Iterator[MakeWarehouse]:
    """Makes warehouses in one database, each with a prefix for its names."""
    prefixes = count()
    with asyncio.Runner() as runner:
        session = Session(database_url, "tests")
        runner.run(session.connect())
        carry_out = CarryOut(database_url, session)

        def make() -> tuple[WarehouseInPostgres, str]:
            prefix = f"w{next(prefixes)} "
            return WarehouseInPostgres(runner, carry_out, prefix), prefix

        yield make
        runner.run(session.close())
