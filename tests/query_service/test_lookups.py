"""Each lookup answers with the view as it is stored, and names what there is not."""

from typing import Any

import pytest
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from projections.projector import Projector
from query_service.server import SERVICES
from query_service.wire import embedded, varint
from shopkeeper.cart.v1.cart_events_pb2 import CartForgotten
from shopkeeper.cart.v1.cart_query_service_pb2 import GetCartRequest
from shopkeeper.catalog.v1.catalog_query_service_pb2 import (
    GetProductRequest,
    GetSkuRequest,
    ProductView,
)
from shopkeeper.inventory.v1.inventory_query_service_pb2 import BatchGetStockRequest
from shopkeeper.ordering.v1.ordering_pb2 import ORDER_STATE_PAID
from shopkeeper.ordering.v1.ordering_query_service_pb2 import (
    GetOrderRequest,
    ListCustomerOrdersRequest,
    ListOrdersByStateRequest,
)
from shopkeeper.pricing.v1.pricing_query_service_pb2 import (
    BatchGetPricesRequest,
    GetPricesRequest,
)
from tests.projections.shop_events import (
    cart_changed,
    cart_closed,
    cart_created,
    cart_line,
    order,
    order_placed,
    prices_changed,
    product_upserted,
    sku,
    sku_upserted,
)
from tests.query_service.conftest import Shop
from tests.read_side import Log, settle, stock_moved

pytestmark = pytest.mark.usefixtures("unhurried")


async def test_every_kind_of_view_is_found_by_its_id(log: Log, shop: Shop, projector: Projector) -> None:
    prices = prices_changed("MUG", 250)
    log.record(
        product_upserted("p"), sku_upserted("MUG", "p"), prices, cart_created("c"), order_placed("o")
    )
    await settle(projector)
    product = (await shop.catalog.GetProduct(GetProductRequest(product_id="p"))).product
    assert product == ProductView(product=product_upserted("p").product, skus=[sku("MUG", "p")])
    assert (await shop.catalog.GetSku(GetSkuRequest(sku_id="MUG"))).sku == sku("MUG", "p")
    found = await shop.pricing.GetPrices(GetPricesRequest(sku_id="MUG"))
    assert found.prices == prices.prices
    batch = await shop.pricing.BatchGetPrices(BatchGetPricesRequest(sku_ids=["CUP", "MUG", "MUG"]))
    assert list(batch.prices) == [prices.prices, prices.prices]
    assert (await shop.cart.GetCart(GetCartRequest(cart_id="c"))).cart == cart_created("c").cart
    assert (await shop.ordering.GetOrder(GetOrderRequest(order_id="o"))).order == order("o")


async def test_a_cart_comes_with_the_stock_of_its_skus_when_asked(
    log: Log, shop: Shop, projector: Projector
) -> None:
    lines = (cart_line("a", 1, "MUG"), cart_line("b", 1, "NEVER-HAD"), cart_line("c", 1, "CUP"))
    log.record(cart_created("c"), cart_changed("c", *lines), stock_moved("MUG", 3))
    log.record(stock_moved("CUP", 0), cart_created("empty"))
    await settle(projector)
    plain = await shop.cart.GetCart(GetCartRequest(cart_id="c"))
    assert (len(plain.cart.lines), len(plain.stock)) == (3, 0)
    joined = await shop.cart.GetCart(GetCartRequest(cart_id="c", include_stock=True))
    assert joined.cart == plain.cart
    assert [(each.sku_id, each.available) for each in joined.stock] == [("MUG", 3), ("CUP", 0)]
    empty = await shop.cart.GetCart(GetCartRequest(cart_id="empty", include_stock=True))
    assert list(empty.stock) == []
    log.record(stock_moved("MUG", 1))
    await settle(projector)
    later = await shop.cart.GetCart(GetCartRequest(cart_id="c", include_stock=True))
    assert later.stock[0].available == 1


async def test_a_cart_of_an_id_that_was_forgotten_just_before_is_shown_as_it_is_now(
    log: Log, shop: Shop, projector: Projector
) -> None:
    """All of it in one batch, as a batch of commands may have it."""
    of_old = cart_changed("c", cart_line("a", 1, "MUG"))
    ended = (cart_closed("c"), CartForgotten(cart_id="c"))
    log.record(stock_moved("MUG", 3), cart_created("c"), of_old, *ended, cart_created("c"))
    await settle(projector)
    found = await shop.cart.GetCart(GetCartRequest(cart_id="c", include_stock=True))
    assert found.cart == cart_created("c").cart
    assert list(found.stock) == []


