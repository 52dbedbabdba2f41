"""The read models rebuilt, flushed and taken away while a real shop goes on: never a lie."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import pytest
from google.rpc.error_details_pb2 import RetryInfo

from event_log.reader import LogReader
from ops.embedded import EmbeddedValkey
from ops.verify import verify
from projections.rebuild import Rebuild
from read_models.connections import connect
from read_models.registry import load_registry
from shopkeeper.inventory.v1 import inventory_query_service_pb2 as stock_pb
from shopkeeper.inventory.v1 import inventory_query_service_pb2_grpc as stock_grpc
from tests.eventually import eventually
from tests.system.client import Client, reason_of, status_of
from tests.system.conftest import WholeShop, running_shop
from tests.system.traffic import SKU_IDS, Traffic

CATCH_UP_SECONDS_MAX = 40

pytestmark = pytest.mark.timeout(240)


@asynccontextmanager
async def rebuilding(shop: WholeShop) -> AsyncIterator[Rebuild]:
    """What `shopkeeper rebuild` drives."""
    connection = connect(shop.redis_url, answer_seconds_max=10.0)
    reader = LogReader(shop.database_url)
    try:
        yield Rebuild(connection, reader)
    finally:
        await reader.close()
        await connection.close()


async def assert_all_is_as_it_must_be(shop: WholeShop, traffic: Traffic) -> None:
    """Every SKU shows what was written, and every view is what the tables say."""
    await eventually(traffic.all_is_shown, seconds=CATCH_UP_SECONDS_MAX)
    found = await verify(shop.database_url, shop.redis_url, on_progress=lambda _what, _done, _of: None)
    assert found == []


async def test_rebuilt_under_writes_no_reader_sees_a_missing_or_an_older_value(
    database_url: str, redis_url: str
) -> None:
    # On a loaded machine Redis may be late, which is not what is tested here.
    patient = running_shop(database_url, redis_url, QUERY_REDIS_ANSWER_SECONDS_MAX="10")
    async with patient as shop, rebuilding(shop) as rebuild:
        traffic = Traffic(shop)
        await traffic.open_shop()
        await eventually(traffic.all_is_shown, seconds=CATCH_UP_SECONDS_MAX)
        async with traffic.flowing():
            old = (await rebuild.registry()).serving
            assert old is not None
            new = await rebuild.begin()

            async def is_complete() -> bool:
                return (await rebuild.progress(new)).is_complete

            await eventually(is_complete, seconds=CATCH_UP_SECONDS_MAX)
            comparison = await rebuild.replace(new)
            assert comparison.compared_count > len(SKU_IDS)
            await asyncio.sleep(1)
            await rebuild.switch(old)
            await asyncio.sleep(1)
            await rebuild.switch(new)
            await rebuild.drop(old)

            async def is_gone() -> bool:
                return (await rebuild.registry()).find(old) is None

            await eventually(is_gone, seconds=CATCH_UP_SECONDS_MAX)
        assert traffic.lies == []
        assert set(traffic.answered) == {"OK"}
        assert (await rebuild.registry()).serving == new
        await assert_all_is_as_it_must_be(shop, traffic)


async def test_flushed_under_load_nothing_that_exists_is_denied_and_all_comes_back(
    whole_shop: WholeShop,
) -> None:
    traffic = Traffic(whole_shop)
    await traffic.open_shop()
    await eventually(traffic.all_is_shown, seconds=CATCH_UP_SECONDS_MAX)
    connection = connect(whole_shop.redis_url, answer_seconds_max=10.0)

    async def serves() -> bool:
        return (await load_registry(connection)).serving is not None

    async with traffic.flowing():
        for _ in range(3):
            await asyncio.sleep(0.5)
            await connection.call("FLUSHALL")
            await eventually(serves, seconds=CATCH_UP_SECONDS_MAX)
    await connection.close()
    assert traffic.lies == []
    assert traffic.answered["READ_MODEL_REBUILDING"] > 0
    assert traffic.answered["OK"] > 0
    unavailable = {"READ_MODEL_REBUILDING", "READ_MODEL_BEHIND", "READ_MODEL_UNAVAILABLE"}
    assert set(traffic.answered) <= {"OK"} | unavailable
    await assert_all_is_as_it_must_be(whole_shop, traffic)


async def test_while_redis_is_away_queries_say_so_commands_go_on_and_all_catches_up(
    whole_shop: WholeShop, valkey: EmbeddedValkey
) -> None:
    traffic = Traffic(whole_shop)
    await traffic.open_shop()
    await eventually(traffic.all_is_shown, seconds=CATCH_UP_SECONDS_MAX)
    valkey.kill()
    try:
        async with traffic.flowing():
            await asyncio.sleep(1)
            await assert_told_at_once(whole_shop)
            before = traffic.written.total()
            await asyncio.sleep(1)
            assert traffic.written.total() > before
    finally:
        valkey.start()
    assert traffic.lies == []
    assert set(traffic.answered) == {"READ_MODEL_UNAVAILABLE"}
    async with Client(whole_shop.command_address) as client:
        await client.receive(dict.fromkeys(SKU_IDS, 1))
    traffic.written.update(SKU_IDS)
    await assert_all_is_as_it_must_be(whole_shop, traffic)


async def assert_told_at_once(shop: WholeShop) -> None:
    """The refusal comes within a fraction of the deadline, and says when to ask again."""
    async with grpc.aio.insecure_channel(shop.query_address) as channel:
        stock = stock_grpc.InventoryQueryServiceStub(channel)
        begun = time.monotonic()
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stock.GetStock(stock_pb.GetStockRequest(sku_id=SKU_IDS[0]), timeout=10)
    assert time.monotonic() - begun < 2
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    assert reason_of(refused.value) == "READ_MODEL_UNAVAILABLE"
    assert any(detail.Is(RetryInfo.DESCRIPTOR) for detail in status_of(refused.value).details)
