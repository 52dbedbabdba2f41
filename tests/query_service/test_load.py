"""Many callers at once: they share what they wait for, and are told the truth when they are too many."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest

import query_service.views
from projections.projector import Projector
from query_service.errors import ReadModelUnavailable, TooManyQueries
from query_service.freshness import CheckpointWatch, Freshness
from query_service.server import QueryServer
from query_service.settings import Settings
from query_service.views import Views
from read_models.checkpoints import Checkpoint, Token
from read_models.connections import Connection
from read_models.partitions import checkpoint_key
from read_models.pipelining import Argument, Command, TooManyQuestions
from read_models.registry import REGISTRY_KEY
from read_models.views import STOCK
from shopkeeper.inventory.v1.inventory_query_service_pb2 import GetStockRequest
from tests.eventually import eventually
from tests.query_service.conftest import Shop
from tests.read_side import Log, serving, settle, stock_moved

CALLERS = 500
MUG = STOCK.address("MUG")


class CountingConnection(Connection):
    """Passes everything on, and counts what asks for each key."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.asked: Counter[Argument] = Counter()

    async def call(self, *command: Argument) -> Any:
        return (await self.call_all([command]))[0]

    async def call_all(self, commands: Sequence[Command]) -> list[Any]:
        self.asked.update(command[1] for command in commands)
        return await self._connection.call_all(commands)


@asynccontextmanager
async def callers(views: Views, token: Token) -> AsyncIterator[list[asyncio.Task[list[bytes | None]]]]:
    """`CALLERS` callers with this token, who have a minute, or as long as the block lasts."""
    wanted = Freshness(token, asyncio.get_running_loop().time() + 60)
    tasks = [asyncio.create_task(views.documents([MUG], wanted)) for _ in range(CALLERS)]
    yield tasks
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    await views.close()


async def asked_a_second(counting: CountingConnection, key: str) -> float:
    """How often a key is asked for while nothing else happens, over some looks."""
    before, begun = counting.asked[key], time.monotonic()

    async def is_asked_enough() -> bool:
        return counting.asked[key] >= before + 20

    await eventually(is_asked_enough, seconds=30)
    return (counting.asked[key] - before) / (time.monotonic() - begun)


async def nobody_asks_any_more(counting: CountingConnection, key: str) -> None:
    async def is_quiet() -> bool:
        before = counting.asked[key]
        await asyncio.sleep(0.1)
        return counting.asked[key] == before

    await eventually(is_quiet, seconds=30)


async def test_all_who_wait_for_another_incarnation_share_one_look_at_the_registry(
    log: Log, connection: Connection, projector: Projector
) -> None:
    log.record(stock_moved("MUG", 1))
    await settle(projector)
    counting = CountingConnection(connection)
    views = Views(counting, in_flight_max=CALLERS)

    async def all_wait() -> bool:
        return len(views._registry._waiting) == CALLERS

    async with callers(views, Token("ffffffff", 1)):
        await eventually(all_wait, seconds=30)
        # Every 20 ms, as for a single one. The task that counts may come a look too late.
        assert await asked_a_second(counting, REGISTRY_KEY) < 2 / 0.02
        assert len(views._registry._waiting) == CALLERS
    await nobody_asks_any_more(counting, REGISTRY_KEY)


async def test_all_who_find_the_registry_old_share_one_look_at_it(
    log: Log, connection: Connection, projector: Projector
) -> None:
    log.record(stock_moved("MUG", 1))
    await settle(projector)
    counting = CountingConnection(connection)
    async with callers(Views(counting, in_flight_max=CALLERS), Token(log.incarnation(), 1)) as tasks:
        await asyncio.gather(*tasks)
    assert counting.asked[REGISTRY_KEY] < 10


async def test_all_who_wait_for_positions_share_one_look_at_the_checkpoint(
    log: Log, connection: Connection, projector: Projector
) -> None:
    log.record(stock_moved("MUG", 1))
    await settle(projector)
    key = checkpoint_key(await serving(connection), MUG.partition)
    counting = CountingConnection(connection)
    views = Views(counting, in_flight_max=CALLERS)

    async def all_wait() -> bool:
        return [len(goals) for goals in views._checkpoints._goals.values()] == [CALLERS]

    async with callers(views, Token(log.incarnation(), 10**17)):
        await eventually(all_wait, seconds=30)
        # Every 2 ms, as for a single one.
        assert await asked_a_second(counting, key) < 2 / 0.002
    await nobody_asks_any_more(counting, key)


class CountedPosition(int):
    """A position that counts how often it is compared."""

    compared_count = 0

    def __lt__(self, other: int) -> bool:
        CountedPosition.compared_count += 1
        return int(self) < int(other)

    def __gt__(self, other: int) -> bool:
        CountedPosition.compared_count += 1
        return int(self) > int(other)

    def __le__(self, other: int) -> bool:
        CountedPosition.compared_count += 1
        return int(self) <= int(other)

    def __ge__(self, other: int) -> bool:
        CountedPosition.compared_count += 1
        return int(self) >= int(other)

    def __eq__(self, other: object) -> bool:
        CountedPosition.compared_count += 1
        return int(self) == other

    __hash__ = int.__hash__


class StandingStill(Connection):
    """A server whose checkpoints do not move until they are told to."""

    def __init__(self) -> None:
        self.checkpoint = Checkpoint("0a1b2c3d", 5, is_complete=True)
        self.look_count = 0

    async def call_all(self, commands: Sequence[Command]) -> list[Any]:
        self.look_count += 1
        return [str(self.checkpoint).encode()] * len(commands)


