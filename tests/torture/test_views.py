"""What the log leaves to be seen is what answers are held against: both are told in the same facts."""

from typing import Any

import pytest
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from projections import contexts
from shopkeeper.cart.v1.cart_events_pb2 import CartChanged, CartClosed, CartCreated, CartForgotten
from shopkeeper.cart.v1.cart_pb2 import CART_STATE_OPEN, CART_STATE_ORDERED, Cart
from shopkeeper.cart.v1.cart_query_service_pb2 import GetCartResponse
from shopkeeper.catalog.v1.catalog_events_pb2 import ProductUpserted, SkuUpserted
from shopkeeper.catalog.v1.catalog_pb2 import Product, Sku
from shopkeeper.catalog.v1.catalog_query_service_pb2 import GetProductResponse, ProductView
from shopkeeper.ordering.v1.ordering_events_pb2 import OrderExpired, OrderPlaced, OrderProgress
from shopkeeper.ordering.v1.ordering_pb2 import (
    ORDER_STATE_AWAITING_PAYMENT,
    ORDER_STATE_EXPIRED,
    Order,
    OrderSummary,
)
from shopkeeper.ordering.v1.ordering_query_service_pb2 import (
    GetOrderResponse,
    ListCustomerOrdersResponse,
)
from shopkeeper.payment.v1.payment_events_pb2 import PaymentChanged, PaymentStarted, RefundRequested
from shopkeeper.payment.v1.payment_pb2 import PAYMENT_STATE_CAPTURED, OrderMoney, Payment, Refund
from shopkeeper.payment.v1.payment_query_service_pb2 import GetOrderMoneyResponse, GetPaymentResponse
from shopkeeper.pricing.v1.pricing_events_pb2 import SkuPricesChanged
from shopkeeper.pricing.v1.pricing_pb2 import Price, PriceTier, SkuPrices
from shopkeeper.pricing.v1.pricing_query_service_pb2 import GetPricesResponse
from shopkeeper.types.v1.money_pb2 import Money
from tests.torture.views import (
    ABSENT,
    CART,
    CONTEXTS,
    LISTED,
    MONEY,
    ORDER,
    PAYMENT,
    PRICES,
    PRODUCT,
    SKU,
    Retelling,
    State,
    seen_in,
)

TOTAL = Money(currency_code="GBP", amount_minor=500)
PLACED = Timestamp(seconds=1)


def retold(*events: Message) -> dict[tuple[str, str], State]:
    """What is to be seen after all of them."""
    retelling = Retelling()
    return {
        (showing.view, showing.key): showing.state
        for position, event in enumerate(events, start=1)
        for showing in retelling.after(position, event)
    }


ORDERED = Order(
    order_id="o",
    etag="1",
    state=ORDER_STATE_AWAITING_PAYMENT,
    customer_id="ann",
    total=TOTAL,
    placed_time=PLACED,
)


def test_an_order_is_where_its_last_event_left_it_alone_and_in_lists() -> None:
    progress = OrderProgress(
        order_id="o", customer_id="ann", etag="2", state=ORDER_STATE_EXPIRED, paid_minor=5
    )
    shown = retold(OrderPlaced(order=ORDERED), OrderExpired(progress=progress))
    after = Order(order_id="o", etag="2", state=ORDER_STATE_EXPIRED, paid_minor=5)
    assert shown[ORDER, "o"] == seen_in(GetOrderResponse(order=after))[ORDER]["o"] == (2, 7, 5, 0)
    summary = OrderSummary(
        order_id="o", customer_id="ann", state=ORDER_STATE_EXPIRED, total=TOTAL, placed_time=PLACED
    )
    listed = seen_in(ListCustomerOrdersResponse(orders=[summary]))
    assert shown[LISTED, "o"] == listed[LISTED]["o"] == ("ann", 7, 500, 1_000_000)


