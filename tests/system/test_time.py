"""What time alone does, over real processes: from the clock through events to what queries show."""

import os
import statistics
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from ops.services import free_addresses
from ops.supervisor import Deployment
from shopkeeper.cart.v1.cart_command_service_pb2 import RepriceCartRequest
from shopkeeper.cart.v1.cart_pb2 import CART_STATE_EXPIRED, Cart
from shopkeeper.cart.v1.cart_query_service_pb2 import GetCartRequest
from shopkeeper.cart.v1.cart_query_service_pb2_grpc import CartQueryServiceStub
from shopkeeper.inventory.v1.inventory_command_service_pb2 import ReserveStockRequest
from shopkeeper.inventory.v1.inventory_pb2 import ReservationLine
from shopkeeper.inventory.v1.inventory_query_service_pb2 import GetStockRequest
from shopkeeper.inventory.v1.inventory_query_service_pb2_grpc import InventoryQueryServiceStub
from shopkeeper.ordering.v1.ordering_pb2 import ORDER_STATE_EXPIRED, Order
from shopkeeper.ordering.v1.ordering_query_service_pb2 import GetOrderRequest
from shopkeeper.ordering.v1.ordering_query_service_pb2_grpc import OrderingQueryServiceStub
from shopkeeper.pricing.v1 import pricing_command_service_pb2 as pricing_pb
from shopkeeper.pricing.v1.pricing_pb2 import PercentageOff, PriceList, PriceTier, Promotion
from shopkeeper.pricing.v1.pricing_query_service_pb2 import GetPricesRequest
from shopkeeper.pricing.v1.pricing_query_service_pb2_grpc import PricingQueryServiceStub
from tests.eventually import eventually
from tests.system.client import DEADLINE_SECONDS, PRICE_MINOR, Client, new_id, reason_of
from tests.system.conftest import WholeShop

SALE_PRICE_MINOR = 200
UNTIL_IT_OPENS = timedelta(seconds=2)
OPEN_FOR = timedelta(seconds=4)
PATIENCE_SECONDS = 20.0
"""For what should take one: the machine may be busy with other tests."""


@pytest.fixture
async def shop(
    database_url: str, redis_url: str, request: pytest.FixtureRequest
) -> AsyncIterator[WholeShop]:
    """All services; the fixture's parameter holds further settings."""
    servers = {"DATABASE_URL": database_url, "REDIS_URL": redis_url}
    environment = {**os.environ, **servers, **getattr(request, "param", {}), **free_addresses()}
    async with Deployment(environment) as deployment:
        yield WholeShop(database_url, redis_url, environment, deployment)


@pytest.fixture
async def client(shop: WholeShop) -> AsyncIterator[Client]:
    async with Client(shop.command_address) as client:
        await client.open_shop(["sku"], 10)
        yield client


