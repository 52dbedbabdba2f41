"""ReadEvents: what happened, in order, and what happens next."""

import asyncio

import grpc
import pytest

import event_log.reader
from shopkeeper.inventory.v1.inventory_events_pb2 import StockMoved
from shopkeeper.log.v1.log_service_pb2 import ReadEventsRequest, ReadEventsResponse
from shopkeeper.log.v1.log_service_pb2_grpc import LogServiceStub
from tests.eventually import eventually
from tests.history_service.conftest import History, Refused, serving
from tests.history_service.stored_shop import Line, StoredShop


async def read(history: History, request: ReadEventsRequest) -> list[ReadEventsResponse]:
    return [event async for event in history.log.ReadEvents(request)]


async def refusal(history: History, request: ReadEventsRequest) -> Refused:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await read(history, request)
    return Refused(caught.value)


async def test_events_are_streamed_in_order_and_then_the_stream_ends(
    shop: StoredShop, history: History
) -> None:
    shop.move("A", on_hand=1)
    shop.move("B", on_hand=2)
    events = await read(history, ReadEventsRequest())
    assert [(event.position, event.key) for event in events] == [(1, "A"), (2, "B")]
    assert events[0].context == "inventory"
    assert events[0].type == "shopkeeper.inventory.v1.StockMoved"
    assert StockMoved.FromString(events[0].payload).sku_id == "A"
    assert events[0].actor == "tester"
    assert events[0].recorded_time.ToSeconds() == int(shop.now.timestamp())


async def test_a_token_is_where_to_go_on(shop: StoredShop, history: History) -> None:
    for sku_id in "ABC":
        shop.move(sku_id, on_hand=1)
    events = await read(history, ReadEventsRequest())
    rest = await read(history, ReadEventsRequest(after_token=events[0].token))
    assert [event.key for event in rest] == ["B", "C"]
    assert await read(history, ReadEventsRequest(after_token=events[2].token)) == []


async def test_more_events_than_one_read_brings_are_all_streamed(
    shop: StoredShop, history: History
) -> None:
    shop.execute("""
        INSERT INTO events SELECT n, now(), 'inventory', 'x', 'A', '', 'tester', gen_random_uuid()
        FROM generate_series(1, 2500) AS n""")
    events = await read(history, ReadEventsRequest())
    assert [event.position for event in events] == list(range(1, 2501))


async def test_a_rare_event_is_found_behind_many_others_and_those_of_its_context_that_follow(
    shop: StoredShop, history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_log.reader, "LOOKED_THROUGH_MAX", 100)
    shop.execute("""
        INSERT INTO events
        SELECT n, now(), CASE WHEN n = 777 THEN 'ordering' ELSE 'inventory' END, 'x', 'A', '', 'tester',
               gen_random_uuid()
        FROM generate_series(1, 1200) AS n""")
    events = await read(history, ReadEventsRequest(contexts=["ordering"]))
    assert [event.position for event in events] == [777]
    call = history.log.ReadEvents(ReadEventsRequest(contexts=["ordering"], follow=True), timeout=20)
    heard = aiter(call)
    assert (await anext(heard)).position == 777
    shop.execute("""
        INSERT INTO events
        VALUES (1201, now(), 'ordering', 'x', 'A', '', 'tester', gen_random_uuid())""")
    assert (await anext(heard)).position == 1201
    call.cancel()


async def test_contexts_and_keys_filter(shop: StoredShop, history: History) -> None:
    shop.move("A", on_hand=5)
    shop.place("o1", [Line("A", 1)])
    ordering = await read(history, ReadEventsRequest(contexts=["ordering", "cart"]))
    assert [event.key for event in ordering] == ["o1"]
    stock = await read(history, ReadEventsRequest(key="A"))
    assert {event.key for event in stock} == {"A"}
    assert len(stock) == 2


