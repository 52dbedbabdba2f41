"""The connections of readers: who has them next, and what is left when nobody waits any more."""

import asyncio
import gc
from dataclasses import dataclass
from typing import Any, NoReturn

import psycopg
import pytest

from history_service import database
from history_service.errors import OrderNotFound, ReadersBusy
from serving.failures import DeadlineMissed


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


@dataclass(frozen=True, slots=True)
class Session:
    pid: int


class Asked:
    """Questions to the database; each ends as it is told to, and tells which session answered."""

    def __init__(self, database_url: str) -> None:
        self.readers = database.Database(database_url, connection_count_max=1)
        self.sessions: list[Session | None] = []

    async def ask(self, failure: Exception | None = None) -> None:
        async with self.readers.snapshot(None) as snapshot:
            self.sessions.append(await snapshot.fetch_one("SELECT pg_backend_pid() AS pid", {}, Session))
            if failure is not None:
                raise failure


async def test_a_refusal_leaves_the_connection_to_the_next_caller(database_url: str) -> None:
    asked = Asked(database_url)
    with pytest.raises(OrderNotFound):
        await asked.ask(OrderNotFound(order_id="nowhere"))
    await asked.ask()
    assert asked.sessions[0] == asked.sessions[1]
    await asked.readers.drain()


async def test_an_answer_that_fails_halfway_takes_its_connection_with_it(database_url: str) -> None:
    asked = Asked(database_url)
    with pytest.raises(ZeroDivisionError):
        await asked.ask(ZeroDivisionError())
    await asked.ask()
    assert asked.sessions[0] != asked.sessions[1]
    await asked.readers.drain()


async def test_a_caller_with_much_time_is_told_well_before_its_end_that_all_readers_are_busy(
    database_url: str,
) -> None:
    asked = Asked(database_url)
    async with asked.readers.snapshot(None), asyncio.timeout(database.ANSWER_SECONDS_MAX / 2):
        with pytest.raises(ReadersBusy):
            await asked.ask()
    await asked.ask()
    await asked.readers.drain()


@pytest.mark.parametrize(("seconds_left", "seconds"), [(0.2, 0.1), (2.0, 1.0), (20.0, 1.0)])
def test_a_place_is_waited_for_no_longer_than_leaves_time_to_answer(
    seconds_left: float, seconds: float
) -> None:
    assert database.seconds_for_a_place(seconds_left, longest=1.0) == seconds


async def test_a_caller_without_a_deadline_is_given_up_after_what_is_set(database_url: str) -> None:
    readers = database.Database(database_url, connection_count_max=1, answer_seconds_max=0.2)
    with pytest.raises(DeadlineMissed):
        async with readers.snapshot(None) as snapshot:
            await snapshot.fetch("SELECT pg_sleep(60)::text AS pid", {}, Session)
    await readers.drain()


async def test_a_connection_is_waited_for_as_long_as_is_set(database_url: str) -> None:
    # A minute is left: half of it would be longer than a test may take.
    readers = database.Database(
        database_url, connection_count_max=1, answer_seconds_max=60.0, place_seconds_max=0.01
    )
    async with readers.snapshot(None), asyncio.timeout(20):
        with pytest.raises(ReadersBusy):
            async with readers.snapshot(None):
                raise AssertionError("there is one connection only")
    await readers.drain()
