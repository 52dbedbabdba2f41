"""What the read models must show, computed from the tables and not from the log."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from google.protobuf.message import Message

from command_service.cart.repository import CartRepository
from command_service.catalog.repository import ProductRepository, SkuRepository
from command_service.inventory.repository import StockRepository
from command_service.ordering.repository import OrderRepository
from command_service.payment.domain import order_id_of
from command_service.payment.repository import OrderPaymentsRepository
from command_service.pricing.domain import PRICE_BOOK_KEY, prices_in_force
from command_service.pricing.repository import PriceBookRepository, SkuPricesRepository
from event_log.codec import to_message
from ops.verify.tables import Tables
from read_models.partitions import Address
from read_models.views import (
    CART,
    ORDER,
    ORDER_MONEY,
    PAYMENT,
    PRICES,
    PRODUCT,
    SKU,
    STOCK,
    cart_skus_address,
    customer_order_address,
    order_by_state_address,
    order_place,
    to_cart_skus,
)
from shopkeeper.cart.v1.cart_pb2 import Cart
from shopkeeper.catalog.v1.catalog_pb2 import Product, Sku
from shopkeeper.catalog.v1.catalog_query_service_pb2 import ProductView
from shopkeeper.inventory.v1.inventory_pb2 import Stock
from shopkeeper.ordering.v1.ordering_pb2 import Order, OrderSummary
from shopkeeper.payment.v1.payment_pb2 import OrderMoney, Payment
from shopkeeper.pricing.v1.pricing_pb2 import SkuPrices

Views = dict[Address, Message | bytes]
"""What stands at each address: a message, or bytes that are none."""


@dataclass(frozen=True, slots=True)
class Source:
    """A kind of thing that has views, and how they are computed.

    ids: a query for the ids of all. views: those of some ids.
    """

    kind: str
    ids: str
    views: Callable[[Tables, Sequence[str]], Awaitable[Views]]


async def _products(tables: Tables, ids: Sequence[str]) -> Views:
    products = await tables.aggregates(ProductRepository(), ids)
    of_these = "SELECT sku_id FROM skus WHERE version > 0 AND product_id = ANY(%s::text[])"
    skus = await tables.aggregates(SkuRepository(), await tables.column(of_these, list(ids)))
    by_product = sorted(skus.values(), key=lambda sku: (sku.product_id, sku.sku_id))
    skus_by_product = {
        product_id: [to_message(sku, Sku) for sku in of_one]
        for product_id, of_one in groupby(by_product, key=lambda sku: sku.product_id)
    }
    return {
        PRODUCT.address(product_id): ProductView(
            product=to_message(product, Product), skus=skus_by_product.get(product_id, ())
        )
        for product_id, product in products.items()
    }


async def _skus(tables: Tables, ids: Sequence[str]) -> Views:
    skus = await tables.aggregates(SkuRepository(), ids)
    return {SKU.address(sku_id): to_message(sku, Sku) for sku_id, sku in skus.items()}


async def _prices(tables: Tables, ids: Sequence[str]) -> Views:
    book = (await tables.aggregates(PriceBookRepository(), [PRICE_BOOK_KEY]))[PRICE_BOOK_KEY]
    prices = await tables.aggregates(SkuPricesRepository(), ids)
    # A SKU that has no price any more is shown with none: see `differences.shown`.
    in_force = {sku_id: prices_in_force(of_one, book, tables.now) for sku_id, of_one in prices.items()}
    return {
        PRICES.address(sku_id): to_message(found, SkuPrices)
        for sku_id, found in in_force.items()
        if found.prices
    }


async def _stock(tables: Tables, ids: Sequence[str]) -> Views:
    stocks = await tables.aggregates(StockRepository(), ids)
    return {STOCK.address(sku_id): to_message(stock, Stock) for sku_id, stock in stocks.items()}


async def _carts(tables: Tables, ids: Sequence[str]) -> Views:
    views: Views = {}
    for cart_id, cart in (await tables.aggregates(CartRepository(), ids)).items():
        if cart.is_forgotten:
            continue
        views[CART.address(cart_id)] = to_message(cart, Cart)
        sku_ids = list(dict.fromkeys(line.sku_id for line in cart.lines))
        views[cart_skus_address(cart_id)] = to_cart_skus(sku_ids)
    return views


async def _orders(tables: Tables, ids: Sequence[str]) -> Views:
    views: Views = {}
    for order_id, order in (await tables.aggregates(OrderRepository(), ids)).items():
        view = to_message(order, Order)
        place = order_place(order_id, view.placed_time)
        summary = _summary(view)
        views[ORDER.address(order_id)] = view
        views[order_by_state_address(view.state, place)] = summary
        if view.customer_id:
            views[customer_order_address(view.customer_id, place)] = summary
    return views


async def _payments(tables: Tables, ids: Sequence[str]) -> Views:
    order_ids = sorted({order_id_of(payment_id) for payment_id in ids})
    found = await tables.aggregates(OrderPaymentsRepository(), order_ids)
    return {
        PAYMENT.address(payment.payment_id): to_message(payment, Payment)
        for of_order in found.values()
        for payment in of_order.payments
        if payment.payment_id in ids
    }


async def _order_money(tables: Tables, ids: Sequence[str]) -> Views:
    found = await tables.aggregates(OrderPaymentsRepository(), ids)
    return {
        ORDER_MONEY.address(order_id): to_message(of_order, OrderMoney)
        for order_id, of_order in found.items()
    }


def _summary(order: Order) -> OrderSummary:
    return OrderSummary(
        order_id=order.order_id,
        order_number=order.order_number,
        customer_id=order.customer_id,
        state=order.state,
        total=order.total,
        unit_count=sum(line.quantity for line in order.lines),
        placed_time=order.placed_time,
    )


SOURCES: Mapping[str, Source] = {
    source.kind: source
    for source in (
        Source("product", "SELECT product_id FROM products WHERE version > 0", _products),
        Source("sku", "SELECT sku_id FROM skus WHERE version > 0", _skus),
        Source("prices", "SELECT DISTINCT sku_id FROM prices", _prices),
        Source("stock", "SELECT DISTINCT sku_id FROM stock_levels", _stock),
        Source("cart", "SELECT cart_id FROM carts WHERE version > 0 AND NOT is_forgotten", _carts),
        Source("order", "SELECT order_id FROM orders", _orders),
        Source("payment", "SELECT payment_id FROM payments", _payments),
        Source("order-money", "SELECT DISTINCT order_id FROM payments", _order_money),
    )
}
"""By kind: the name of its document in read_models.views."""
