"""What each query asks of Redis: one trip, however much it is about, and never more than two."""

from collections.abc import Sequence
from typing import Any

import pytest
from google.protobuf.descriptor_pool import Default
from google.protobuf.message import Message

from projections.projector import Projector
from query_service.server import SERVICES, QueryServer
from shopkeeper.cart.v1.cart_query_service_pb2 import GetCartRequest
from shopkeeper.catalog.v1.catalog_query_service_pb2 import GetProductRequest, GetSkuRequest
from shopkeeper.inventory.v1.inventory_query_service_pb2 import BatchGetStockRequest, GetStockRequest
from shopkeeper.ordering.v1.ordering_pb2 import ORDER_STATE_AWAITING_PAYMENT
from shopkeeper.ordering.v1.ordering_query_service_pb2 import (
    GetOrderRequest,
    ListCustomerOrdersRequest,
    ListOrdersByStateRequest,
)
from shopkeeper.payment.v1.payment_events_pb2 import PaymentStarted
from shopkeeper.payment.v1.payment_pb2 import Payment
from shopkeeper.payment.v1.payment_query_service_pb2 import GetOrderMoneyRequest, GetPaymentRequest
from shopkeeper.pricing.v1.pricing_query_service_pb2 import BatchGetPricesRequest, GetPricesRequest
from tests.projections.shop_events import (
    cart_changed,
    cart_created,
    cart_line,
    order_placed,
    prices_changed,
    product_upserted,
    sku_upserted,
)
from tests.query_service.conftest import Shop
from tests.read_side import Log, settle, stock_moved

pytestmark = pytest.mark.usefixtures("unhurried")

SKU_IDS = [f"SKU-{number}" for number in range(100)]

TRIPS: list[tuple[Message, int]] = [
    (GetProductRequest(product_id="p"), 1),
    (GetSkuRequest(sku_id=SKU_IDS[0]), 1),
    (GetPricesRequest(sku_id=SKU_IDS[0]), 1),
    (BatchGetPricesRequest(sku_ids=SKU_IDS), 1),
    (GetStockRequest(sku_id=SKU_IDS[0]), 1),
    (BatchGetStockRequest(sku_ids=SKU_IDS), 1),
    (GetCartRequest(cart_id="c"), 1),
    # What is in it, and then the stock of that.
    (GetCartRequest(cart_id="c", include_stock=True), 2),
    (GetOrderRequest(order_id="o-0"), 1),
    (ListCustomerOrdersRequest(customer_id="ada"), 1),
    (ListOrdersByStateRequest(state=ORDER_STATE_AWAITING_PAYMENT), 1),
    (GetPaymentRequest(payment_id="o-0.1"), 1),
    (GetOrderMoneyRequest(order_id="o-0"), 1),
]


def path_by_request_type() -> dict[str, str]:
    """Every query RPC."""
    services = [Default().FindServiceByName(name) for name in SERVICES]
    return {
        method.input_type.full_name: f"/{service.full_name}/{method.name}"
        for service in services
        for method in service.methods
    }


@pytest.fixture
def read_models_url(redis_url: str) -> str:
    """A single server: a cluster is asked in as many trips at once as it has servers."""
    return redis_url


@pytest.fixture
def trips(server: QueryServer, monkeypatch: pytest.MonkeyPatch) -> list[Sequence[Any]]:
    """The commands of each trip. Nobody looks for another generation meanwhile."""
    found: list[Sequence[Any]] = []
    redis_server = server._connection._server
    assert redis_server is not None
    call_all = redis_server.call_all

    async def watched(commands: Sequence[Any]) -> list[Any]:
        found.append(commands)
        return await call_all(commands)

    monkeypatch.setattr(redis_server, "call_all", watched)
    monkeypatch.setattr("query_service.generations.REGISTRY_SECONDS_MAX", 1e9)
    return found


async def test_each_query_takes_its_trips_and_no_more(
    log: Log, shop: Shop, projector: Projector, trips: list[Sequence[Any]]
) -> None:
    payment = Payment(payment_id="o-0.1", order_id="o-0", currency_code="GBP", amount_minor=400)
    log.record(product_upserted("p"), cart_created("c"), PaymentStarted(payment=payment))
    log.record(*(order_placed(f"o-{number}", minutes=number) for number in range(50)))
    log.record(*(sku_upserted(sku_id, "p") for sku_id in SKU_IDS))
    log.record(*(prices_changed(sku_id, 250) for sku_id in SKU_IDS))
    log.record(*(stock_moved(sku_id, 1) for sku_id in SKU_IDS))
    log.record(cart_changed("c", *(cart_line(sku_id, 1, sku_id) for sku_id in SKU_IDS)))
    await settle(projector)
    paths = path_by_request_type()
    assert {request.DESCRIPTOR.full_name for request, _ in TRIPS} == paths.keys()

    async def ask(request: Message) -> int:
        call: Any = shop.channel.unary_unary(paths[request.DESCRIPTOR.full_name])
        before = len(trips)
        assert await call(request.SerializeToString())
        return len(trips) - before

    await ask(TRIPS[0][0])
    taken = [(request, await ask(request)) for request, _ in TRIPS]
    assert taken == TRIPS
