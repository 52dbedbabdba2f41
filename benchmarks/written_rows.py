"""What a piece of work writes, as PostgreSQL counts it: for a baseline that writes as much."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import psycopg

from benchmarks.load import Measured
from benchmarks.pgbench import Plain
from event_log.appending import LAST_POSITION

STATISTICS_SECONDS = 10.5
"""A session that has nothing more to do tells its counts after ten seconds, or when it ends."""

# pg_stat_user_tables counts by itself, whatever became of the transaction: nothing is rolled back here.
_WRITTEN = """
SELECT coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del), 0)::bigint FROM pg_stat_user_tables
"""
_EVENTS = (
    "SELECT count(*), coalesce(avg(octet_length(payload)), 0)::float8 FROM events WHERE position > %s"
)
_ANSWERS = "SELECT coalesce(avg(octet_length(response)), 0)::float8 FROM requests WHERE position > %s"


@dataclass(frozen=True, slots=True)
class Written:
    """Of one request, on average."""

    row_count: float
    event_count: float
    event_bytes: float
    answer_bytes: float

    @property
    def sizes(self) -> dict[str, int]:
        """As variables of a script that writes as much."""
        return {"answer_bytes": round(self.answer_bytes), "event_bytes": round(self.event_bytes)}


async def written_by(database_url: str, work: Callable[[], Awaitable[Measured]]) -> Written:
    """What some work, and nothing else meanwhile, writes for each of its requests."""
    await asyncio.sleep(STATISTICS_SECONDS)
    position, rows_before = (
        _numbers(database_url, LAST_POSITION)[0],
        _numbers(database_url, _WRITTEN)[0],
    )
    measured = await work()
    await asyncio.sleep(STATISTICS_SECONDS)
    event_count, event_bytes = _numbers(database_url, _EVENTS, position)
    return Written(
        row_count=(_numbers(database_url, _WRITTEN)[0] - rows_before) / measured.sent_count,
        event_count=event_count / measured.sent_count,
        event_bytes=event_bytes,
        answer_bytes=_numbers(database_url, _ANSWERS, position)[0],
    )


async def rows_of(database_url: str, work: Callable[[], Awaitable[Plain]]) -> float:
    """Rows that pgbench writes with each transaction; its sessions have ended, and told their counts."""
    before = _numbers(database_url, _WRITTEN)[0]
    plain = await work()
    return (_numbers(database_url, _WRITTEN)[0] - before) / plain.count


def _numbers(database_url: str, query: str, *parameters: float) -> tuple[float, ...]:
    with psycopg.connect(database_url) as connection:
        row = connection.execute(query.encode(), parameters).fetchone()
    assert row is not None
    return row
