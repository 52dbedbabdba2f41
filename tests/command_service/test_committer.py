"""The committer on a toy aggregate: what group commit promises, whatever the commands are."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID, uuid4

import psycopg
import pytest

from command_service.committer import Committer, Lane, Limits
from command_service.database_failures import FellSilent, TookTooLong
from command_service.errors import (
    DatabaseUnavailable,
    DeadlineMissed,
    Draining,
    Failure,
    Internal,
    QueueFull,
    Refusal,
    RequestIdReused,
    RequestInProgress,
)
from command_service.pipeline import Row, Statement
from command_service.postgresql import PostgresqlUnitOfWork, Storage
from command_service.requests import CLAIM
from command_service.session import Session, Timeouts
from command_service.submission import SUCCESS, Answer, Submission
from command_service.transaction import Outcome, Transaction
from command_service.unit_of_work import Changed, Claimed, Keys, Work
from command_service.world import Command, Decision, Kind, LockRank, Touch, World
from event_log.appending import LOG_END
from event_log.events import Event
from event_log.tokens import ConsistencyToken
from serving.status import encode_failure
from tests.eventually import eventually

COUNTER: Kind[str, int] = Kind("counter", LockRank.CART)

TABLE = """
CREATE TABLE counters (name text PRIMARY KEY, value int NOT NULL CHECK (value <= 1000))
"""


SLOW_WRITES = """
CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN PERFORM pg_sleep({seconds}); RETURN new; END $$;
CREATE TRIGGER slow BEFORE UPDATE ON counters FOR EACH ROW
WHEN (new.name LIKE '{names}') EXECUTE FUNCTION dawdle()
"""


class CounterLimitReached(Refusal):
    """Counter {name} stops at 10."""


@dataclass(frozen=True, slots=True)
class Count(Command[int]):
    """Adds to a counter; what it answers is the new value."""

    name: str
    by: int = 1
    limit: int = 10

    def touches(self) -> Iterable[Touch]:
        return [COUNTER.create(self.name)]

    def decide(self, world: World, now: datetime) -> Decision[int]:
        value = (world.get(COUNTER, self.name) or 0) + self.by
        if value == 666:
            raise RuntimeError("a bug")
        if value > self.limit:
            raise CounterLimitReached(name=self.name)
        return Decision(value, [COUNTER.changed(self.name, value)])


@dataclass(frozen=True, slots=True)
class CountMany(Count):
    """Likewise, as an import of many rows would."""

    is_bulk: ClassVar[bool] = True


class CounterRepository:
    """Counters, as every repository keeps its kind."""

    kind = COUNTER

    def load(self, keys: Keys[str]) -> list[Statement]:
        make = "INSERT INTO counters SELECT unnest(%s::text[]), 0 ON CONFLICT DO NOTHING"
        lock = "SELECT name, value FROM counters WHERE name = ANY(%s) ORDER BY name FOR NO KEY UPDATE"
        read = "SELECT name, value FROM counters WHERE name = ANY(%s)"
        if not keys.locked:
            return [Statement(read, (keys.all,))]
        return [Statement(make, (keys.created,)), Statement(lock, (keys.all,))]

    def assemble(self, keys: Keys[str], results: Sequence[Sequence[Row]]) -> dict[str, Any]:
        return {row[0]: row[1] for row in results[-1]}

    def save(self, changed: Sequence[Changed[str, int]]) -> list[Statement]:
        update = """UPDATE counters SET value = row.value
                    FROM unnest(%s::text[], %s::int8[]) AS row(name, value)
                    WHERE counters.name = row.name"""
        return [Statement(update, ([c.key for c in changed], [c.after for c in changed]))]


STORAGE = Storage({COUNTER.rank: CounterRepository()}, [], encode_failure)


def submission(
    command: Command[Any], request_id: UUID | None = None, *, payload: bytes = b"", seconds: float = 30
) -> Submission:
    return Submission(
        request_id=request_id or uuid4(),
        method="Count",
        fingerprint=payload,
        actor="tester",
        command=command,
        encode=lambda answer: b"%d" % answer,
        deadline=asyncio.get_running_loop().time() + seconds,
    )


@asynccontextmanager
async def committing(database_url: str, limits: Limits | None = None) -> AsyncIterator[Committer]:
    """A committer at work, drained at the end: one process's worth."""
    sessions = [Session(database_url, name) for name in ("short", "bulk")]
    lanes = [
        Lane(s._application_name, PostgresqlUnitOfWork(s, STORAGE), limits or Limits()) for s in sessions
    ]
    committer = Committer(*lanes)
    await committer.start()
    yield committer
    await committer.drain()
    for session in sessions:
        await session.close()