async def test_a_look_does_not_compare_every_position_that_is_waited_for() -> None:
    server = StandingStill()
    watch = CheckpointWatch(server)
    until = asyncio.get_running_loop().time() + 60
    waiting = [
        asyncio.create_task(watch.reached(1, 0, CountedPosition(10 + number), until))
        for number in range(CALLERS)
    ]
    looks = await looks_begun(server)
    compared_before = CountedPosition.compared_count
    looks = await looks_begun(server) - looks
    assert CountedPosition.compared_count - compared_before < 10 * looks
    server.checkpoint = server.checkpoint.advanced(10 + CALLERS)
    assert await asyncio.gather(*waiting) == [True] * CALLERS
    await watch.close()


async def looks_begun(server: StandingStill) -> int:
    """Lets some looks happen, and returns how many there were ever."""
    enough = server.look_count + 20

    async def are_enough() -> bool:
        return server.look_count >= enough

    await eventually(are_enough, seconds=30)
    return server.look_count


async def test_who_waits_is_woken_at_its_own_position_and_no_other() -> None:
    server = StandingStill()
    watch = CheckpointWatch(server)
    until = asyncio.get_running_loop().time() + 60
    near, far = (asyncio.create_task(watch.reached(1, 0, each, until)) for each in (8, 9))
    elsewhere = asyncio.create_task(watch.reached(1, 1, 8, until))
    server.checkpoint = server.checkpoint.advanced(8)
    assert await near
    assert await elsewhere
    assert not far.done()
    far.cancel()
    await watch.close()


async def test_nothing_is_kept_of_those_who_gave_up() -> None:
    watch = CheckpointWatch(StandingStill())
    now = asyncio.get_running_loop().time()
    patient = asyncio.create_task(watch.reached(1, 0, 10**17, now + 60))
    hurried = [watch.reached(1, n % 16, 10**17 + n, now + 0.05) for n in range(CALLERS)]
    gone = asyncio.create_task(watch.reached(1, 0, 10**17, now + 60))
    await asyncio.sleep(0)
    gone.cancel()
    assert await asyncio.gather(*hurried) == [False] * CALLERS
    assert [len(goals) for goals in watch._goals.values()] == [1]
    patient.cancel()
    await watch.close()


@pytest.fixture
async def small_shop(read_models_url: str) -> Any:
    """A client of a query service that works on ten queries at once, no more."""
    settings = Settings(
        redis_url=read_models_url,
        query_address="127.0.0.1:0",
        query_redis_answer_seconds_max=30.0,
        query_in_flight_max=10,
    )
    server = QueryServer(settings)
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        yield Shop(channel)
    await server.drain()


async def test_a_query_too_many_is_refused_as_overload_and_the_next_is_answered(
    log: Log, small_shop: Shop, projector: Projector
) -> None:
    position = log.record(stock_moved("MUG", 1))
    await settle(projector)
    far = GetStockRequest(sku_id="MUG", at_least_as_fresh=log.token(position + 1))
    waiting = [
        asyncio.create_task(small_shop.refusal(small_shop.inventory.GetStock(far))) for _ in range(20)
    ]
    refusals = await asyncio.gather(*waiting)
    assert Counter((each.code, each.reason, each.retry_seconds) for each in refusals) == {
        ("RESOURCE_EXHAUSTED", "TOO_MANY_QUERIES", 0.1): 10,
        ("UNAVAILABLE", "READ_MODEL_BEHIND", 0.2): 10,
    }
    assert (await small_shop.inventory.GetStock(GetStockRequest(sku_id="MUG"))).stock.available == 1


# However slow the machine is: callers and service share one process here.
@pytest.mark.usefixtures("unhurried")
async def test_two_thousand_lookups_at_once_are_answered(
    log: Log, shop: Shop, projector: Projector
) -> None:
    log.record(stock_moved("MUG", 1))
    await settle(projector)
    answers = await asyncio.gather(
        *(shop.inventory.GetStock(GetStockRequest(sku_id="MUG")) for _ in range(2000))
    )
    assert {answer.stock.available for answer in answers} == {1}


class NeverAnswers(Connection):
    """A server that never answers; blocks this process meanwhile if told to."""

    def __init__(self, *, blocks_seconds: float) -> None:
        self._blocks_seconds = blocks_seconds

    async def call(self, *_command: Argument) -> Any:
        loop = asyncio.get_running_loop()
        if self._blocks_seconds:
            loop.call_soon(time.sleep, self._blocks_seconds)
        await loop.create_future()


@pytest.mark.parametrize(
    ("blocks_seconds", "late_seconds", "told"),
    [(0.0, 30.0, ReadModelUnavailable), (0.5, 0.05, TooManyQueries)],
)
async def test_a_process_that_comes_too_late_itself_does_not_blame_redis(
    monkeypatch: pytest.MonkeyPatch, blocks_seconds: float, late_seconds: float, told: type[Exception]
) -> None:
    monkeypatch.setattr(query_service.views, "LATE_SECONDS", late_seconds)
    views = Views(NeverAnswers(blocks_seconds=blocks_seconds), in_flight_max=1)
    wanted = Freshness(None, asyncio.get_running_loop().time() + 0.1)
    with pytest.raises(told):
        await views.documents([MUG], wanted)


class IsAskedTooMuch(Connection):
    """A server before which as many questions wait as may."""

    def __init__(self) -> None:
        pass

    async def call(self, *_command: Argument) -> Any:
        raise TooManyQuestions


async def test_who_would_wait_behind_those_who_gave_up_is_told_of_too_many() -> None:
    views = Views(IsAskedTooMuch(), in_flight_max=1)
    wanted = Freshness(None, asyncio.get_running_loop().time() + 10)
    with pytest.raises(TooManyQueries):
        await views.documents([MUG], wanted)
