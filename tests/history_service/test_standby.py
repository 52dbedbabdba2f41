"""History from a hot standby, as DATABASE_URL of the history service may name one."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from event_log.reader import LogReader
from ops.embedded import EmbeddedPostgres
from shopkeeper.inventory.v1.inventory_history_service_pb2 import ExplainStockRequest
from shopkeeper.log.v1.log_service_pb2 import ReadEventsRequest
from tests.eventually import eventually
from tests.history_service.conftest import serving
from tests.history_service.standby import Standby
from tests.history_service.stored_shop import StoredShop


@pytest.fixture(scope="module")
def standby(postgres: EmbeddedPostgres, servers_dir: Path) -> Iterator[Standby]:
    with Standby(servers_dir / "standby", postgres) as server:
        yield server


@pytest.fixture
async def standby_url(shop: StoredShop, standby: Standby, database_url: str) -> str:
    """The test's database on the standby, once it has got there."""
    url = standby.url(database_url.rpartition("/")[2])

    async def has_arrived() -> bool:
        try:
            async with await psycopg.AsyncConnection.connect(url) as connection:
                cursor = await connection.execute("SELECT pg_is_in_recovery() FROM log_incarnation")
                return await cursor.fetchone() == (True,)
        except psycopg.Error:
            return False

    await eventually(has_arrived)
    return url


async def test_the_log_of_a_standby_is_read_and_waited_for(shop: StoredShop, standby_url: str) -> None:
    reader = LogReader(standby_url)
    empty = await reader.read(after=0)
    assert (empty.events, empty.is_standby) == ((), True)
    shop.move("A", on_hand=1)

    async def has_arrived() -> bool:
        await reader.wait(seconds_max=0.05)
        return [event.key for event in (await reader.read(after=0)).events] == ["A"]

    await eventually(has_arrived)
    await reader.close()


async def test_a_follower_of_a_standby_hears_of_what_is_committed_later(
    shop: StoredShop, standby_url: str
) -> None:
    shop.move("A", on_hand=1)
    async with serving(standby_url) as history:
        call = history.log.ReadEvents(ReadEventsRequest(follow=True), timeout=20)
        heard = aiter(call)
        assert (await anext(heard)).key == "A"
        later = asyncio.ensure_future(anext(heard))
        shop.move("B", on_hand=2)
        assert (await later).key == "B"
        call.cancel()


async def test_stock_is_explained_by_a_standby(shop: StoredShop, standby_url: str) -> None:
    shop.move("A", on_hand=3)
    request = ExplainStockRequest(sku_id="A")
    reader = LogReader(standby_url)

    async def has_arrived() -> bool:
        return (await reader.read_end()).last_position == 1

    await eventually(has_arrived)
    await reader.close()
    async with serving(standby_url) as history:
        answer = await history.inventory.ExplainStock(request, timeout=5)
    assert (answer.stock.available, list(answer.differences)) == (3, [])