@pytest.fixture
def counters(database_url: str) -> str:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(TABLE)
    return database_url


def value_of(database_url: str, name: str) -> int | None:
    with psycopg.connect(database_url) as connection:
        row = connection.execute("SELECT value FROM counters WHERE name = %s", (name,)).fetchone()
        return None if row is None else int(row[0])


def log_end(database_url: str) -> ConsistencyToken:
    """The token of whoever has seen the whole log."""
    with psycopg.connect(database_url) as connection:
        row = connection.execute(LOG_END.encode()).fetchone()
        assert row is not None
        return ConsistencyToken(*row)


async def answer_of(committer: Committer, item: Submission) -> Answer | Failure:
    try:
        return await committer.submit(item)
    except Failure as failure:
        return failure


async def test_each_command_of_a_batch_sees_the_effects_of_those_before_it(counters: str) -> None:
    async with committing(counters) as committer:
        answers = await asyncio.gather(*(committer.submit(submission(Count("a"))) for _ in range(7)))
    assert [answer.body for answer in answers] == [b"1", b"2", b"3", b"4", b"5", b"6", b"7"]
    assert value_of(counters, "a") == 7


async def test_the_same_request_twice_at_once_and_again_later_has_one_effect(counters: str) -> None:
    request_id = uuid4()
    async with committing(counters) as here, committing(counters) as there:
        at_once = await asyncio.gather(
            *(c.submit(submission(Count("a"), request_id)) for c in (here, here, there, there))
        )
        later = await there.submit(submission(Count("a"), request_id))
    assert {*at_once, later} == {Answer(SUCCESS, b"1", log_end(counters))}
    assert value_of(counters, "a") == 1


async def test_the_same_id_with_another_payload_is_refused(counters: str) -> None:
    request_id = uuid4()
    async with committing(counters) as here, committing(counters) as there:
        await here.submit(submission(Count("a"), request_id, payload=b"one"))
        with pytest.raises(RequestIdReused):
            await there.submit(submission(Count("a"), request_id, payload=b"other"))
        first = asyncio.create_task(here.submit(submission(Count("b"), twin := uuid4())))
        await asyncio.sleep(0)
        with pytest.raises(RequestIdReused):
            await here.submit(submission(Count("b"), twin, payload=b"other"))
        await first
    assert (value_of(counters, "a"), value_of(counters, "b")) == (1, 1)


async def test_a_refusal_is_stored_and_replayed_though_it_would_succeed_by_now(counters: str) -> None:
    request_id = uuid4()
    async with committing(counters) as committer:
        await committer.submit(submission(Count("a", by=10)))
        refused = await committer.submit(submission(Count("a"), request_id))
        await committer.submit(submission(Count("a", by=-5)))
        replayed = await committer.submit(submission(Count("a"), request_id))
    assert refused.code == 9
    assert replayed == refused
    assert value_of(counters, "a") == 5


async def test_a_command_that_breaks_a_constraint_fails_alone(counters: str) -> None:
    async with committing(counters) as committer:
        commands = [Count(f"n{i}") for i in range(20)] + [Count("bad", by=5000, limit=9999)]
        answers = await asyncio.gather(*(answer_of(committer, submission(c)) for c in commands))
    assert all(isinstance(answer, Answer) for answer in answers[:20])
    assert isinstance(answers[20], Internal)
    assert [value_of(counters, f"n{i}") for i in range(20)] == [1] * 20
    assert not value_of(counters, "bad")


@dataclass(frozen=True, slots=True)
class CountAndTellNonsense(Count):
    """States a fact that has no form in the log."""

    def decide(self, world: World, now: datetime) -> Decision[int]:
        return replace(Count.decide(self, world, now), events=[Nonsense()])