class Shown:
    """What the query service shows by itself: nobody asks for it to be fresh."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stock = InventoryQueryServiceStub(channel)
        self._cart = CartQueryServiceStub(channel)
        self._ordering = OrderingQueryServiceStub(channel)
        self._pricing = PricingQueryServiceStub(channel)

    async def available(self) -> int:
        request = GetStockRequest(sku_id="sku")
        return (await self._stock.GetStock(request, timeout=DEADLINE_SECONDS)).stock.available

    async def cart_state(self, cart_id: str) -> int:
        request = GetCartRequest(cart_id=cart_id)
        return (await self._cart.GetCart(request, timeout=DEADLINE_SECONDS)).cart.state

    async def order_state(self, order_id: str) -> int:
        request = GetOrderRequest(order_id=order_id)
        return (await self._ordering.GetOrder(request, timeout=DEADLINE_SECONDS)).order.state

    async def prices_minor(self) -> list[int]:
        """Of one unit in each list that is in force, best first."""
        request = GetPricesRequest(sku_id="sku")
        answer = await self._pricing.GetPrices(request, timeout=DEADLINE_SECONDS)
        return [price.tiers[0].unit_price_minor for price in answer.prices.prices]


@pytest.fixture
async def shown(shop: WholeShop, client: Client) -> AsyncIterator[Shown]:
    async with grpc.aio.insecure_channel(shop.query_address) as channel:
        shown = Shown(channel)
        # What passes by within seconds is missed by views that have yet to be begun.
        await until(shown.available, 10)
        yield shown


async def until(ask: Callable[[], Awaitable[object]], expected: object) -> None:
    """Waits for an answer: also for what is not shown at all yet."""

    async def is_so() -> bool:
        try:
            return bool(await ask() == expected)
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.NOT_FOUND:
                raise
            return False

    await eventually(is_so, seconds=PATIENCE_SECONDS)


def seconds_late(shop: WholeShop, event_type: str, expiry_table: str) -> list[float]:
    """Of each such event: how long after the time that the table holds it was recorded."""
    key = f"{expiry_table.removesuffix('s')}_id"
    rows = shop.fetch(
        f"SELECT extract(epoch FROM e.recorded_time - t.expire_time)::float8 FROM events e"
        f" JOIN {expiry_table} t ON t.{key} = e.key WHERE e.type = '{event_type}'",
    )
    return [float(str(seconds)) for (seconds,) in rows]


async def test_an_unpaid_order_expires_within_a_second_and_its_stock_is_shown_again(
    shop: WholeShop, client: Client, shown: Shown
) -> None:
    orders: list[Order] = []
    for _ in range(7):
        cart = await client.fill_cart({"sku": 1})
        orders.append(await client.place(cart, hold_duration=timedelta(seconds=1)))

    async def states() -> set[int]:
        return {await shown.order_state(order.order_id) for order in orders}

    await until(states, {ORDER_STATE_EXPIRED})
    await until(shown.available, 10)
    late = seconds_late(shop, "shopkeeper.ordering.v1.OrderExpired", "orders")
    assert len(late) == len(orders)
    assert min(late) >= 0
    assert statistics.median(late) < 1
    assert shop.fetch("SELECT reserved, on_hand FROM stock_levels") == [(0, 10)]


async def test_a_hold_that_nobody_commits_is_given_back(
    shop: WholeShop, client: Client, shown: Shown
) -> None:
    lines = [ReservationLine(sku_id="sku", quantity=4)]
    request = ReserveStockRequest(
        request_id=new_id(), reservation_id="ebay", reference="auction", lines=lines
    )
    request.hold_duration.FromTimedelta(timedelta(seconds=3))
    await client.inventory.ReserveStock(request, timeout=DEADLINE_SECONDS)
    await until(shown.available, 6)
    await until(shown.available, 10)
    [late] = seconds_late(shop, "shopkeeper.inventory.v1.ReservationReleased", "reservations")
    assert late >= 0


@pytest.mark.parametrize("shop", [{"CART_IDLE_SECONDS": "2"}], indirect=True)
async def test_a_cart_that_nobody_comes_back_to_expires_and_takes_no_more(
    shop: WholeShop, client: Client, shown: Shown
) -> None:
    cart = await client.fill_cart({"sku": 1})
    await until(lambda: shown.cart_state(cart.cart_id), CART_STATE_EXPIRED)
    [late] = seconds_late(shop, "shopkeeper.cart.v1.CartClosed", "carts")
    assert late >= 0
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await client.add_line(cart.cart_id, "sku", 1)
    assert reason_of(refused.value) == "CART_NOT_OPEN"


# --- windows -----------------------------------------------------------------------------------


async def open_a_sale(client: Client, start: datetime, end: datetime) -> None:
    """A price list that goes before the usual one while it lasts."""
    sale = PriceList(
        price_list_id="sale",
        title="Sale",
        currency_code="GBP",
        priority=9,
        start_time=timestamp(start),
        end_time=timestamp(end),
    )
    tier = PriceTier(min_quantity=1, unit_price_minor=SALE_PRICE_MINOR)
    row = pricing_pb.PriceRow(sku_id="sku", tiers=[tier])
    await client.pricing.UpsertPriceLists(
        pricing_pb.UpsertPriceListsRequest(request_id=new_id(), price_lists=[sale]),
        timeout=DEADLINE_SECONDS,
    )
    await client.pricing.UpsertPrices(
        pricing_pb.UpsertPricesRequest(request_id=new_id(), price_list_id="sale", rows=[row]),
        timeout=DEADLINE_SECONDS,
    )


def timestamp(moment: datetime) -> Timestamp:
    found = Timestamp()
    found.FromDatetime(moment)
    return found


async def repriced(client: Client, cart: Cart) -> Cart:
    request = RepriceCartRequest(request_id=new_id(), cart_id=cart.cart_id)
    return (await client.cart.RepriceCart(request, timeout=DEADLINE_SECONDS)).cart


async def test_a_price_window_opens_and_closes_by_itself_for_carts_and_for_queries(
    shop: WholeShop, client: Client, shown: Shown
) -> None:
    cart = await client.fill_cart({"sku": 1})
    start = datetime.now(UTC) + UNTIL_IT_OPENS
    end = start + OPEN_FOR
    await open_a_sale(client, start, end)
    assert (await repriced(client, cart)).total.amount_minor == PRICE_MINOR
    seen = []
    for prices in ([PRICE_MINOR], [SALE_PRICE_MINOR, PRICE_MINOR], [PRICE_MINOR]):
        await until(shown.prices_minor, prices)
        cart = await repriced(client, cart)
        seen.append((cart.total.amount_minor, cart.HasField("prices_valid_until")))
    assert seen == [(PRICE_MINOR, True), (SALE_PRICE_MINOR, True), (PRICE_MINOR, False)]
    told = shop.fetch(
        "SELECT recorded_time FROM events WHERE actor = 'price window worker'"
        " AND type = 'shopkeeper.pricing.v1.SkuPricesChanged' ORDER BY position",
    )
    [(opened,), (closed,)] = told
    assert start <= opened < end <= closed  # type: ignore[operator]


async def test_a_promotion_opens_and_closes_by_itself_and_both_are_events(
    shop: WholeShop, client: Client
) -> None:
    cart = await client.fill_cart({"sku": 1})
    start = datetime.now(UTC) + UNTIL_IT_OPENS
    promotion = Promotion(
        promotion_id="half",
        title="Half price",
        percentage_off=PercentageOff(basis_points=5000),
        start_time=timestamp(start),
        end_time=timestamp(start + OPEN_FOR),
        active=True,
    )
    await client.pricing.UpsertPromotions(
        pricing_pb.UpsertPromotionsRequest(request_id=new_id(), promotions=[promotion]),
        timeout=DEADLINE_SECONDS,
    )

    async def told_count() -> object:
        return shop.fetch(
            "SELECT count(*) FROM events WHERE actor = 'price window worker'"
            " AND type = 'shopkeeper.pricing.v1.PromotionUpserted' AND key = 'half'",
        )

    totals = [(await repriced(client, cart)).total.amount_minor]
    for event_count in (1, 2):
        await until(told_count, [(event_count,)])
        totals.append((await repriced(client, cart)).total.amount_minor)
    assert totals == [PRICE_MINOR, PRICE_MINOR // 2, PRICE_MINOR]