def test_a_cart_is_open_until_it_is_closed_and_nothing_once_it_is_forgotten() -> None:
    made = CartCreated(cart=Cart(cart_id="c", etag="1", state=CART_STATE_OPEN))
    changed = CartChanged(cart_id="c", etag="2", total=TOTAL)
    closed = CartClosed(cart_id="c", etag="3", state=CART_STATE_ORDERED)
    after = Cart(cart_id="c", etag="3", state=CART_STATE_ORDERED, total=TOTAL)
    assert retold(made, changed)[CART, "c"] == (2, CART_STATE_OPEN, 500)
    seen = seen_in(GetCartResponse(cart=after))[CART]["c"]
    assert retold(made, changed, closed)[CART, "c"] == seen == (3, CART_STATE_ORDERED, 500)
    assert retold(made, CartForgotten(cart_id="c"))[CART, "c"] == ABSENT


def test_the_money_of_an_order_is_that_of_all_its_payments() -> None:
    first = Payment(payment_id="o.1", order_id="o", captured_minor=300, state=PAYMENT_STATE_CAPTURED)
    second = Payment(payment_id="o.2", order_id="o", captured_minor=200, state=PAYMENT_STATE_CAPTURED)
    given = Payment(payment_id="o.1", order_id="o", captured_minor=300, refunded_minor=100)
    refund = Refund(refund_id="o.r1", payment_id="o.1", order_id="o", amount_minor=100)
    shown = retold(
        PaymentStarted(payment=first),
        PaymentChanged(payment=second),
        RefundRequested(refund=refund, payment=given),
    )
    money = OrderMoney(
        order_id="o",
        captured_minor=500,
        refunded_minor=100,
        refundable_minor=400,
        payments=[given, second],
        refunds=[refund],
    )
    assert shown[MONEY, "o"] == seen_in(GetOrderMoneyResponse(money=money))[MONEY]["o"]
    assert shown[PAYMENT, "o.1"] == seen_in(GetPaymentResponse(payment=given))[PAYMENT]["o.1"]


def test_a_product_has_the_skus_that_have_not_left_it() -> None:
    products = [Product(product_id=name, title=name, active=True) for name in ("p", "q")]
    skus = [Sku(sku_id=name, product_id="p", title=name) for name in ("b", "a")]
    moved = Sku(sku_id="b", product_id="q", title="b")
    shown = retold(
        *(ProductUpserted(product=product) for product in products),
        *(SkuUpserted(sku=sku) for sku in skus),
        SkuUpserted(sku=moved, previous_product_id="p"),
    )
    for product, its_skus in [(products[0], [skus[1]]), (products[1], [moved])]:
        view = ProductView(product=product, skus=its_skus)
        key = product.product_id
        assert shown[PRODUCT, key] == seen_in(GetProductResponse(product=view))[PRODUCT][key]
    assert shown[SKU, "b"][0] == "q"


def test_a_sku_whose_last_price_is_gone_is_not_one_that_never_had_any() -> None:
    tiers = [PriceTier(min_quantity=1, unit_price_minor=250)]
    priced = SkuPrices(sku_id="s", prices=[Price(price_list_id="retail", tiers=tiers)])
    seen = seen_in(GetPricesResponse(prices=priced))[PRICES]["s"]
    assert retold(SkuPricesChanged(prices=priced))[PRICES, "s"] == seen == (1, "retail", 1, 250)
    assert retold(SkuPricesChanged(prices=SkuPrices(sku_id="s")))[PRICES, "s"] == (0,) != ABSENT


def test_the_views_of_all_contexts_but_inventory_are_retold() -> None:
    assert set(CONTEXTS) == set(contexts.CONTEXTS) - {"inventory"}


@pytest.mark.parametrize(
    "kind", [kind for name in CONTEXTS for kind in contexts.CONTEXTS[name].RETELLINGS]
)
def test_every_event_that_is_shown_is_retold(kind: type[Message]) -> None:
    beginnings = [
        OrderPlaced(order=Order(etag="1")),
        CartCreated(cart=Cart(etag="1")),
        ProductUpserted(product=Product()),
    ]
    event: Any = next((each for each in beginnings if isinstance(each, kind)), kind())
    for name in ("progress", "order", "cart"):
        if name in event.DESCRIPTOR.fields_by_name:
            getattr(event, name).etag = "2"
    if "etag" in event.DESCRIPTOR.fields_by_name:
        event.etag = "2"
    retelling = Retelling()
    for each in beginnings:
        assert list(retelling.after(1, each))
    assert list(retelling.after(2, event))
