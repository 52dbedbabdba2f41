"""An online rebuild of the views beside merely reading the log."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

import psutil
import psycopg

from benchmarks.bench import Bench, settle
from benchmarks.reporting import Bound, Figure, Reach
from benchmarks.rounds import Compared
from benchmarks.shop_under_test import ShopUnderTest, another_shop
from benchmarks.stories import Stories
from event_log.reader import LogReader
from projections.rebuild import Rebuild
from read_models.connections import connect

SHARES = (4, 2, 1)
"""A quarter of the log, half of it, all of it: what grows with the log shows."""

POLL_SECONDS = 0.05
REBUILD_SECONDS_MAX = 600.0
REDIS_SECONDS_MAX = 30.0
FLAT_FACTOR = 1.15
"""A peak that a log four times as long raises by no more is flat: an allocator is not exact."""


class Rebuilt(NamedTuple):
    """One rebuild, and the reading of the same events."""

    event_count: int
    rebuild_per_second: float
    copy_per_second: float
    peak_mib: float

    def __str__(self) -> str:
        return (
            f"{self.event_count:,} events: rebuilt {self.rebuild_per_second:,.0f}/s with at most"
            f" {self.peak_mib:.0f} MiB, read by COPY {self.copy_per_second:,.0f}/s"
        )


async def rebuild(bench: Bench) -> list[Figure]:
    """rebuild_vs_copy."""
    results: list[Rebuilt] = []
    async with another_shop(bench.shop, "rebuild") as shop:
        stories = await Stories.of(shop)
        for share in SHARES:
            await asyncio.to_thread(stories.extend, bench.extent.event_count // share)
            results.append(await _rebuilt(shop, bench.extent.event_count // share))
            bench.say(str(results[-1]))
    compared = Compared.of(
        [each.rebuild_per_second for each in results], [each.copy_per_second for each in results]
    )
    peaks_mib = [each.peak_mib for each in results]
    return [
        Figure(
            *("rebuild_vs_copy", "events/s", Reach(Bound.AT_LEAST, 0.1)),
            results[-1].rebuild_per_second,
            "reading the same events by COPY",
            compared,
            told={"event_counts": [each.event_count for each in results], "peak_mib": peaks_mib},
            holds=peaks_mib[-1] < FLAT_FACTOR * peaks_mib[0],
        )
    ]


async def _rebuilt(shop: ShopUnderTest, event_count: int) -> Rebuilt:
    await _start_projections_anew(shop)
    await settle(shop)
    copy_per_second = await asyncio.to_thread(_read_by_copy, shop.servers.database_url)
    async with _steps(shop) as steps:
        begun = time.monotonic()
        number = await steps.begin()
        peak_bytes = await _until_complete(steps, number, shop.pids["projections"][0])
        seconds = time.monotonic() - begun
        # Until it is gone it takes memory, and time to delete.
        await steps.drop(number)
        while (await steps.registry()).find(number) is not None:  # noqa: ASYNC110 asked of other processes
            await asyncio.sleep(POLL_SECONDS)
    return Rebuilt(event_count, event_count / seconds, copy_per_second, peak_bytes / 2**20)


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


def _read_by_copy(database_url: str) -> float:
    """Events a second."""
    with psycopg.connect(database_url) as connection, connection.cursor() as cursor:
        begun = time.monotonic()
        with cursor.copy("COPY events TO STDOUT WITH (FORMAT binary)") as copy:
            for _ in copy:
                pass
        return cursor.rowcount / (time.monotonic() - begun)


@asynccontextmanager
async def _steps(shop: ShopUnderTest) -> AsyncIterator[Rebuild]:
    connection = connect(shop.servers.redis_url, answer_seconds_max=REDIS_SECONDS_MAX)
    reader = LogReader(shop.servers.database_url, application_name="shopkeeper benchmarks")
    try:
        yield Rebuild(connection, reader)
    finally:
        await reader.close()
        await connection.close()
