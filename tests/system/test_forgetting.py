"""What is older than it has to be is forgotten by itself, in the tables and in what queries show."""

from contextlib import closing

import grpc
import pytest
import redis

from ops.verify import verify
from shopkeeper.cart.v1.cart_query_service_pb2 import GetCartRequest
from shopkeeper.cart.v1.cart_query_service_pb2_grpc import CartQueryServiceStub
from shopkeeper.ordering.v1.ordering_history_service_pb2 import ExplainOrderTotalRequest
from shopkeeper.ordering.v1.ordering_history_service_pb2_grpc import OrderingHistoryServiceStub
from shopkeeper.ordering.v1.ordering_query_service_pb2 import GetOrderRequest
from shopkeeper.ordering.v1.ordering_query_service_pb2_grpc import OrderingQueryServiceStub
from tests.eventually import eventually
from tests.system.client import DEADLINE_SECONDS, Client, new_id, place_request, reason_of
from tests.system.conftest import WholeShop, running_shop

RETENTION = {
    "CART_IDLE_SECONDS": "3",
    "CART_RETENTION_SECONDS": "1",
    "REQUEST_RETENTION_SECONDS": "2",
    "RETENTION_PAUSE_SECONDS": "0.1",
    "QUERY_REDIS_ANSWER_SECONDS_MAX": "10",
}
PATIENCE_SECONDS = 60


async def cart_shown(shop: WholeShop, cart_id: str) -> str:
    """What the query service says of a cart: its state, or why there is none."""
    async with grpc.aio.insecure_channel(shop.query_address) as channel:
        try:
            request = GetCartRequest(cart_id=cart_id)
            found = await CartQueryServiceStub(channel).GetCart(request, timeout=DEADLINE_SECONDS)
        except grpc.aio.AioRpcError as error:
            return reason_of(error)
    return str(found.cart.state)


async def test_closed_carts_and_old_answers_go_and_orders_and_their_explanations_stay(
    database_url: str, redis_url: str
) -> None:
    async with running_shop(database_url, redis_url, **RETENTION) as shop:
        async with Client(shop.command_address) as client:
            await client.open_shop(["sku"], 10)
            left_alone = (await client.fill_cart({"sku": 1})).cart_id
            bought = await client.fill_cart({"sku": 2})
            order = await client.place(bought)

            async def is_forgotten() -> bool:
                # In the tables as well: views that are behind do not show what there is yet either.
                kept = shop.fetch("SELECT cart_id, is_forgotten FROM carts")
                shown = [await cart_shown(shop, each) for each in (left_alone, bought.cart_id)]
                return kept == [(bought.cart_id, True)] and shown == ["CART_NOT_FOUND"] * 2

            await eventually(is_forgotten, seconds=PATIENCE_SECONDS)
            assert shop.fetch("SELECT count(*) FROM cart_lines") == [(0,)]
            await assert_order_is_whole(shop, order.order_id)
            await assert_ids_are_free_but_for_the_order_s(client, left_alone, bought.cart_id)

            async def answers_are_forgotten() -> bool:
                old = "create_time < now() - interval '30 seconds'"
                return shop.fetch(f"SELECT count(*) FROM requests WHERE {old}") == [(0,)]

            await eventually(answers_are_forgotten, seconds=PATIENCE_SECONDS)
            [(kept,)] = shop.fetch("SELECT count(*) < (SELECT count(*) FROM events) FROM requests")
            assert kept, "answers were forgotten"
        await assert_views_begun_anew_are_the_same(shop)
        broken = shop.fetch("SELECT invariant FROM broken_invariants()")
        assert [name for (name,) in broken if not _is_of_a_moment(str(name))] == []


async def assert_order_is_whole(shop: WholeShop, order_id: str) -> None:
    """What is known of an order does not hang on its cart."""
    async with (
        grpc.aio.insecure_channel(shop.query_address) as queries,
        grpc.aio.insecure_channel(shop.environment["HISTORY_ADDRESS"]) as history,
    ):
        found = await OrderingQueryServiceStub(queries).GetOrder(
            GetOrderRequest(order_id=order_id), timeout=DEADLINE_SECONDS
        )
        explained = await OrderingHistoryServiceStub(history).ExplainOrderTotal(
            ExplainOrderTotalRequest(order_id=order_id), timeout=DEADLINE_SECONDS
        )
    assert [(line.sku_id, line.quantity) for line in found.order.lines] == [("sku", 2)]
    assert explained.total.amount_minor == sum(step.amount_minor for step in explained.steps) == 500


async def assert_ids_are_free_but_for_the_order_s(client: Client, free: str, taken: str) -> None:
    again = await client.fill_cart({"sku": 1}, cart_id=free)
    await client.place(again)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await client.fill_cart({"sku": 1}, cart_id=taken)
    assert reason_of(refused.value) == "CART_ALREADY_EXISTS"
    again.cart_id = taken
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await client.ordering.PlaceOrder(
            place_request(again, request_id=new_id()), timeout=DEADLINE_SECONDS
        )
    assert reason_of(refused.value) == "CART_NOT_OPEN"


async def assert_views_begun_anew_are_the_same(shop: WholeShop) -> None:
    """The log alone makes them: emptied, Redis comes to show what the tables say, and no more."""
    with closing(redis.Redis.from_url(shop.redis_url)) as connection:
        connection.flushall()

    async def is_rebuilt() -> bool:
        return await cart_shown(shop, "no-such-cart") == "CART_NOT_FOUND"

    await eventually(is_rebuilt, seconds=PATIENCE_SECONDS)
    found = await verify(shop.database_url, shop.redis_url, on_progress=lambda _what, _done, _of: None)
    assert [each for each in found if not _is_of_a_moment(each.check)] == []


def _is_of_a_moment(check: str) -> bool:
    """Whether a rule speaks of seconds, which a machine under load may need."""
    return check.endswith("_overdue")
