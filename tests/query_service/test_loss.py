"""What clients see while Redis is flushed, gone, hung, or being rebuilt: never a lie."""

import asyncio
import gc
import os
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import grpc
import pytest

import query_service.views
from event_log.reader import LogReader
from ops.embedded import EmbeddedValkey
from projections.projector import Projector
from projections.rebuild import Rebuild
from projections.sweeper import Sweeper
from query_service.errors import ReadModelUnavailable
from query_service.freshness import Freshness
from query_service.generations import RegistryWatch
from query_service.views import Views
from read_models.checkpoints import Checkpoint
from read_models.connections import Connection, connect
from read_models.partitions import checkpoint_key
from read_models.registry import load_registry
from read_models.views import STOCK
from shopkeeper.inventory.v1.inventory_pb2 import Stock
from shopkeeper.inventory.v1.inventory_query_service_pb2 import GetStockRequest
from shopkeeper.ordering.v1.ordering_pb2 import ORDER_STATE_AWAITING_PAYMENT
from shopkeeper.ordering.v1.ordering_query_service_pb2 import ListOrdersByStateRequest
from tests.eventually import eventually
from tests.projections.shop_events import order_placed
from tests.query_service.conftest import Shop
from tests.read_side import Log, serving, settle, stock_moved

READER_COUNT = 8
SKU_IDS = [f"SKU-{n}" for n in range(16)]


class Readers:
    """Keeps reading, and counts what it is told; numbers must never fall."""

    def __init__(self, shop: Shop) -> None:
        self._shop = shop
        self._seen: dict[str, int] = {}
        self.codes: Counter[str] = Counter()
        self.went_back: list[tuple[str, int, int]] = []
        self.is_over = False

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        """Reads while the block runs."""
        tasks = [asyncio.create_task(self._read(n)) for n in range(READER_COUNT)]
        yield
        self.is_over = True
        await asyncio.gather(*tasks)

    async def _read(self, number: int) -> None:
        while not self.is_over:
            sku_id = SKU_IDS[number % len(SKU_IDS)]
            number += 1
            seen_before = self._seen.get(sku_id, 0)
            try:
                answer = await self._shop.inventory.GetStock(GetStockRequest(sku_id=sku_id))
            except grpc.aio.AioRpcError as error:
                self.codes[error.code().name] += 1
                continue
            self.codes["OK"] += 1
            shown = answer.stock.available
            if shown < seen_before:
                self.went_back.append((sku_id, seen_before, shown))
            self._seen[sku_id] = max(shown, self._seen.get(sku_id, 0))


@asynccontextmanager
async def sales(log: Log) -> AsyncIterator[Counter[str]]:
    """Events keep coming while the block runs; each SKU's number rises."""
    is_over = asyncio.Event()
    recorded: Counter[str] = Counter()

    async def sell() -> None:
        number = 1
        while not is_over.is_set():
            number += 1
            log.record(*(stock_moved(sku_id, number) for sku_id in SKU_IDS))
            recorded["last"] = number
            await asyncio.sleep(0.003)

    seller = asyncio.create_task(sell())
    yield recorded
    is_over.set()
    await seller


async def shown(shop: Shop) -> list[int] | None:
    try:
        answers = [await shop.inventory.GetStock(GetStockRequest(sku_id=sku_id)) for sku_id in SKU_IDS]
    except grpc.aio.AioRpcError:
        return None
    return [answer.stock.available for answer in answers]


async def test_flushed_under_load_nothing_that_exists_is_denied_and_all_comes_back(
    log: Log, shop: Shop, connection: Connection, at_work: Projector
) -> None:
    log.record(*(stock_moved(sku_id, 1) for sku_id in SKU_IDS))
    await eventually(lambda: is_shown(shop, 1))
    readers = Readers(shop)
    async with sales(log) as recorded, readers.at_work():
        for _ in range(3):
            await asyncio.sleep(0.2)
            await connection.call("FLUSHALL")
            await asyncio.sleep(0.2)
            await eventually(lambda: serves(connection))
    await eventually(lambda: is_shown(shop, recorded["last"]))
    assert set(readers.codes) == {"OK", "UNAVAILABLE"}
    assert readers.codes["OK"] > 10
    assert readers.went_back == []


