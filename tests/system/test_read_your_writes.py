"""A query at least as fresh as a command's token sees that command, always, and does not hang."""

import asyncio
from collections import Counter

import grpc
import psycopg
import pytest

from shopkeeper.cart.v1 import cart_query_service_pb2 as cart_pb
from shopkeeper.cart.v1 import cart_query_service_pb2_grpc as cart_grpc
from shopkeeper.inventory.v1 import inventory_command_service_pb2 as inventory_pb
from shopkeeper.inventory.v1 import inventory_query_service_pb2 as stock_pb
from shopkeeper.inventory.v1 import inventory_query_service_pb2_grpc as stock_grpc
from shopkeeper.inventory.v1.inventory_pb2 import ReservationLine
from tests.eventually import eventually
from tests.system.client import Client, new_id, reason_of
from tests.system.conftest import WholeShop

WRITERS = 64
WRITES_EACH = 157
QUIET_SKUS = [f"quiet-{index}" for index in range(64)]


class Queries:
    """The query services, over a connection of their own."""

    def __init__(self, address: str) -> None:
        options = (("grpc.use_local_subchannel_pool", 1),)
        self.channel = grpc.aio.insecure_channel(address, options=options)
        self.stock = stock_grpc.InventoryQueryServiceStub(self.channel)
        self.cart = cart_grpc.CartQueryServiceStub(self.channel)

    async def available(self, sku_id: str, token: str) -> int:
        request = stock_pb.GetStockRequest(sku_id=sku_id, at_least_as_fresh=token)
        return (await self.stock.GetStock(request, timeout=10)).stock.available


@pytest.mark.timeout(240)
async def test_10000_writes_each_followed_by_a_read_are_all_seen(whole_shop: WholeShop) -> None:
    # Each writer has a SKU of its own and knows what must be left; every tenth read asks for the
    # same token on a SKU in a partition that has no traffic.
    hot = [f"hot-{index}" for index in range(WRITERS)]
    stale: Counter[str] = Counter()
    async with Client(whole_shop.command_address) as client:
        await client.open_shop(hot + QUIET_SKUS, 1_000_000)

        async def write_and_read(index: int) -> int:
            queries = Queries(whole_shop.query_address)
            sku_id, left, token = hot[index], 1_000_000, ""
            for turn in range(WRITES_EACH):
                reserve = inventory_pb.ReserveStockRequest(
                    request_id=new_id(),
                    reservation_id=new_id(),
                    reference="auction",
                    lines=[ReservationLine(sku_id=sku_id, quantity=1)],
                )
                reserve.hold_duration.seconds = 3600
                token = (await client.inventory.ReserveStock(reserve, timeout=20)).consistency_token
                left -= 1
                seen = await queries.available(sku_id, token)
                stale[sku_id] += seen != left
                if turn % 10 == 0:
                    quiet = await queries.available(QUIET_SKUS[(index + turn) % 64], token)
                    stale["quiet"] += quiet != 1_000_000
            await queries.channel.close()
            return WRITES_EACH

        written = await asyncio.gather(*(write_and_read(index) for index in range(WRITERS)))
    assert sum(written) >= 10_000
    assert stale.total() == 0


async def test_a_refusal_carries_a_token_as_fresh_as_what_it_was_decided_on(
    whole_shop: WholeShop,
) -> None:
    queries = Queries(whole_shop.query_address)
    async with Client(whole_shop.command_address) as client:
        await client.open_shop(["sku"], 1)
        await client.place(await client.fill_cart({"sku": 1}))
        for _ in range(20):
            cart = await client.fill_cart({"sku": 1})
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await client.place(cart)
            assert reason_of(refused.value) == "OUT_OF_STOCK"
            token = dict(refused.value.trailing_metadata())["x-consistency-token"]
            assert await queries.available("sku", str(token)) == 0
    await queries.channel.close()


async def test_after_a_restore_old_tokens_and_checkpoints_are_refused(whole_shop: WholeShop) -> None:
    """The log goes back and gets a new incarnation, as after the restore of an older backup."""
    queries = Queries(whole_shop.query_address)
    async with Client(whole_shop.command_address) as client:
        await client.open_shop(["sku"], 5)
        cart = await client.fill_cart({"sku": 1})
        token = await token_of_a_write(client)
        assert await queries.available("sku", token) == 6
    with psycopg.connect(whole_shop.database_url, autocommit=True) as connection:
        connection.execute("UPDATE log_incarnation SET incarnation = 'ffffffff'")
    # Nobody is restarted: who runs must not hand out tokens of the log that was.
    async with Client(whole_shop.command_address) as client:
        fresh = await token_of_a_write(client)
        assert fresh.startswith("ffffffff.")
        # The views are told anew: until then they are unavailable, never older than asked.
        await eventually(lambda: is_available(queries, 7, fresh), seconds=60)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await queries.available("sku", token)
        assert reason_of(refused.value) == "LOG_INCARNATION_CHANGED"
        request = cart_pb.GetCartRequest(cart_id=cart.cart_id, at_least_as_fresh=fresh)
        assert (await queries.cart.GetCart(request, timeout=10)).cart == cart
    await queries.channel.close()


async def is_available(queries: Queries, quantity: int, token: str) -> bool:
    """False while the views are rebuilt; a wrong number fails at once."""
    try:
        seen = await queries.available("sku", token)
    except grpc.aio.AioRpcError as error:
        if error.code() is not grpc.StatusCode.UNAVAILABLE:
            raise
        return False
    assert seen == quantity
    return True


async def token_of_a_write(client: Client) -> str:
    rows = [inventory_pb.StockRow(sku_id="sku", location_id="main", quantity=1)]
    request = inventory_pb.ReceiveStockRequest(request_id=new_id(), rows=rows)
    return (await client.inventory.ReceiveStock(request, timeout=20)).consistency_token
