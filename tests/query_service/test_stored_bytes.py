"""A view is answered as the bytes that are stored: nothing parses them and writes them again."""

from typing import Any

import pytest
from google.protobuf.message import DecodeError, Message

from projections.projector import Projector
from query_service.wire import embedded
from read_models.connections import Connection
from read_models.entries import Place, to_member
from read_models.partitions import PARTITIONS, DocumentAddress, key_of
from read_models.views import (
    CART,
    ORDER,
    PRICES,
    PRODUCT,
    SKU,
    STOCK,
    cart_skus_address,
    customer_orders_name,
    orders_by_state_name,
    to_cart_skus,
)
from shopkeeper.cart.v1.cart_pb2 import Cart
from shopkeeper.cart.v1.cart_query_service_pb2 import GetCartRequest
from shopkeeper.catalog.v1.catalog_query_service_pb2 import GetProductRequest, GetSkuRequest
from shopkeeper.inventory.v1.inventory_query_service_pb2 import BatchGetStockRequest, GetStockRequest
from shopkeeper.ordering.v1.ordering_pb2 import ORDER_STATE_PAID
from shopkeeper.ordering.v1.ordering_query_service_pb2 import (
    GetOrderRequest,
    ListCustomerOrdersRequest,
    ListOrdersByStateRequest,
)
from shopkeeper.pricing.v1.pricing_query_service_pb2 import BatchGetPricesRequest, GetPricesRequest
from tests.query_service.conftest import Shop
from tests.read_side import Log, serving, settle, stock_moved

pytestmark = pytest.mark.usefixtures("unhurried")

NO_MESSAGE = b"\xff\xff no parser takes this \xff"


def test_the_bytes_of_these_tests_are_no_message() -> None:
    with pytest.raises(DecodeError):
        Cart.FromString(NO_MESSAGE)


@pytest.fixture
async def generation(log: Log, projector: Projector, connection: Connection) -> int:
    """The one that serves."""
    log.record(stock_moved("MUG", 1))
    await settle(projector)
    return await serving(connection)


async def answered(shop: Shop, path: str, request: Message) -> bytes:
    """The response as it comes over the wire."""
    call: Any = shop.channel.unary_unary(f"/shopkeeper.{path}")
    response: bytes = await call(request.SerializeToString(), timeout=30)
    return response


@pytest.mark.parametrize(
    ("path", "request_", "address"),
    [
        (
            "catalog.v1.CatalogQueryService/GetProduct",
            GetProductRequest(product_id="x"),
            PRODUCT.address("x"),
        ),
        ("catalog.v1.CatalogQueryService/GetSku", GetSkuRequest(sku_id="x"), SKU.address("x")),
        ("pricing.v1.PricingQueryService/GetPrices", GetPricesRequest(sku_id="x"), PRICES.address("x")),
        (
            "pricing.v1.PricingQueryService/BatchGetPrices",
            BatchGetPricesRequest(sku_ids=["none", "x"]),
            PRICES.address("x"),
        ),
        ("inventory.v1.InventoryQueryService/GetStock", GetStockRequest(sku_id="x"), STOCK.address("x")),
        (
            "inventory.v1.InventoryQueryService/BatchGetStock",
            BatchGetStockRequest(sku_ids=["none", "x"]),
            STOCK.address("x"),
        ),
        ("cart.v1.CartQueryService/GetCart", GetCartRequest(cart_id="x"), CART.address("x")),
        ("ordering.v1.OrderingQueryService/GetOrder", GetOrderRequest(order_id="x"), ORDER.address("x")),
    ],
    ids=lambda value: value.partition("/")[2] if isinstance(value, str) else None,
)
async def test_a_document_is_answered_as_it_is_stored(
    shop: Shop,
    connection: Connection,
    generation: int,
    path: str,
    request_: Message,
    address: DocumentAddress,
) -> None:
    await connection.call("SET", key_of(generation, *address), NO_MESSAGE)
    assert await answered(shop, path, request_) == embedded(1, NO_MESSAGE)


async def test_a_cart_and_its_stock_are_answered_as_they_are_stored(
    shop: Shop, connection: Connection, generation: int
) -> None:
    for address, value in (
        (CART.address("x"), NO_MESSAGE),
        (cart_skus_address("x"), to_cart_skus(["sku"])),
        (STOCK.address("sku"), NO_MESSAGE[::-1]),
    ):
        await connection.call("SET", key_of(generation, *address), value)
    request = GetCartRequest(cart_id="x", include_stock=True)
    answer = await answered(shop, "cart.v1.CartQueryService/GetCart", request)
    assert answer == embedded(1, NO_MESSAGE) + embedded(2, NO_MESSAGE[::-1])


@pytest.mark.parametrize(
    ("method", "request_", "name"),
    [
        (
            "ListCustomerOrders",
            ListCustomerOrdersRequest(customer_id="ada"),
            customer_orders_name("ada"),
        ),
        (
            "ListOrdersByState",
            ListOrdersByStateRequest(state=ORDER_STATE_PAID),
            orders_by_state_name(ORDER_STATE_PAID),
        ),
    ],
    ids=["ListCustomerOrders", "ListOrdersByState"],
)
async def test_a_summary_is_listed_as_it_is_stored(
    shop: Shop, connection: Connection, generation: int, method: str, request_: Message, name: str
) -> None:
    member = to_member(Place(0, "o1").sort_key, NO_MESSAGE)
    for partition in PARTITIONS:
        await connection.call("ZADD", key_of(generation, partition, name), 0, member)
    answer = await answered(shop, f"ordering.v1.OrderingQueryService/{method}", request_)
    partition_count = 1 if method == "ListCustomerOrders" else len(PARTITIONS)
    assert answer == embedded(1, NO_MESSAGE) * partition_count