async def test_rebuilt_under_writes_no_reader_sees_a_missing_or_an_older_value(
    log: Log, shop: Shop, connection: Connection, at_work: Projector, database_url: str
) -> None:
    log.record(*(stock_moved(sku_id, 1) for sku_id in SKU_IDS))
    await eventually(lambda: is_shown(shop, 1))
    rebuild = Rebuild(connection, LogReader(database_url))
    readers = Readers(shop)
    async with sales(log) as recorded, readers.at_work():
        old = await serving(connection)
        new = await rebuild.begin()
        await eventually(lambda: is_complete(rebuild, new))
        await rebuild.replace(new)
        await asyncio.sleep(0.3)
        await rebuild.switch(old)
        await asyncio.sleep(0.3)
        await rebuild.switch(new)
        await rebuild.drop(old)
        await Sweeper(connection).sweep()
        await asyncio.sleep(0.3)
    await eventually(lambda: is_shown(shop, recorded["last"]))
    await rebuild._reader.close()
    assert set(readers.codes) == {"OK"}
    assert readers.went_back == []


async def is_complete(rebuild: Rebuild, number: int) -> bool:
    return (await rebuild.progress(number)).is_complete


async def is_shown(shop: Shop, expected: int) -> bool:
    return await shown(shop) == [expected] * len(SKU_IDS)


async def serves(connection: Connection) -> bool:
    return (await load_registry(connection)).serving is not None


async def test_a_killed_redis_is_told_at_once_and_all_catches_up_when_it_is_back(
    log: Log, shop: Shop, read_models_server: EmbeddedValkey, at_work: Projector
) -> None:
    log.record(*(stock_moved(sku_id, 1) for sku_id in SKU_IDS))
    await eventually(lambda: is_shown(shop, 1))
    read_models_server.kill()
    try:
        for call, request in (
            (shop.inventory.GetStock, GetStockRequest(sku_id="SKU-1")),
            (
                shop.ordering.ListOrdersByState,
                ListOrdersByStateRequest(state=ORDER_STATE_AWAITING_PAYMENT),
            ),
        ):
            refusal = await shop.refusal(call(request))
            assert (refusal.code, refusal.reason) == ("UNAVAILABLE", "READ_MODEL_UNAVAILABLE")
            assert refusal.retry_seconds == 1.0
        log.record(*(stock_moved(sku_id, 2) for sku_id in SKU_IDS), order_placed("o"))
    finally:
        read_models_server.start()
    await eventually(lambda: is_shown(shop, 2), seconds=20)


@pytest.mark.parametrize("redis_answer_seconds_max", [0.2])
async def test_a_redis_that_hangs_is_given_a_fraction_of_a_second(
    log: Log, shop: Shop, read_models_server: EmbeddedValkey, projector: Projector
) -> None:
    log.record(*(stock_moved(sku_id, 1) for sku_id in SKU_IDS))
    await settle(projector)
    await eventually(lambda: is_shown(shop, 1))
    os.kill(read_models_server.pid, signal.SIGSTOP)
    try:
        begun = time.monotonic()
        refusals = await asyncio.gather(
            *(
                shop.refusal(shop.inventory.GetStock(GetStockRequest(sku_id=sku_id)))
                for sku_id in SKU_IDS
            )
        )
        # Without a limit of our own they would wait for as long as it hangs.
        assert time.monotonic() - begun < 20
        assert {each.reason for each in refusals} == {"READ_MODEL_UNAVAILABLE"}
    finally:
        os.kill(read_models_server.pid, signal.SIGCONT)
    await eventually(lambda: is_shown(shop, 1))


