"""Reading the log: nothing missed, nothing twice, and a bell instead of polling."""

import asyncio
import gc
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import closing

import psycopg
import pytest

import event_log.reader
from event_log.reader import LogReader
from tests.read_side import Log, stock_moved


@pytest.fixture
def log(database_url: str) -> Iterator[Log]:
    with closing(Log(database_url)) as opened:
        yield opened


@pytest.fixture
async def reader(database_url: str) -> AsyncIterator[LogReader]:
    opened = LogReader(database_url, application_name="test reader")
    yield opened
    await opened.close()


async def test_an_empty_log_tells_its_incarnation_and_that_it_ends_at_zero(
    log: Log, reader: LogReader
) -> None:
    assert await reader.read(after=0) == (log.incarnation(), 0, 0, (), False)


async def test_batches_follow_each_other_to_the_end(log: Log, reader: LogReader) -> None:
    log.record(*(stock_moved(f"SKU-{n}", n) for n in range(10)))
    first = await reader.read(after=0, limit=4)
    assert [event.position for event in first.events] == [1, 2, 3, 4]
    assert (first.last_position, first.through_position) == (10, 4)
    last = await reader.read(after=4, limit=100)
    assert [event.position for event in last.events] == [5, 6, 7, 8, 9, 10]
    assert last.through_position == 10
    event = first.events[1]
    assert (event.context, event.type) == ("inventory", "shopkeeper.inventory.v1.StockMoved")
    assert event.payload == stock_moved("SKU-1", 1).SerializeToString()
    assert (event.actor, event.recorded_time.tzinfo is not None) == ("test", True)


async def test_many_reads_leave_no_memory_behind(log: Log, reader: LogReader) -> None:
    log.record(*(stock_moved(f"SKU-{n}", n) for n in range(7)))

    async def blocks_after(read_count: int) -> int:
        for _ in range(read_count):
            await reader.read(after=0)
        return sys.getallocatedblocks()

    gc.collect()
    assert await blocks_after(50) + 150 > await blocks_after(400)


async def test_a_filter_that_finds_nothing_still_says_how_far_it_looked(
    log: Log, reader: LogReader
) -> None:
    log.record(stock_moved("MUG", 1), stock_moved("MUG", 2))
    found = await reader.read(after=0, contexts=["ordering"])
    assert (found.events, found.through_position) == ((), 2)
    assert len((await reader.read(after=0, key="key", contexts=["inventory"])).events) == 2
    assert (await reader.read(after=0, key="other")).events == ()


async def test_one_read_for_a_context_looks_through_so_many_positions_and_no_more(
    log: Log, reader: LogReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the few events of a context in a big log are never found: no statement may take so long."""
    monkeypatch.setattr(event_log.reader, "LOOKED_THROUGH_MAX", 4)
    log.record(*(stock_moved("MUG", n) for n in range(10)))
    rare = [await reader.read(after=after, contexts=["ordering"]) for after in (0, 4, 8)]
    assert [(len(each.events), each.through_position) for each in rare] == [(0, 4), (0, 8), (0, 10)]
    common = [await reader.read(after=after, contexts=["inventory"]) for after in (0, 4, 8)]
    assert [len(each.events) for each in common] == [4, 4, 2]
    # What an index finds needs no such limit.
    assert len((await reader.read(after=0, contexts=["inventory"], key="key")).events) == 10


async def test_the_end_is_told_without_events(log: Log, reader: LogReader) -> None:
    log.record(stock_moved("MUG", 1))
    end = await reader.read_end()
    assert (end.last_position, end.events) == (1, ())


async def test_a_commit_rings_the_bell_also_when_it_came_before_the_wait(
    log: Log, reader: LogReader
) -> None:
    await reader.read(after=0)
    log.record(stock_moved("MUG", 1))
    begun = time.monotonic()
    await reader.wait(seconds_max=100)
    log_later = asyncio.get_running_loop().call_later(0.1, log.record, stock_moved("MUG", 2))
    await reader.wait(seconds_max=100)
    # Rung awake: alone it would have slept for 200 s.
    assert time.monotonic() - begun < 90
    log_later.cancel()
    assert (await reader.read(after=0)).last_position == 2


async def test_without_a_bell_the_wait_ends_in_time(log: Log, reader: LogReader) -> None:
    begun = time.monotonic()
    await reader.wait(seconds_max=0.1)
    assert time.monotonic() - begun > 0.05


async def test_a_connection_that_was_cut_is_made_anew(
    log: Log, reader: LogReader, database_url: str
) -> None:
    await reader.read(after=0)
    with psycopg.connect(database_url) as other:
        other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'test reader'"
        )
    with pytest.raises(psycopg.OperationalError):
        await reader.read(after=0)
    log.record(stock_moved("MUG", 1))
    assert len((await reader.read(after=0)).events) == 1


async def test_a_cancelled_wait_leaves_the_reader_usable(log: Log, reader: LogReader) -> None:
    waiting = asyncio.create_task(reader.wait(seconds_max=10))
    await asyncio.sleep(0.05)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    log.record(stock_moved("MUG", 1))
    assert (await reader.read(after=0)).last_position == 1


async def test_bells_that_nobody_waits_for_are_not_kept(log: Log, reader: LogReader) -> None:
    """As while a projector catches up, which may take hours."""
    for number in range(20):
        log.record(stock_moved("MUG", number))
        await reader.read(after=0, limit=1)
    assert reader._connection is not None
    kept = reader._connection._notifies_backlog
    assert kept is not None
    assert len(kept) == 0


@pytest.mark.parametrize(("answer_seconds_max", "limit"), [(12.0, "10s"), (0.006, "5ms")])
async def test_the_server_ends_a_slow_statement_before_the_reader_takes_it_for_dead(
    database_url: str, answer_seconds_max: float, limit: str
) -> None:
    reader = LogReader(database_url, answer_seconds_max=answer_seconds_max)
    connection = await reader._connected()
    assert await (await connection.execute("SHOW statement_timeout")).fetchone() == (limit,)
    await reader.close()
