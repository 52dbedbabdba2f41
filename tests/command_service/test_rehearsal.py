"""validate_only on a session that many callers share, some of whom go away."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import uuid4

import psycopg
import pytest
import pytest_asyncio

from command_service.cart.domain import CART
from command_service.database_failures import Unacceptable
from command_service.errors import DeadlineMissed, Internal, QueueFull
from command_service.inventory.commands import UpsertLocations
from command_service.inventory.domain import LOCATION, Location
from command_service.ordering.order_numbers import OrderNumbers
from command_service.pipeline import Row
from command_service.postgresql import PostgresqlUnitOfWork
from command_service.pricing.commands import UpsertPromotions
from command_service.pricing.domain import PercentageOff
from command_service.rehearsal import Rehearsal
from command_service.session import Session
from command_service.submission import Answer, Submission
from command_service.unit_of_work import Keys
from command_service.world import Command, Decision, LockRank, Touch, World
from tests.command_service.checkout.orders_on_postgresql import fill_cart, open_stocked_shop
from tests.command_service.conftest import CarryOut
from tests.command_service.pricing.shop import promotion
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


TABLES = """
SELECT relname::text FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace
"""


SESSIONS = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND application_name = 'shared'
"""


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
    rehearsal = Rehearsal(PostgresqlUnitOfWork(session, carry_out.storage))
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


