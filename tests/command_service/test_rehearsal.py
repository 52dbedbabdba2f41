"""validate_only on a session that many callers share, some of whom go away."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from uuid import uuid4

import psycopg
import pytest
import pytest_asyncio

from command_service.inventory.commands import UpsertLocations
from command_service.inventory.domain import Location
from command_service.ordering.order_numbers import OrderNumbers
from command_service.rehearsal import Rehearsal
from command_service.session import Session
from command_service.submission import Submission
from tests.command_service.conftest import CarryOut
from tests.eventually import eventually

MAIN = Location("main", "Main", 0, True)


@pytest_asyncio.fixture
async def session(database_url: str) -> AsyncIterator[Session]:
    session = Session(database_url, "shared")
    yield session
    await session.close()


def submission(location: Location) -> Submission:
    def encode(outcomes: tuple[object, ...]) -> bytes:
        return repr(outcomes).encode()

    command = UpsertLocations((location,))
    loop_now = asyncio.get_running_loop().time()
    return Submission(uuid4(), "x", b"", "tester", command, encode, loop_now + 30)


async def is_waiting(shop: CarryOut) -> bool:
    [(count,)] = await shop.fetch(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND application_name = 'shared'"
        " AND wait_event_type = 'Lock'"
    )
    return bool(count)


async def test_a_caller_that_goes_away_leaves_no_old_snapshot_to_the_next(
    carry_out: CarryOut, session: Session
) -> None:
    rehearsal = Rehearsal(session, carry_out.storage)
    async with await psycopg.AsyncConnection.connect(carry_out.database_url) as blocker:
        await blocker.execute("LOCK TABLE locations IN ACCESS EXCLUSIVE MODE")
        left = asyncio.create_task(rehearsal.rehearse(submission(MAIN)))
        await eventually(lambda: is_waiting(carry_out))
        left.cancel()
        with pytest.raises(asyncio.CancelledError):
            await left
        stayed = asyncio.create_task(rehearsal.rehearse(submission(MAIN)))
        await asyncio.sleep(0)
    assert b"CREATED" in (await stayed).body
    await carry_out(UpsertLocations((MAIN,)))
    again = await rehearsal.rehearse(submission(MAIN))
    assert b"UNCHANGED" in again.body
    renamed = await rehearsal.rehearse(submission(replace(MAIN, title="Other")))
    assert b"UPDATED" in renamed.body


async def test_callers_that_go_away_while_order_numbers_are_fetched_spoil_none(
    session: Session,
) -> None:
    numbers = OrderNumbers(session)
    given: set[str] = set()
    for _ in range(5):
        callers = [asyncio.create_task(numbers.next()) for _ in range(150)]
        await asyncio.sleep(0.002)
        for caller in callers[:3]:
            caller.cancel()
        answers = await asyncio.gather(*callers, return_exceptions=True)
        fine = [answer for answer in answers if isinstance(answer, str)]
        assert len(fine) >= len(callers) - 3
        assert given.isdisjoint(fine)
        given.update(fine)
