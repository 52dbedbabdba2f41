"""An outage is told in two lines, however long it lasts and however often it is tried."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NoReturn

import psycopg
import pytest
from structlog.testing import capture_logs
from structlog.typing import EventDict

from command_service.committer import ATTEMPT_COUNT_MAX, Limits
from command_service.database_failures import ConnectionLost, FellSilent
from command_service.errors import DatabaseUnavailable
from command_service.lone_worker import LoneWorker, WorkerLock
from command_service.outage import Outage
from command_service.pipeline import Statement
from command_service.session import Session
from ops.embedded import EmbeddedPostgres
from tests.command_service.conftest import CarryOut
from tests.command_service.test_committer import TABLE, Count, committing, submission
from tests.conftest import execute
from tests.eventually import eventually


@asynccontextmanager
async def outage_of(postgres: EmbeddedPostgres, database_url: str) -> AsyncIterator[None]:
    """Nobody can connect to the database, and whoever was connected is thrown out."""
    name = psycopg.conninfo.conninfo_to_dict(database_url)["dbname"]
    execute(postgres, "ALTER DATABASE {} ALLOW_CONNECTIONS false", str(name))
    async with await psycopg.AsyncConnection.connect(postgres.url(), autocommit=True) as connection:
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,)
        )
    yield
    execute(postgres, "ALTER DATABASE {} ALLOW_CONNECTIONS true", str(name))


SAID = {"log_level": "warning"}


class CountedSession(Session):
    """Counts how often it was asked to connect."""

    connect_count = 0

    async def connect(self) -> None:
        self.connect_count += 1
        await super().connect()


def untimed(line: EventDict) -> dict[str, object]:
    return {name: value for name, value in line.items() if name not in {"seconds", "error"}}


def test_an_outage_is_said_when_it_begins_and_when_it_is_over_with_what_it_cost() -> None:
    now = 100.0
    outage = Outage(lambda: now, lane="short")
    with capture_logs() as lines:
        outage.succeeded()
        outage.failed(ConnectionLost("refused\n", code="08"))
        now = 103.5
        outage.failed(FellSilent("silent", code="08"), lost_count=7)
        now = 110.25
        outage.succeeded()
        outage.succeeded()
        outage.failed(FellSilent("silent", code="08"), lost_count=1)
        outage.succeeded()
    begun = {**SAID, "lane": "short", "event": "failing, trying again"}
    over = {**SAID, "lane": "short", "event": "working again"}
    assert lines == [
        begun | {"error": "refused", "exc_info": None},
        over | {"seconds": 10.2, "failure_count": 2, "lost_count": 7},
        begun | {"error": "silent", "exc_info": None},
        over | {"seconds": 0.0, "failure_count": 1, "lost_count": 1},
    ]


def test_a_bug_during_an_outage_is_news_once_and_with_its_traceback() -> None:
    outage = Outage(worker="EXPIRY")
    bug = KeyError("order")
    with capture_logs() as lines:
        outage.failed(FellSilent("silent", code="08"))
        outage.failed(bug)
        outage.failed(FellSilent("silent", code="08"))
        outage.failed(bug)
    assert [line["exc_info"] for line in lines] == [None, bug]
    assert [line["log_level"] for line in lines] == ["warning", "error"]


async def test_commands_that_an_outage_costs_are_counted_and_not_told_one_by_one(
    postgres: EmbeddedPostgres, carry_out: CarryOut
) -> None:
    await carry_out.fetch(TABLE)
    with capture_logs() as lines:
        async with committing(carry_out.database_url) as committer:
            await committer.submit(submission(Count("a")))
            async with outage_of(postgres, carry_out.database_url):
                for _ in range(2):
                    with pytest.raises(DatabaseUnavailable):
                        await committer.submit(submission(Count("a")))
            await committer.submit(submission(Count("a")))
            assert (await committer.submit(submission(Count("a")))).body == b"3"
    counts = {"failure_count": 2 * ATTEMPT_COUNT_MAX, "lost_count": 2}
    assert list(map(untimed, lines)) == [
        {**SAID, "lane": "short", "event": "failing, trying again", "exc_info": None},
        {**SAID, "lane": "short", "event": "working again", **counts},
    ]


async def test_a_server_that_nobody_can_reach_in_time_is_an_outage_and_no_matter_of_size(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To find that out takes longer than any statement may."""
    limits = Limits(statement_seconds_max=0.05)

    async def reach_nobody(self: Session) -> NoReturn:
        await asyncio.sleep(limits.statement_seconds_max)
        raise psycopg.errors.ConnectionTimeout("connection timeout expired")

    monkeypatch.setattr(Session, "_open", reach_nobody)
    with capture_logs() as lines:
        async with committing(database_url, limits) as committer:
            commands = [committer.submit(submission(Count("a"))) for _ in range(2)]
            answers = await asyncio.gather(*commands, return_exceptions=True)
    assert [type(answer) for answer in answers] == [DatabaseUnavailable] * 2
    begun = {**SAID, "lane": "short", "event": "failing, trying again", "exc_info": None}
    assert list(map(untimed, lines)) == [begun]


async def test_a_worker_tells_an_outage_in_two_lines(
    postgres: EmbeddedPostgres, carry_out: CarryOut
) -> None:
    round_count = 0

    async def look(session: Session) -> None:
        nonlocal round_count
        await session.run([Statement("SELECT 1")])
        round_count += 1

    async def is_at_work(*, after: int) -> bool:
        return round_count > after

    async def is_tried(*, more_than: int) -> bool:
        return session.connect_count > more_than

    session = CountedSession(carry_out.database_url, "worker")
    worker = LoneWorker(WorkerLock.EXPIRY, session, look, pause_seconds=0.01)
    with capture_logs() as lines:
        await worker.start()
        await eventually(lambda: is_at_work(after=0), seconds=30)
        async with outage_of(postgres, carry_out.database_url):
            begun_count = session.connect_count
            await eventually(lambda: is_tried(more_than=begun_count + 5), seconds=30)
        await eventually(lambda: asyncio.sleep(0, len(lines) > 1), seconds=30)
        done_count = round_count
        await eventually(lambda: is_at_work(after=done_count + 5), seconds=30)
        await worker.drain()
    begun, over = map(untimed, lines)
    assert begun == {**SAID, "worker": "EXPIRY", "event": "failing, trying again", "exc_info": None}
    assert isinstance(failure_count := over.pop("failure_count"), int)
    assert failure_count > 5
    assert over == {**SAID, "worker": "EXPIRY", "event": "working again", "lost_count": 0}


async def test_a_bug_in_every_round_of_a_worker_is_told_once(carry_out: CarryOut) -> None:
    round_count = 0

    async def stumble(session: Session) -> None:
        nonlocal round_count
        round_count += 1
        raise KeyError("a bug")

    session = Session(carry_out.database_url, "worker")
    worker = LoneWorker(WorkerLock.EXPIRY, session, stumble, pause_seconds=0)
    with capture_logs() as lines:
        await worker.start()
        await eventually(lambda: asyncio.sleep(0, round_count > 5), seconds=30)
        await worker.drain()
    assert [(line["log_level"], type(line["exc_info"])) for line in lines] == [("error", KeyError)]