class Nonsense(Event):
    """A fact without a twin."""

    context = "nowhere"
    key = "nothing"


@dataclass(frozen=True, slots=True)
class CountTooLate(Count):
    """Names a root when only dependents may be named."""

    def needs(self, world: World) -> Iterable[Touch]:
        return [COUNTER.create("late")]


POISONED = {
    "a value out of range": Count("bad", by=5_000_000_000, limit=9_000_000_000),
    "a number of too many bits": Count("bad", by=2**70, limit=2**71),
    "a key that PostgreSQL has no form for": Count("b\0d"),
    "a key without an encoding": Count("b\ud800d"),
    "a key too long for an index": Count("".join(str(n) for n in range(5_000))),
    "an event that cannot be encoded": CountAndTellNonsense("bad"),
    "a root named too late": CountTooLate("bad"),
}


@pytest.mark.parametrize("poison", POISONED.values(), ids=POISONED)
async def test_a_command_that_cannot_be_written_fails_alone(counters: str, poison: Count) -> None:
    async with committing(counters) as committer:
        replayed = submission(Count("n0"), uuid4())
        await committer.submit(replayed)
        commands = [submission(Count(f"n{i}")) for i in range(5)]
        again = submission(Count("n0"), replayed.request_id)
        items = [*commands[:3], submission(poison), again, *commands[3:]]
        answers = await asyncio.gather(*(answer_of(committer, item) for item in items))
    assert isinstance(answers[3], Internal)
    assert [a.body for a in answers if isinstance(a, Answer)] == [b"2", b"1", b"1", b"1", b"1", b"1"]
    assert [value_of(counters, f"n{i}") for i in range(5)] == [2, 1, 1, 1, 1]
    assert not value_of(counters, "bad")


def sizes_of_batches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many commands each transaction was begun with, from now on."""
    sizes: list[int] = []
    run = Transaction.run

    async def counted(self: Transaction, submissions: Sequence[Submission]) -> Outcome:
        sizes.append(len(submissions))
        return await run(self, submissions)

    monkeypatch.setattr(Transaction, "run", counted)
    return sizes


async def test_a_batch_that_takes_too_long_is_put_back_and_done_in_smaller_ones(
    counters: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nine commands take 0.4 s each, and a statement may take 3 s: all are carried out, once."""
    monkeypatch.setattr("command_service.session.TIMEOUTS", Timeouts(statement_seconds_max=3))
    with psycopg.connect(counters, autocommit=True) as connection:
        connection.execute(SLOW_WRITES.format(seconds=0.4, names="n%"))
    sizes = sizes_of_batches(monkeypatch)
    async with committing(counters) as committer:
        items = [submission(Count(f"n{i}")) for i in range(9)]
        answers = await asyncio.gather(*(answer_of(committer, item) for item in items))
    assert [answer.body for answer in answers if isinstance(answer, Answer)] == [b"1"] * 9
    assert [value_of(counters, f"n{i}") for i in range(9)] == [1] * 9
    # How far the next batches get before one takes too long again depends on the machine.
    assert sizes[:2] == [9, 2]


