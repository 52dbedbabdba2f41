"""An online rebuild of the views beside merely reading the log."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

import psutil
import psycopg

from benchmarks.bench import REDIS_SECONDS_MAX, Bench, settle
from benchmarks.reporting import Bound, Figure, Reach
from benchmarks.rounds import Compared
from benchmarks.shop_under_test import ShopUnderTest, shop_under_test
from benchmarks.stories import Stories
from event_log.reader import LogReader
from projections.rebuild import Rebuild
from read_models.connections import connect

SHARE = 4
"""A quarter of the log, and then all of it: what grows with the log shows."""

POLL_SECONDS = 0.05
REBUILD_SECONDS_MAX = 600.0
FLAT_FACTOR = 1.15
"""A peak that a log four times as long raises by no more is flat: an allocator is not exact."""


class Rebuilt(NamedTuple):
    """One rebuild."""

    event_count: int
    per_second: float
    peak_mib: float

    def __str__(self) -> str:
        return (
            f"{self.event_count:,} events: rebuilt {self.per_second:,.0f}/s with at most"
            f" {self.peak_mib:.0f} MiB"
        )


class Read(NamedTuple):
    """The same events, merely read."""

    per_second: float

    def __str__(self) -> str:
        return f"read by COPY {self.per_second:,.0f}/s"


async def rebuild(bench: Bench) -> list[Figure]:
    """rebuild_vs_copy."""
    event_count = bench.extent.event_count
    async with shop_under_test(bench.shop.worker_count) as shop:
        stories = await Stories.of(shop)
        await asyncio.to_thread(stories.extend, event_count // SHARE)
        small = await _rebuilt(shop, event_count // SHARE)
        bench.say(str(small))
        await asyncio.to_thread(stories.extend, event_count)
        results = await bench.rounds(
            {
                "rebuild": lambda: _rebuilt(shop, event_count),
                "copy": lambda: asyncio.to_thread(_read_by_copy, shop.servers.database_url),
            }
        )
    rebuilt: list[Rebuilt] = results["rebuild"]
    peak_mib = max(each.peak_mib for each in rebuilt)
    return [
        Figure.beside(
            *("rebuild_vs_copy", "events/s", Reach(Bound.AT_LEAST, 0.1)),
            Compared.of(
                [each.per_second for each in rebuilt], [each.per_second for each in results["copy"]]
            ),
            against="reading the same events by COPY",
            told={
                "event_counts": [small.event_count, event_count],
                "peak_mib": [small.peak_mib, peak_mib],
            },
            holds=peak_mib < FLAT_FACTOR * small.peak_mib,
        )
    ]


async def _rebuilt(shop: ShopUnderTest, event_count: int) -> Rebuilt:
    await _start_projections_anew(shop)
    await settle(shop)
    async with _steps(shop) as steps:
        begun = time.monotonic()
        number = await steps.begin()
        peak_bytes = await _until_complete(steps, number, shop.pids["projections"][0])
        seconds = time.monotonic() - begun
        # Until it is gone it takes memory, and time to delete.
        await steps.drop(number)
        while (await steps.registry()).find(number) is not None:  # noqa: ASYNC110 asked of other processes
            await asyncio.sleep(POLL_SECONDS)
    return Rebuilt(event_count, event_count / seconds, peak_bytes / 2**20)


async def _start_projections_anew(shop: ShopUnderTest) -> None:
    """So that its memory is that of this rebuild alone."""
    before = shop.deployment["projections#0"].pid
    await shop.deployment["projections#0"].end(seconds_max=30)
    while shop.deployment["projections#0"].pid == before:  # noqa: ASYNC110 the supervisor starts it
        await asyncio.sleep(POLL_SECONDS)
    await shop.deployment.wait_until_ready()


async def _until_complete(steps: Rebuild, number: int, pid: int) -> int:
    """The most memory that the process had meanwhile, in bytes."""
    process, peak_bytes = psutil.Process(pid), 0
    async with asyncio.timeout(REBUILD_SECONDS_MAX):
        while not (await steps.progress(number)).is_complete:
            peak_bytes = max(peak_bytes, process.memory_info().rss)
            await asyncio.sleep(POLL_SECONDS)
    return peak_bytes


def _read_by_copy(database_url: str) -> Read:
    with psycopg.connect(database_url) as connection, connection.cursor() as cursor:
        begun = time.monotonic()
        with cursor.copy("COPY events TO STDOUT WITH (FORMAT binary)") as copy:
            for _ in copy:
                pass
        return Read(cursor.rowcount / (time.monotonic() - begun))


@asynccontextmanager
async def _steps(shop: ShopUnderTest) -> AsyncIterator[Rebuild]:
    connection = connect(shop.servers.redis_url, answer_seconds_max=REDIS_SECONDS_MAX)
    reader = LogReader(shop.servers.database_url, application_name="shopkeeper benchmarks")
    try:
        yield Rebuild(connection, reader)
    finally:
        await reader.close()
        await connection.close()
