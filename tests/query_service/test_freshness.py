"""A token is kept: what is answered is never older, and nobody waits for ever."""

import asyncio
import time
from collections.abc import Callable
from typing import cast

import grpc
import pytest

from projections.projector import Projector
from query_service.freshness import Freshness
from query_service.server import QueryServer
from query_service.views import Views
from read_models.checkpoints import Token
from read_models.connections import Connection
from read_models.views import STOCK
from serving.interceptor import ServicerContext
from shopkeeper.inventory.v1.inventory_pb2 import Stock
from shopkeeper.inventory.v1.inventory_query_service_pb2 import (
    BatchGetStockRequest,
    GetStockRequest,
)
from tests.eventually import eventually
from tests.query_service.conftest import Shop
from tests.read_side import Log, serving, settle, stock_moved


async def available(shop: Shop, sku_id: str, token: str = "") -> int:
    request = GetStockRequest(sku_id=sku_id, at_least_as_fresh=token)
    return int((await shop.inventory.GetStock(request)).stock.available)


async def test_each_of_a_thousand_writes_is_seen_by_the_query_that_follows_it(
    log: Log, shop: Shop, at_work: Projector
) -> None:
    log.record(stock_moved("QUIET", 1))
    for number in range(1, 1001):
        # One SKU changes, so that fifteen partitions have no traffic: they must keep up as well.
        token = log.token(log.record(stock_moved("HOT", number)))
        hot, quiet = await asyncio.gather(available(shop, "HOT", token), available(shop, "QUIET", token))
        assert (hot, quiet) == (number, 1)


async def test_many_wait_for_one_position_at_once(log: Log, shop: Shop, projector: Projector) -> None:
    position = log.record(*(stock_moved(f"SKU-{n}", n) for n in range(50)))
    await settle(projector)
    token = log.token(position + 50)
    waiting = [asyncio.ensure_future(available(shop, f"SKU-{n}", token)) for n in range(50)]
    await asyncio.sleep(0.05)
    assert not any(each.done() for each in waiting)
    log.record(*(stock_moved(f"SKU-{n}", n + 1) for n in range(50)))
    await settle(projector)
    assert await asyncio.gather(*waiting) == [n + 1 for n in range(50)]


async def test_a_position_that_is_not_reached_is_refused_at_the_deadline(
    log: Log, shop: Shop, projector: Projector, monkeypatch: pytest.MonkeyPatch
) -> None:
    # On a busy machine the way back takes longer than the 20 ms that are left for it.
    monkeypatch.setattr("query_service.freshness.ANSWER_MARGIN_SECONDS", 1.0)
    position = log.record(stock_moved("MUG", 1))
    await settle(projector)
    request = GetStockRequest(sku_id="MUG", at_least_as_fresh=log.token(position + 1))
    # Told before the deadline: after it the code would be DEADLINE_EXCEEDED.
    refusal = await shop.refusal(shop.inventory.GetStock(request, timeout=2.5))
    assert (refusal.code, refusal.reason) == ("UNAVAILABLE", "READ_MODEL_BEHIND")
    assert refusal.retry_seconds == 0.2


class WithoutDeadline:
    """A call whose caller has set none."""

    def time_remaining(self) -> None:
        pass


@pytest.mark.parametrize("wait_seconds_max", [0.05])
async def test_nobody_waits_longer_than_the_service_is_set_to(
    log: Log, server: QueryServer, shop: Shop, projector: Projector
) -> None:
    position = log.record(stock_moved("MUG", 1))
    await settle(projector)
    before = asyncio.get_running_loop().time()
    until = server._views.freshness("", cast("ServicerContext", WithoutDeadline())).until
    assert before + 0.05 <= until <= asyncio.get_running_loop().time() + 0.05
    request = GetStockRequest(sku_id="MUG", at_least_as_fresh=log.token(position + 10**17))
    begun = time.monotonic()
    refusal = await shop.refusal(shop.inventory.GetStock(request, timeout=60))
    # Far below the deadline, however slow the machine is.
    assert 0.04 < time.monotonic() - begun < 30
    assert refusal.reason == "READ_MODEL_BEHIND"


@pytest.mark.parametrize(
    "text",
    [
        *("x", "1", "aaaaaaaa", "aaaaaaaa.", "aaaaaaaa.-1", "AAAAAAAA.1", "aaaaaaaa.1 "),
        *("aaaaaaaa.1\n", "aaaaaaaa.\N{ARABIC-INDIC DIGIT ONE}", "aaaaaaaa." + "9" * 19, "aaaaaaa.1"),
    ],
)
async def test_what_was_never_a_token_is_an_invalid_argument(
    log: Log, shop: Shop, projector: Projector, text: str
) -> None:
    await settle(projector)
    request = GetStockRequest(sku_id="MUG", at_least_as_fresh=text)
    refusal = await shop.refusal(shop.inventory.GetStock(request))
    assert (refusal.code, refusal.fields) == ("INVALID_ARGUMENT", ["at_least_as_fresh"])


