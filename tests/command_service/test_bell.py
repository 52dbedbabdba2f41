"""A commit with facts wakes whoever follows the log."""

import asyncio

import psycopg

from command_service.inventory.commands import UpsertLocations
from command_service.inventory.domain import Location
from event_log.appending import NOTIFY_CHANNEL
from event_log.reader import LogReader
from tests.command_service.conftest import CarryOut


def keep_location(location_id: str) -> UpsertLocations:
    return UpsertLocations((Location(location_id, "", 0, True),))


async def test_a_reader_that_would_sleep_for_an_hour_is_woken_by_a_commit(carry_out: CarryOut) -> None:
    reader = LogReader(carry_out.database_url)
    end = await reader.read_end()
    await carry_out(keep_location("main"))
    async with asyncio.timeout(60):
        await reader.wait(seconds_max=3600)
    batch = await reader.read(after=end.last_position)
    assert [event.key for event in batch.events] == ["main"]
    await reader.close()


async def test_each_batch_rings_once_and_tells_how_far_the_log_has_come(carry_out: CarryOut) -> None:
    async with await psycopg.AsyncConnection.connect(
        carry_out.database_url, autocommit=True
    ) as listener:
        await listener.execute(f"LISTEN {NOTIFY_CHANNEL}".encode())
        await carry_out.together([keep_location(name) for name in ("a", "b", "c")])
        await carry_out(keep_location("d"))
        rung = [bell.payload async for bell in listener.notifies(timeout=60, stop_after=2)]
    assert rung == ["3", "4"]