@pytest.mark.parametrize(
    ("service", "method", "request_", "reason"),
    [
        ("catalog", "GetProduct", GetProductRequest(product_id="x"), "PRODUCT_NOT_FOUND"),
        ("catalog", "GetSku", GetSkuRequest(sku_id="x"), "SKU_NOT_FOUND"),
        ("pricing", "GetPrices", GetPricesRequest(sku_id="x"), "PRICES_NOT_FOUND"),
        ("cart", "GetCart", GetCartRequest(cart_id="x", include_stock=True), "CART_NOT_FOUND"),
        ("ordering", "GetOrder", GetOrderRequest(order_id="x"), "ORDER_NOT_FOUND"),
    ],
)
async def test_what_there_is_not_is_named(
    log: Log, shop: Shop, projector: Projector, service: str, method: str, request_: Any, reason: str
) -> None:
    await settle(projector)
    refusal = await shop.refusal(getattr(getattr(shop, service), method)(request_))
    assert (refusal.code, refusal.reason) == ("NOT_FOUND", reason)


@pytest.mark.parametrize(
    ("service", "method", "request_", "field"),
    [
        ("catalog", "GetProduct", GetProductRequest(), "product_id"),
        ("catalog", "GetSku", GetSkuRequest(sku_id="x" * 65), "sku_id"),
        ("catalog", "GetSku", GetSkuRequest(sku_id="a\0b"), "sku_id"),
        (
            "cart",
            "GetCart",
            GetCartRequest(cart_id="c", at_least_as_fresh="x" * 101),
            "at_least_as_fresh",
        ),
        ("inventory", "BatchGetStock", BatchGetStockRequest(), "sku_ids"),
        ("inventory", "BatchGetStock", BatchGetStockRequest(sku_ids=["a"] * 1001), "sku_ids"),
        ("inventory", "BatchGetStock", BatchGetStockRequest(sku_ids=["a", ""]), "sku_ids[1]"),
        ("ordering", "ListOrdersByState", ListOrdersByStateRequest(), "state"),
        ("ordering", "ListOrdersByState", ListOrdersByStateRequest.FromString(b"\x08\x63"), "state"),
        (
            "ordering",
            "ListOrdersByState",
            ListOrdersByStateRequest(state=ORDER_STATE_PAID, page_size=-1),
            "page_size",
        ),
        (
            "ordering",
            "ListOrdersByState",
            ListOrdersByStateRequest(state=ORDER_STATE_PAID, page_size=201),
            "page_size",
        ),
        ("ordering", "ListCustomerOrders", ListCustomerOrdersRequest(), "customer_id"),
    ],
)
async def test_bad_input_is_an_invalid_argument_that_names_the_field(
    shop: Shop, service: str, method: str, request_: Any, field: str
) -> None:
    refusal = await shop.refusal(getattr(getattr(shop, service), method)(request_))
    assert (refusal.code, refusal.fields) == ("INVALID_ARGUMENT", [field])


@pytest.mark.parametrize("body", [b"\xff\xff\xff", b"\x0a\x03\xed\xa0\x80", b"\x0a\x7f"])
async def test_bytes_that_are_no_request_are_an_invalid_argument(shop: Shop, body: bytes) -> None:
    call: Any = shop.channel.unary_unary("/shopkeeper.catalog.v1.CatalogQueryService/GetSku")
    refusal = await shop.refusal(call(body))
    assert (refusal.code, refusal.fields) == ("INVALID_ARGUMENT", ["request"])


async def test_every_service_is_healthy(shop: Shop) -> None:
    health: Any = HealthStub(shop.channel)
    for service in ("", *SERVICES):
        answer = await health.Check(HealthCheckRequest(service=service))
        assert answer.status == HealthCheckResponse.SERVING


@pytest.mark.parametrize("length", [0, 1, 127, 128, 16_383, 16_384, 3_000_000])
def test_lengths_of_any_size_are_put_before_the_bytes(length: int) -> None:
    body = bytes(length)
    message = embedded(1, body)
    assert message == b"\x0a" + varint(length) + body
    decoded = sum((byte & 0x7F) << 7 * at for at, byte in enumerate(varint(length)))
    assert decoded == length