async def test_after_a_restore_old_tokens_are_refused_and_new_ones_are_kept(
    log: Log, shop: Shop, at_work: Projector
) -> None:
    kept = log.record(stock_moved("MUG", 1))
    old_token = log.token(log.record(stock_moved("MUG", 2)))
    assert await available(shop, "MUG", old_token) == 2
    log.restore(kept)
    new_token = log.token(log.record(stock_moved("MUG", 7)))

    # Unavailable at most, never refused for good: a client would throw its token away.
    await eventually(lambda: is_shown(shop, "MUG", 7, new_token))
    request = GetStockRequest(sku_id="MUG", at_least_as_fresh=old_token)
    refusal = await shop.refusal(shop.inventory.GetStock(request))
    assert (refusal.code, refusal.reason) == ("FAILED_PRECONDITION", "LOG_INCARNATION_CHANGED")


async def test_a_token_older_than_the_log_is_refused_also_if_nobody_remembers_it(
    log: Log, shop: Shop, projector: Projector
) -> None:
    log.record(stock_moved("MUG", 1))
    await settle(projector)
    request = GetStockRequest(sku_id="MUG", at_least_as_fresh="00000000.1")
    refusal = await shop.refusal(shop.inventory.GetStock(request))
    assert (refusal.code, refusal.reason) == ("FAILED_PRECONDITION", "LOG_INCARNATION_CHANGED")


async def test_a_token_of_a_log_that_the_views_have_not_heard_of_is_asked_for_again_and_then_kept(
    log: Log, shop: Shop, projector: Projector
) -> None:
    kept = log.record(stock_moved("MUG", 1))
    await settle(projector)
    log.restore(kept)
    token = log.token(log.record(stock_moved("MUG", 7)))
    # The projector is down: nobody can tell yet, and the client must not throw its token away.
    request = GetStockRequest(sku_id="MUG", at_least_as_fresh=token)
    refusal = await shop.refusal(shop.inventory.GetStock(request))
    assert (refusal.code, refusal.reason) == ("UNAVAILABLE", "READ_MODEL_BEHIND")
    assert refusal.retry_seconds == 0.2
    await settle(projector)
    assert await available(shop, "MUG", token) == 7


async def test_who_waits_for_a_new_log_is_answered_once_the_views_tell_it(
    log: Log, connection: Connection, projector: Projector
) -> None:
    kept = log.record(stock_moved("MUG", 1))
    await settle(projector)
    log.restore(kept)
    token = Token.parse(log.token(log.record(stock_moved("MUG", 7))))
    views = Views(connection, in_flight_max=1)
    wanted = Freshness(token, asyncio.get_running_loop().time() + 60)
    waiting = asyncio.create_task(views.documents([STOCK.address("MUG")], wanted))

    async def waits() -> bool:
        return bool(views._registry._waiting)

    await eventually(waits, seconds=30)
    await settle(projector)
    [view] = await waiting
    assert Stock.FromString(view or b"").available == 7
    await views.close()


async def test_a_batch_is_as_fresh_as_asked_in_every_partition(
    log: Log, shop: Shop, at_work: Projector
) -> None:
    sku_ids = [f"SKU-{n}" for n in range(100)]
    for number in range(1, 6):
        token = log.token(log.record(*(stock_moved(sku_id, number) for sku_id in sku_ids)))
        answer = await shop.inventory.BatchGetStock(
            BatchGetStockRequest(sku_ids=sku_ids, at_least_as_fresh=token)
        )
        assert {stock.available for stock in answer.stock} == {number}
        assert len(answer.stock) == 100


async def test_a_generation_that_is_not_complete_denies_nothing(
    log: Log,
    shop: Shop,
    connection: Connection,
    new_projector: Callable[..., Projector],
) -> None:
    refusal = await shop.refusal(shop.inventory.GetStock(GetStockRequest(sku_id="SKU-1")))
    assert (refusal.code, refusal.reason) == ("UNAVAILABLE", "READ_MODEL_REBUILDING")
    log.record(*(stock_moved(f"SKU-{n}", n) for n in range(20)))
    projector = new_projector(batch_events_max=5)
    # One round begins the generation, the second fills a part of it.
    for _ in range(2):
        await projector.round()
    refusal = await shop.refusal(shop.inventory.GetStock(GetStockRequest(sku_id="SKU-19")))
    assert (refusal.code, refusal.reason) == ("UNAVAILABLE", "READ_MODEL_REBUILDING")
    assert refusal.retry_seconds == 2.0
    await settle(projector)
    assert await serving(connection)
    await eventually(lambda: is_shown(shop, "SKU-19", 19))


async def is_shown(shop: Shop, sku_id: str, expected: int, token: str = "") -> bool:
    """False while the views are unavailable; any other refusal fails the test."""
    try:
        return await available(shop, sku_id, token) == expected
    except grpc.aio.AioRpcError as error:
        if error.code() is not grpc.StatusCode.UNAVAILABLE:
            raise
        return False