async def test_a_redis_that_hangs_is_told_within_the_deadline_of_a_hurried_caller(
    log: Log,
    read_models_server: EmbeddedValkey,
    read_models_url: str,
    projector: Projector,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # However slow this machine is, it is not what is at fault here.
    monkeypatch.setattr(query_service.views, "LATE_SECONDS", 30.0)
    log.record(stock_moved("SKU-1", 1))
    await settle(projector)
    patient = connect(read_models_url, answer_seconds_max=60.0)
    views = Views(patient, in_flight_max=10)
    loop = asyncio.get_running_loop()
    addresses = [STOCK.address("SKU-1")]
    assert await views.documents(addresses, Freshness(None, loop.time() + 30)) != [None]
    os.kill(read_models_server.pid, signal.SIGSTOP)
    try:
        begun = loop.time()
        with pytest.raises(ReadModelUnavailable):
            await views.documents(addresses, Freshness(None, loop.time() + 0.1))
        # The caller's deadline ended it, not the minute that Redis is given.
        assert loop.time() - begun < 30
    finally:
        os.kill(read_models_server.pid, signal.SIGCONT)
    await views.close()
    await patient.close()


async def test_who_has_not_heard_of_a_drop_sees_no_less_than_who_has(
    log: Log, connection: Connection, projector: Projector, database_url: str
) -> None:
    log.record(stock_moved("MUG", 1))
    await settle(projector)
    old = await serving(connection)
    unaware, aware = Views(connection, in_flight_max=10), Views(connection, in_flight_max=10)
    assert await available(unaware) == 1
    reader = LogReader(database_url)
    rebuild = Rebuild(connection, reader)
    new = await rebuild.begin()
    await settle(projector)
    await rebuild.replace(new)
    await rebuild.drop(old)
    log.record(stock_moved("MUG", 2))
    await settle(projector)
    assert await available(aware) == 2
    assert await available(unaware) == 2
    assert unaware._registry.known.serving == old, "or nothing was tested"
    await Sweeper(connection).sweep()
    await settle(projector)
    assert await available(unaware) == 2
    await reader.close()


async def available(views: Views) -> int:
    until = asyncio.get_running_loop().time() + 5
    [stored] = await views.documents([STOCK.address("MUG")], Freshness(None, until))
    assert stored is not None
    return Stock.FromString(stored).available


async def test_a_rebuild_after_a_flush_is_never_shown_half(
    log: Log, shop: Shop, connection: Connection, new_projector: Callable[..., Projector]
) -> None:
    log.record(*(stock_moved(sku_id, 1) for sku_id in SKU_IDS))
    projector = new_projector(batch_events_max=3)
    await settle(projector)
    assert await shown(shop) == [1] * len(SKU_IDS)
    await connection.call("FLUSHALL")
    round_count = 0
    while not await serves(connection):
        for sku_id in SKU_IDS:
            refusal = await shop.refusal(shop.inventory.GetStock(GetStockRequest(sku_id=sku_id)))
            assert refusal.reason == "READ_MODEL_REBUILDING"
        await projector.round()
        round_count += 1
    assert round_count > len(SKU_IDS) / 3
    assert await shown(shop) == [1] * len(SKU_IDS)


async def test_a_partition_that_is_not_complete_denies_nothing_though_its_generation_serves(
    log: Log, shop: Shop, connection: Connection, projector: Projector
) -> None:
    """The query service may know the registry of a second ago; the checkpoint is of this moment."""
    log.record(stock_moved("MUG", 1))
    await settle(projector)
    request = GetStockRequest(sku_id="NEVER-SEEN", at_least_as_fresh=log.token(1))
    unknown = await shop.refusal(shop.inventory.GetStock(request))
    assert (unknown.code, unknown.reason) == ("NOT_FOUND", "STOCK_NOT_FOUND")

    key = checkpoint_key(await serving(connection), STOCK.address("NEVER-SEEN").partition)
    checkpoint = Checkpoint.parse(await connection.call("GET", key))
    assert checkpoint is not None
    await connection.call("SET", key, str(replace(checkpoint, is_complete=False)))
    refusal = await shop.refusal(shop.inventory.GetStock(request))
    assert (refusal.code, refusal.reason) == ("UNAVAILABLE", "READ_MODEL_REBUILDING")
    assert refusal.retry_seconds == 2.0
    # A server of a cluster may have come back with what it had saved while the generation was filled.
    await settle(projector)
    unknown = await shop.refusal(shop.inventory.GetStock(request))
    assert (unknown.code, unknown.reason) == ("NOT_FOUND", "STOCK_NOT_FOUND")


async def test_a_look_at_the_registry_that_all_gave_up_on_fails_in_silence(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with asyncio.timeout(30):
        async with silent_server() as address:
            away = connect(f"redis://{address}/0", answer_seconds_max=0.2)
            watch = RegistryWatch(away)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.05):
                    await watch.refresh()
            await asyncio.sleep(0.5)
            await watch.close()
            await away.close()
    gc.collect()
    assert [record for record in caplog.records if record.name == "asyncio"] == []


@asynccontextmanager
async def silent_server() -> AsyncIterator[str]:
    """Takes connections and never says a word."""
    writers: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda _, writer: writers.append(writer), "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    yield f"{host}:{port}"
    for writer in writers:
        writer.close()
    server.close()