async def test_a_follower_hears_of_what_is_committed_later(shop: StoredShop, history: History) -> None:
    shop.move("A", on_hand=1)
    call = history.log.ReadEvents(ReadEventsRequest(follow=True), timeout=20)
    heard = aiter(call)
    assert (await anext(heard)).key == "A"
    shop.move("B", on_hand=1)
    assert (await anext(heard)).key == "B"
    shop.execute("SELECT pg_notify('shopkeeper_events', '3')")
    shop.move("C", on_hand=1)
    assert (await anext(heard)).key == "C"
    call.cancel()


async def test_a_follower_with_a_filter_passes_over_the_rest(shop: StoredShop, history: History) -> None:
    call = history.log.ReadEvents(ReadEventsRequest(follow=True, key="B"), timeout=20)
    waiting = asyncio.ensure_future(anext(aiter(call)))
    for sku_id in "AAB":
        shop.move(sku_id, on_hand=1)
    assert (await waiting).position == 3
    call.cancel()


async def test_a_token_of_another_incarnation_is_refused(shop: StoredShop, history: History) -> None:
    failure = await refusal(history, ReadEventsRequest(after_token="00000000.0"))
    assert failure.code is grpc.StatusCode.FAILED_PRECONDITION
    assert failure.reason == "LOG_INCARNATION_CHANGED"


async def test_a_token_that_the_replica_has_yet_to_hear_of_is_worth_another_try(
    shop: StoredShop, history: History
) -> None:
    failure = await refusal(history, ReadEventsRequest(after_token="ffffffff.0"))
    assert failure.reason == "DATABASE_UNAVAILABLE"


async def test_a_follower_is_told_when_the_incarnation_changes(
    shop: StoredShop, history: History
) -> None:
    shop.move("A", on_hand=1)
    call = history.log.ReadEvents(ReadEventsRequest(follow=True), timeout=20)
    heard = aiter(call)
    await anext(heard)
    shop.execute("UPDATE log_incarnation SET incarnation = 'ffffffff'")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await anext(heard)
    assert Refused(caught.value).reason == "LOG_INCARNATION_CHANGED"


@pytest.mark.parametrize("token", ["x", "00000000.", "00000000.-1", "0000000g.1", "00000000.1\n"])
async def test_what_was_never_a_token_is_refused(history: History, token: str) -> None:
    failure = await refusal(history, ReadEventsRequest(after_token=token))
    assert failure.code is grpc.StatusCode.INVALID_ARGUMENT
    assert failure.fields == ["after_token"]


async def test_a_stream_too_many_is_refused_until_another_one_ends(
    shop: StoredShop, database_url: str
) -> None:
    shop.move("A", on_hand=1)
    async with serving(database_url, history_streams_max=2) as history:
        calls = [history.log.ReadEvents(ReadEventsRequest(follow=True), timeout=60) for _ in range(2)]
        for call in calls:
            await anext(aiter(call))
        busy = await refusal(history, ReadEventsRequest())
        assert (busy.code, busy.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "READERS_BUSY")
        calls[0].cancel()

        async def is_admitted() -> bool:
            try:
                return len(await read(history, ReadEventsRequest())) == 1
            except grpc.aio.AioRpcError as error:
                if Refused(error).reason != "READERS_BUSY":
                    raise
                return False

        await eventually(is_admitted)
        calls[1].cancel()


async def test_a_drain_ends_the_streams_that_follow(shop: StoredShop, database_url: str) -> None:
    shop.move("A", on_hand=1)
    async with serving(database_url) as history:
        # A channel of its own: that of `history` is closed as soon as the service has ended.
        channel = grpc.aio.insecure_channel(history.address)
        heard = aiter(LogServiceStub(channel).ReadEvents(ReadEventsRequest(follow=True), timeout=30))
        await anext(heard)
        ended = asyncio.ensure_future(anext(heard))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await ended
    await channel.close()
    failure = Refused(caught.value)
    assert (failure.code, failure.reason) == (grpc.StatusCode.UNAVAILABLE, "STREAM_ENDED")
    assert failure.has_retry_info