async def test_a_lone_command_that_takes_too_long_holds_up_its_lane_once(
    counters: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same again would take as long."""
    monkeypatch.setattr("command_service.session.TIMEOUTS", Timeouts(statement_seconds_max=3))
    with psycopg.connect(counters, autocommit=True) as connection:
        connection.execute(SLOW_WRITES.format(seconds=30, names="slow"))
    sizes = sizes_of_batches(monkeypatch)
    async with committing(counters) as committer:
        assert isinstance(await answer_of(committer, submission(Count("slow"))), DatabaseUnavailable)
        assert (await committer.submit(submission(Count("swift")))).body == b"1"
    assert sizes == [1, 1]
    assert not value_of(counters, "slow")


THING: Kind[str, int] = Kind("thing", LockRank.STOCK)


@dataclass(frozen=True, slots=True)
class CountThings(Count):
    """Turns out to need five further keys."""

    def needs(self, world: World) -> Iterable[Touch]:
        return [THING.fresh(f"{self.name}{n}") for n in range(5)]


async def test_after_a_batch_that_took_long_the_next_is_no_larger(
    counters: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("command_service.transaction.NEED_COUNT_MAX", 10)
    monkeypatch.setattr("command_service.committer.GROWTH", 0)
    sizes = sizes_of_batches(monkeypatch)
    async with committing(counters) as committer:
        items = [submission(CountThings("a")) for _ in range(8)]
        await asyncio.gather(*(committer.submit(item) for item in items))
    assert sizes == [8, 2, 2, 2]


async def test_after_a_batch_that_was_too_much_the_next_is_no_larger_than_what_was_done(
    counters: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is put off is claimed, locked and loaded in vain: once, and not with every batch."""
    monkeypatch.setattr("command_service.transaction.NEED_COUNT_MAX", 10)
    sizes = sizes_of_batches(monkeypatch)
    async with committing(counters) as committer:
        items = [submission(CountThings("a")) for _ in range(8)]
        answers = await asyncio.gather(*(committer.submit(item) for item in items))
    assert [answer.body for answer in answers] == [b"%d" % n for n in range(1, 9)]
    assert sizes == [8, 2, 3, 2]


@dataclass(frozen=True, slots=True)
class CountRows(Count):
    """Is about several rows."""

    rows: int = 1

    @property
    def row_count(self) -> int:
        return self.rows


async def test_a_batch_is_about_no_more_rows_than_it_may_and_a_longer_command_goes_alone(
    counters: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = sizes_of_batches(monkeypatch)
    async with committing(counters, Limits(batch_rows_max=5)) as committer:
        rows = [2, 2, 2, 1, 3, 9, 1, 1, 1, 1, 1, 1]
        items = [submission(CountRows("a", limit=99, rows=count)) for count in rows]
        answers = await asyncio.gather(*(committer.submit(item) for item in items))
    assert [answer.body for answer in answers] == [b"%d" % n for n in range(1, len(rows) + 1)]
    assert sizes == [2, 2, 1, 1, 5, 1]


@asynccontextmanager
async def held_from_outside(database_url: str, name: str) -> AsyncIterator[None]:
    """Somebody with psql keeps the row of a counter."""
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        await connection.execute("INSERT INTO counters VALUES (%s, 0)", (name,))
        await connection.commit()
        await connection.execute("SELECT FROM counters WHERE name = %s FOR UPDATE", (name,))
        yield


async def test_a_row_that_is_locked_from_outside_fails_only_the_commands_that_need_it(
    counters: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("command_service.session.TIMEOUTS", Timeouts(lock_seconds_max=0.2))
    sizes = sizes_of_batches(monkeypatch)
    names = ["held" if n in (3, 13) else f"n{n}" for n in range(20)]
    async with committing(counters, Limits(sorting_seconds_max=60)) as committer:
        items = [submission(Count(name)) for name in names]
        async with held_from_outside(counters, "held"):
            answers = await asyncio.gather(*(answer_of(committer, item) for item in items))
        again = await committer.submit(submission(Count("held"), items[3].request_id))
    failed = [
        name for name, answer in zip(names, answers, strict=True) if not isinstance(answer, Answer)
    ]
    assert failed == ["held", "held"]
    assert [type(answers[n]) for n in (3, 13)] == [DatabaseUnavailable] * 2
    assert [value_of(counters, name) for name in names if name != "held"] == [1] * 18
    assert again.body == b"1"
    assert sizes == [20, 20, 20, 5, 5, 5, 5, 2, 2, 1, 2, 2, 1, 1, 1, 1, 1, 1]


async def test_a_lock_from_outside_that_is_met_again_and_again_holds_the_others_up_once(
    counters: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("command_service.session.TIMEOUTS", Timeouts(lock_seconds_max=0.2))
    sizes = sizes_of_batches(monkeypatch)
    async with (
        committing(counters, Limits(sorting_seconds_max=60, wary_seconds=60)) as committer,
        held_from_outside(counters, "held"),
    ):
        for value in (b"1", b"2", b"3"):
            commands = [submission(Count(name)) for name in ("a", "held", "b")]
            a, held, b = await asyncio.gather(*(answer_of(committer, item) for item in commands))
            assert isinstance(a, Answer)
            assert isinstance(b, Answer)
            assert (a.body, type(held), b.body) == (value, DatabaseUnavailable, value)
    assert sizes == [3, 3, 3, 1, 1, 1, 3, 1, 1, 1, 3, 1, 1, 1]


async def test_to_find_out_whom_a_lock_concerns_does_not_hold_up_the_others_for_long(
    counters: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("command_service.session.TIMEOUTS", Timeouts(lock_seconds_max=0.2))
    sizes = sizes_of_batches(monkeypatch)
    async with (
        committing(counters, Limits(sorting_seconds_max=0)) as committer,
        held_from_outside(counters, "held"),
    ):
        commands = [submission(Count(name)) for name in ("a", "held", "b")]
        answers = await asyncio.gather(*(answer_of(committer, item) for item in commands))
        assert (await committer.submit(submission(Count("a")))).body == b"1"
    assert [type(answer) for answer in answers] == [DatabaseUnavailable] * 3
    assert sizes == [3, 3, 3, 1]


async def test_an_id_in_flight_elsewhere_does_not_hold_up_its_neighbours(
    counters: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = sizes_of_batches(monkeypatch)
    held = submission(Count("held"))
    async with (
        await psycopg.AsyncConnection.connect(counters) as elsewhere,
        committing(counters) as committer,
    ):
        await elsewhere.execute(CLAIM.encode(), ([str(held.request_id)],))
        waiting = asyncio.create_task(committer.submit(held))
        neighbours = [submission(Count(name)) for name in "abc"]
        answers = await asyncio.gather(*(committer.submit(item) for item in neighbours))
        assert [answer.body for answer in answers] == [b"1", b"1", b"1"]
        assert sizes[0] == 4
        assert not waiting.done()
        await elsewhere.rollback()
        assert (await waiting).body == b"1"


async def test_a_bug_in_a_decision_fails_alone(counters: str) -> None:
    async with committing(counters) as committer:
        commands: list[Count] = [Count("a"), Count("b", by=666, limit=999), Count("a")]
        answers = await asyncio.gather(*(answer_of(committer, submission(c)) for c in commands))
    assert isinstance(answers[1], Internal)
    assert value_of(counters, "a") == 2
    assert not value_of(counters, "b")


async def test_a_renewed_incarnation_is_in_the_next_token_of_a_process_that_runs(counters: str) -> None:
    request_id = uuid4()
    async with committing(counters) as committer:
        before = await committer.submit(submission(Count("a"), request_id))
        async with await psycopg.AsyncConnection.connect(counters, autocommit=True) as connection:
            await connection.execute("UPDATE log_incarnation SET incarnation = 'ffffffff'")
        after = await committer.submit(submission(Count("a")))
        replayed = await committer.submit(submission(Count("a"), request_id))
    assert before.token.incarnation != "ffffffff"
    assert after.token.incarnation == "ffffffff"
    assert replayed == before._replace(token=ConsistencyToken("ffffffff", before.token.position))


async def test_an_internal_failure_is_not_stored(counters: str) -> None:
    request_id = uuid4()
    async with committing(counters) as committer:
        first = await answer_of(committer, submission(Count("a", by=666, limit=999), request_id))
        second = await answer_of(committer, submission(Count("a", by=1), request_id))
    assert isinstance(first, Internal)
    assert second == Answer(SUCCESS, b"1", log_end(counters))


async def test_two_processes_create_the_same_absent_keys_once_each(counters: str) -> None:
    async with committing(counters) as here, committing(counters) as there:
        names = [f"k{i}" for i in range(50)]
        await asyncio.gather(
            *(here.submit(submission(Count(name))) for name in names),
            *(there.submit(submission(Count(name))) for name in reversed(names)),
        )
    assert {value_of(counters, name) for name in names} == {2}


async def test_a_connection_killed_between_batches_is_opened_again(counters: str) -> None:
    async with committing(counters) as committer:
        await committer.submit(submission(Count("a")))
        terminate_sessions(counters)
        answer = await committer.submit(submission(Count("a")))
    assert answer.body == b"2"


async def test_commands_go_on_while_their_connections_are_being_killed(counters: str) -> None:
    async with committing(counters) as here, committing(counters) as there:
        requests = [uuid4() for _ in range(300)]

        async def buyer(committer: Committer, request_id: UUID) -> Answer | Failure:
            return await answer_of(committer, submission(Count("a", limit=1000), request_id))

        tasks = [asyncio.create_task(buyer((here, there)[i % 2], id_)) for i, id_ in enumerate(requests)]
        for _ in range(5):
            await asyncio.to_thread(terminate_sessions, counters)
            await asyncio.sleep(0.01)
        first = await asyncio.gather(*tasks)
        again = await asyncio.gather(*(buyer(there, id_) for id_ in requests))
    assert all(isinstance(answer, Answer) for answer in again)
    assert all(a == b for a, b in zip(first, again, strict=True) if isinstance(a, Answer))
    assert value_of(counters, "a") == 300


async def test_a_caller_that_goes_away_cancels_only_its_own_waiting(counters: str) -> None:
    async with committing(counters) as committer:
        task = asyncio.create_task(committer.submit(submission(Count("a"), request_id := uuid4())))
        await asyncio.sleep(0)
        task.cancel()
        answer = await committer.submit(submission(Count("a"), request_id))
    assert answer == Answer(SUCCESS, b"1", log_end(counters))


async def test_a_command_whose_deadline_has_passed_is_dropped_unexecuted(counters: str) -> None:
    async with committing(counters) as committer:
        with pytest.raises(DeadlineMissed):
            await committer.submit(submission(Count("a"), seconds=-1))
    assert value_of(counters, "a") is None


async def test_a_command_that_may_have_been_committed_is_never_said_not_to_have_been_begun(
    counters: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its commit is lost, it is put back, and its deadline passes before it has its turn again."""
    write, claim = PostgresqlUnitOfWork.write, PostgresqlUnitOfWork.claim
    mishaps: list[str] = []

    async def write_and_lose(self: PostgresqlUnitOfWork, work: Work) -> ConsistencyToken:
        await write(self, work)
        monkeypatch.setattr(PostgresqlUnitOfWork, "write", write)
        monkeypatch.setattr(PostgresqlUnitOfWork, "claim", claim_too_slowly)
        mishaps.append("lost")
        raise FellSilent("the database did not answer", code="08")

    async def claim_too_slowly(
        self: PostgresqlUnitOfWork, request_ids: Sequence[UUID], *, is_hasty: bool
    ) -> Claimed:
        monkeypatch.setattr(PostgresqlUnitOfWork, "claim", claim)
        mishaps.append("slow")
        for item in items:
            item.deadline = 0
        raise TookTooLong("statement timeout", code="57")

    monkeypatch.setattr(PostgresqlUnitOfWork, "write", write_and_lose)
    async with committing(counters) as committer:
        items = [submission(Count(name)) for name in "ab"]
        answers = await asyncio.gather(*(answer_of(committer, item) for item in items))
        again = await committer.submit(submission(Count("a"), items[0].request_id))
    assert mishaps == ["lost", "slow"]
    assert [type(answer) for answer in answers] == [RequestInProgress] * 2
    assert again.body == b"1"
    assert value_of(counters, "a") == 1


async def test_a_command_in_flight_elsewhere_is_never_said_not_to_have_been_begun(
    counters: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = sizes_of_batches(monkeypatch)
    held = submission(Count("held"))
    async with (
        await psycopg.AsyncConnection.connect(counters) as elsewhere,
        committing(counters) as committer,
    ):
        await elsewhere.execute(CLAIM.encode(), ([str(held.request_id)],))
        waiting = asyncio.create_task(answer_of(committer, held))
        await eventually(lambda: asyncio.sleep(0, len(sizes) > 0))
        held.deadline = 0
        assert isinstance(await waiting, RequestInProgress)


async def test_a_duplicate_that_can_wait_longer_than_the_first_is_still_executed(
    counters: str,
) -> None:
    request_id = uuid4()
    async with committing(counters) as committer:
        first = submission(Count("a"), request_id, seconds=-1)
        second = submission(Count("a"), request_id)
        answers = await asyncio.gather(answer_of(committer, first), answer_of(committer, second))
    assert list(answers) == [Answer(SUCCESS, b"1", log_end(counters))] * 2
    assert value_of(counters, "a") == 1


async def test_a_duplicate_that_cannot_wait_as_long_does_not_hurry_the_first(counters: str) -> None:
    request_id = uuid4()
    async with committing(counters) as committer:
        first = submission(Count("a"), request_id)
        second = submission(Count("a"), request_id, seconds=-1)
        answers = await asyncio.gather(answer_of(committer, first), answer_of(committer, second))
    assert list(answers) == [Answer(SUCCESS, b"1", log_end(counters))] * 2


async def test_a_full_queue_refuses_and_tells_when_to_come_back(counters: str) -> None:
    limits = Limits(queue_length_max=3)
    async with committing(counters, limits) as committer:
        answers = await asyncio.gather(*(answer_of(committer, submission(Count("a"))) for _ in range(5)))
    assert [type(answer) for answer in answers].count(QueueFull) == 2
    assert value_of(counters, "a") == 3


async def test_a_queue_is_full_when_its_commands_are_about_too_many_rows(counters: str) -> None:
    async with committing(counters, Limits(queue_rows_max=50)) as committer:
        for _ in range(2):  # what was carried out, or refused, takes no place any more
            commands = [CountRows("a", rows=rows) for rows in (1, 25, 20, 5, 4)]
            answers = await asyncio.gather(
                *(answer_of(committer, submission(command)) for command in commands)
            )
            assert [type(each) for each in answers] == [Answer, Answer, Answer, QueueFull, Answer]
            # Alone it is let in, or it never would be.
            assert isinstance(await answer_of(committer, submission(CountRows("a", rows=500))), Answer)
    assert value_of(counters, "a") == 10


async def test_bulk_commands_that_wait_neither_hold_up_short_ones_nor_take_their_places(
    counters: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who imports a catalogue fills a queue, and waits for locks: buyers do not notice."""
    monkeypatch.setattr("command_service.session.TIMEOUTS", Timeouts(100, 100, 100, 100))
    async with committing(counters, Limits(queue_length_max=2)) as committer:
        async with held_from_outside(counters, "held"):
            imports = [submission(CountMany("held")) for _ in range(3)]
            outcomes = [asyncio.create_task(answer_of(committer, each)) for each in imports]
            async with asyncio.timeout(60):
                for name in "ab":
                    await committer.submit(submission(Count(name)))
            assert [outcome.done() for outcome in outcomes] == [False, False, True]
        assert [type(answer) for answer in await asyncio.gather(*outcomes)] == [
            Answer,
            Answer,
            QueueFull,
        ]
    assert [value_of(counters, name) for name in ("held", "a", "b")] == [2, 1, 1]


async def test_what_a_worker_brings_is_let_into_a_full_queue_and_comes_first(counters: str) -> None:
    async with committing(counters, Limits(queue_length_max=2, batch_rows_max=1)) as committer:
        waiting = [submission(Count("a")) for _ in range(2)]
        answers = [asyncio.create_task(committer.submit(each)) for each in waiting]
        await asyncio.sleep(0)
        urgent = replace(submission(Count("a")), is_urgent=True)
        assert await committer.submit(urgent) == Answer(SUCCESS, b"1", log_end(counters))
        assert [answer.body for answer in await asyncio.gather(*answers)] == [b"2", b"3"]


async def test_a_drained_committer_finishes_what_it_took_and_takes_no_more(counters: str) -> None:
    async with committing(counters) as committer:
        taken = [asyncio.create_task(committer.submit(submission(Count("a")))) for _ in range(5)]
        await asyncio.sleep(0)
        await committer.drain()
        with pytest.raises(Draining):
            await committer.submit(submission(Count("a")))
        assert [(await task).body for task in taken] == [b"1", b"2", b"3", b"4", b"5"]


async def test_without_a_database_commands_are_unavailable_not_lost_in_silence() -> None:
    async with committing("postgresql://nobody@127.0.0.1:1/none") as committer:
        with pytest.raises(DatabaseUnavailable):
            await committer.submit(submission(Count("a")))


def terminate_sessions(database_url: str) -> None:
    """Kills the committers' connections, as a failing network or server would."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name IN ('short', 'bulk')"
        )