async def test_those_who_find_too_many_waiting_are_told_when_to_come_back(
    carry_out: CarryOut, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who gives up waiting makes room for another."""
    monkeypatch.setattr("command_service.rehearsal.WAITING_COUNT_MAX", 3)
    rehearsal = Rehearsal(PostgresqlUnitOfWork(session, carry_out.storage))

    async def come() -> asyncio.Task[Answer]:
        task = asyncio.create_task(rehearsal.rehearse(submission(MAIN)))
        await asyncio.sleep(0)
        return task

    async with await psycopg.AsyncConnection.connect(carry_out.database_url) as blocker:
        await blocker.execute("LOCK TABLE locations IN ACCESS EXCLUSIVE MODE")
        first, *rest = [await come() for _ in range(4)]
        await eventually(lambda: is_waiting(carry_out))
        with pytest.raises(QueueFull) as caught:
            await rehearsal.rehearse(submission(MAIN))
        assert caught.value.retry_after_seconds == 0.1
        rest.pop(1).cancel()
        await asyncio.sleep(0)
        rest.append(await come())
        with pytest.raises(QueueFull):
            await rehearsal.rehearse(submission(MAIN))
    answers = [*await asyncio.gather(first, *rest), await rehearsal.rehearse(submission(MAIN))]
    assert [b"CREATED" in answer.body for answer in answers] == [True] * 5


async def test_a_turn_that_comes_after_the_deadline_goes_to_the_next(
    carry_out: CarryOut, session: Session
) -> None:
    rehearsal = Rehearsal(PostgresqlUnitOfWork(session, carry_out.storage))
    late = submission(MAIN)
    async with await psycopg.AsyncConnection.connect(carry_out.database_url) as blocker:
        await blocker.execute("LOCK TABLE locations IN ACCESS EXCLUSIVE MODE")
        waiting = [asyncio.create_task(rehearsal.rehearse(submission(MAIN)))]
        await eventually(lambda: is_waiting(carry_out))
        waiting += [asyncio.create_task(rehearsal.rehearse(each)) for each in (late, submission(MAIN))]
        await asyncio.sleep(0)
        late.deadline = asyncio.get_running_loop().time()
    first, missed, last = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(missed, DeadlineMissed)
    assert isinstance(first, Answer)
    assert isinstance(last, Answer)


async def test_the_database_is_not_asked_for_those_whose_deadline_has_passed(
    carry_out: CarryOut, session: Session
) -> None:
    rehearsal = Rehearsal(PostgresqlUnitOfWork(session, carry_out.storage))
    late = replace(submission(MAIN), deadline=asyncio.get_running_loop().time())
    with pytest.raises(DeadlineMissed):
        await rehearsal.rehearse(late)
    assert await carry_out.fetch(SESSIONS) == [(0,)]
    assert b"CREATED" in (await rehearsal.rehearse(submission(MAIN))).body
    assert await carry_out.fetch(SESSIONS) == [(1,)]


LOCKS = """
SELECT DISTINCT locktype, mode FROM pg_locks JOIN pg_stat_activity USING (pid)
WHERE datname = current_database() AND application_name = 'shared' AND locktype <> 'virtualxid'
"""


async def test_a_rehearsal_locks_no_row_makes_none_and_claims_no_id(
    carry_out: CarryOut, session: Session
) -> None:
    """It is stopped at its last question, when everything that it decides on is loaded."""
    await open_stocked_shop(carry_out)
    command = await fill_cart(carry_out, "c1", "ada", sku1=1)
    rehearsed = replace(submission(MAIN), command=command, encode=lambda order: order.order_id.encode())
    async with await psycopg.AsyncConnection.connect(carry_out.database_url) as others:
        for (table,) in await carry_out.fetch(TABLES):
            # Held so, a table can be read and nothing else.
            await others.execute(f"LOCK TABLE {table} IN EXCLUSIVE MODE".encode())
        await others.execute("LOCK TABLE log_incarnation IN ACCESS EXCLUSIVE MODE")
        waiting = asyncio.create_task(
            Rehearsal(PostgresqlUnitOfWork(session, carry_out.storage)).rehearse(rehearsed)
        )
        await eventually(lambda: is_waiting(carry_out), seconds=30)
        assert await carry_out.fetch(LOCKS) == [("relation", "AccessShareLock")]
    assert (await waiting).body == command.order_id.encode()


async def test_a_rehearsal_begins_anew_where_another_lane_let_go_of_what_it_counted_on(
    carry_out: CarryOut, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lanes share the SKUs of promotions, and that lane has read a book without this one."""
    await open_stocked_shop(carry_out)
    few = promotion("ten", PercentageOff(1_000), sku_ids={"sku1"})
    await carry_out(UpsertPromotions((few,)))
    command = await fill_cart(carry_out, "c1", "ada", sku2=1)
    rehearsed = replace(submission(MAIN), command=command, encode=lambda order: order.order_id.encode())
    rehearsal = Rehearsal(PostgresqlUnitOfWork(session, carry_out.storage))
    book = carry_out.storage.repositories[LockRank.PRICE_BOOK]
    assemble, of_others = book.assemble, [[list[Row]()]]

    def after_others(keys: Keys[str], results: Sequence[Sequence[Row]]) -> Any:
        while of_others:
            assemble(keys, of_others.pop())
        return assemble(keys, results)

    await rehearsal.rehearse(rehearsed)
    monkeypatch.setattr(book, "assemble", after_others)
    assert (await rehearsal.rehearse(rehearsed)).body == command.order_id.encode()
    assert of_others == []


class NamesNoKey(Command[None]):
    """A command with a bug: what it names is no key."""

    def touches(self) -> Iterable[Touch]:
        return [LOCATION.read(object())]  # type: ignore[arg-type]  # the bug

    def decide(self, world: World, now: datetime) -> Decision[None]:
        raise AssertionError("it cannot be loaded")


class NamesAKeyWithoutForm(NamesNoKey):
    """A command with a bug: PostgreSQL has no form for the key that it names."""

    def touches(self) -> Iterable[Touch]:
        return [LOCATION.read("m\0in")]


class ForgetsItsKey(NamesNoKey):
    """A command with a bug: it needs a key that it did not name."""

    def touches(self) -> Iterable[Touch]:
        return []

    def decide(self, world: World, now: datetime) -> Decision[None]:
        world.get(LOCATION, "main")
        raise AssertionError("it was not loaded")


class NamesRootsTooLate(ForgetsItsKey):
    """A command with a bug: it names a root when only dependents may be named."""

    def needs(self, world: World) -> Iterable[Touch]:
        return [CART.read("late")]


OPEN_TRANSACTIONS = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND application_name = 'shared' AND xact_start IS NOT NULL
"""


BUGS = [
    (NamesNoKey(), KeyError),
    (NamesAKeyWithoutForm(), Unacceptable),
    (NamesRootsTooLate(), AssertionError),
    (ForgetsItsKey(), Internal),
]


@pytest.mark.parametrize(("command", "error"), BUGS, ids=[type(bug[0]).__name__ for bug in BUGS])
async def test_a_bug_in_a_command_leaves_no_transaction_open(
    carry_out: CarryOut, session: Session, command: Command[None], error: type[Exception]
) -> None:
    """Nor is it taken for a database that is away, where to come again would help."""
    rehearsal = Rehearsal(PostgresqlUnitOfWork(session, carry_out.storage))
    with pytest.raises(error):
        await rehearsal.rehearse(replace(submission(MAIN), command=command))
    assert await carry_out.fetch(OPEN_TRANSACTIONS) == [(0,)]
    assert b"CREATED" in (await rehearsal.rehearse(submission(MAIN))).body


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
