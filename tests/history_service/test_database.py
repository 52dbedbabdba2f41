"""Questions to the database that nobody waits for any more."""

import asyncio
import gc
from typing import Any, NoReturn

import psycopg
import pytest

from history_service import database


async def test_a_caller_who_leaves_as_the_server_fails_leaves_nothing_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    complaints: list[dict[str, Any]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _loop, context: complaints.append(context))

    async def unreachable(_conninfo: str) -> NoReturn:
        raise psycopg.OperationalError("connection refused")

    async def ask() -> None:
        async with readers.snapshot(5.0):
            pass

    monkeypatch.setattr(database, "connect", unreachable)
    readers = database.Database("", connection_count_max=1)
    for turn_count in range(8):
        caller = asyncio.create_task(ask())
        for _ in range(turn_count):
            await asyncio.sleep(0)
        caller.cancel()
        await asyncio.gather(caller, return_exceptions=True)
    gc.collect()
    assert complaints == []
