"""What there is to see of an order, a cart, a price: in an answer, and after each event of the log.

Told a second time, apart from the projections: whoever shares their mistakes cannot judge them.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from shopkeeper.cart.v1 import cart_events_pb2 as cart_events
from shopkeeper.cart.v1.cart_pb2 import CART_STATE_OPEN, Cart
from shopkeeper.catalog.v1 import catalog_events_pb2 as catalog_events
from shopkeeper.catalog.v1.catalog_pb2 import Product, Sku
from shopkeeper.catalog.v1.catalog_query_service_pb2 import ProductView
from shopkeeper.inventory.v1.inventory_pb2 import Stock
from shopkeeper.ordering.v1 import ordering_events_pb2 as ordering_events
from shopkeeper.ordering.v1.ordering_pb2 import Order, OrderSummary
from shopkeeper.payment.v1 import payment_events_pb2 as payment_events
from shopkeeper.payment.v1.payment_pb2 import OrderMoney, Payment, Refund
from shopkeeper.pricing.v1 import pricing_events_pb2 as pricing_events
from shopkeeper.pricing.v1.pricing_pb2 import SkuPrices

Fact = int | str
State = tuple[Fact, ...]
ABSENT: State = ()
"""Of what is not there: nobody has made it yet, or nobody keeps it any more."""

STOCK = "stock"
ORDER = "order"
LISTED = "listed order"
CART = "cart"
PAYMENT = "payment"
MONEY = "money of an order"
PRODUCT = "product"
SKU = "SKU"
PRICES = "prices"


class Showing(NamedTuple):
    """What a view shows from a position of the log on. key: the id of what it is about."""

    position: int
    view: str
    key: str
    state: State


# --- in an answer ---------------------------------------------------------------------------------


def _order_state(order: Any) -> State:
    """Version, state, what was paid and what was given back; also of an event's OrderProgress."""
    return (int(order.etag), order.state, order.paid_minor, order.refunded_minor)


def _summary_state(order: Any) -> State:
    """An order in a list: whose, how far, for how much, and what lists are sorted by."""
    placed_microseconds = order.placed_time.ToMicroseconds()
    return (order.customer_id, order.state, order.total.amount_minor, placed_microseconds)


def _cart_state(cart: Cart) -> State:
    return (int(cart.etag), cart.state, cart.total.amount_minor)


def _payment_state(payment: Payment) -> State:
    return (
        *(payment.state, payment.captured_minor, payment.refunded_minor),
        *(payment.authorized_minor, payment.refund_pending_minor, payment.update_time.ToMicroseconds()),
    )


def _money_state(payments: Iterable[Payment], refunds: Iterable[Refund]) -> State:
    tenders = [
        (each.payment_id, each.state, each.captured_minor, each.refunded_minor) for each in payments
    ]
    returned = [(each.refund_id, each.state, each.amount_minor) for each in refunds]
    return tuple(fact for each in (*tenders, *returned) for fact in each)


def _shown_money_state(money: OrderMoney) -> State:
    return (
        *(money.captured_minor, money.refunded_minor, money.refundable_minor),
        *_money_state(money.payments, money.refunds),
    )


def _sku_state(sku: Sku) -> State:
    return (sku.product_id, sku.title, sku.active, sku.sale_state)


def _product_state(product: Product, skus: Iterable[Sku]) -> State:
    return (
        *(product.title, product.active),
        *(fact for sku in skus for fact in (sku.sku_id, *_sku_state(sku))),
    )


def _prices_state(prices: SkuPrices) -> State:
    tiers = [(each.price_list_id, tier) for each in prices.prices for tier in each.tiers]
    # How many stands first: a SKU that no list prices any more is not one that never had a price.
    return (
        len(prices.prices),
        *(fact for id_, tier in tiers for fact in (id_, tier.min_quantity, tier.unit_price_minor)),
    )


def _stock_state(stock: Stock) -> State:
    return tuple(
        fact
        for level in stock.levels
        for fact in (level.location_id, level.on_hand, level.reserved, level.allocated)
    )


class _View(NamedTuple):
    """A kind of message in answers: the view that it is, its key, and what of it is told."""

    name: str
    key: Callable[[Any], str]
    state: Callable[[Any], State]


_VIEWS: dict[type[Message], _View] = {
    Order: _View(ORDER, lambda order: order.order_id, _order_state),
    OrderSummary: _View(LISTED, lambda order: order.order_id, _summary_state),
    Cart: _View(CART, lambda cart: cart.cart_id, _cart_state),
    Payment: _View(PAYMENT, lambda payment: payment.payment_id, _payment_state),
    OrderMoney: _View(MONEY, lambda money: money.order_id, _shown_money_state),
    Sku: _View(SKU, lambda sku: sku.sku_id, _sku_state),
    ProductView: _View(
        PRODUCT,
        lambda view: view.product.product_id,
        lambda view: _product_state(view.product, view.skus),
    ),
    SkuPrices: _View(PRICES, lambda prices: prices.sku_id, _prices_state),
    Stock: _View(STOCK, lambda stock: stock.sku_id, _stock_state),
}


def seen_in(response: Message) -> dict[str, dict[str, State]]:
    """By view and key, in the order of the answer."""
    seen: dict[str, dict[str, State]] = {}
    for field, value in response.ListFields():
        if field.message_type is None:
            continue
        view = _VIEWS.get(GetMessageClass(field.message_type))
        if view is not None:
            shown = value if field.is_repeated else [value]
            seen[view.name] = {view.key(each): view.state(each) for each in shown}
    return seen


# --- after each event -----------------------------------------------------------------------------

_TYPES: dict[str, type[Message]] = {
    descriptor.full_name: GetMessageClass(descriptor)
    for module in (ordering_events, cart_events, payment_events, catalog_events, pricing_events)
    for descriptor in module.DESCRIPTOR.message_types_by_name.values()
}

CONTEXTS = ("ordering", "cart", "payment", "catalog", "pricing")
"""Whose events are retold. What stock there is stands in a ledger of its own."""


def parsed(type_: str, payload: bytes) -> Message:
    """An event of the log. type_: its full name."""
    return _TYPES[type_].FromString(payload)


class Retelling:
    """The log, told from its beginning: what each event leaves to be seen."""

    def __init__(self) -> None:
        self._now: dict[tuple[str, str], State] = {}
        self._payments: dict[str, dict[str, Payment]] = defaultdict(dict)
        self._refunds: dict[str, dict[str, Refund]] = defaultdict(dict)
        self._products: dict[str, Product] = {}
        self._skus: dict[str, dict[str, Sku]] = defaultdict(dict)

    def after(self, position: int, event: Message) -> Iterator[Showing]:
        """What is to be seen from this event on."""
        for view, key, state in self._changed(event):
            self._now[view, key] = state
            yield Showing(position, view, key, state)

    def _changed(self, event: Any) -> Iterator[tuple[str, str, State]]:
        match event:
            case ordering_events.OrderPlaced():
                order = event.order
                yield ORDER, order.order_id, _order_state(order)
                yield LISTED, order.order_id, _summary_state(order)
            case cart_events.CartCreated() | cart_events.CartChanged() | cart_events.CartClosed():
                yield self._cart_after(event)
            case cart_events.CartForgotten():
                yield CART, event.cart_id, ABSENT
            case catalog_events.ProductUpserted() | catalog_events.SkuUpserted():
                yield from self._catalog_after(event)
            case pricing_events.SkuPricesChanged():
                yield PRICES, event.prices.sku_id, _prices_state(event.prices)
            case _ if "payment" in event.DESCRIPTOR.fields_by_name:
                yield from self._money_after(event)
            case _ if "progress" in event.DESCRIPTOR.fields_by_name:
                progress = event.progress
                yield ORDER, progress.order_id, _order_state(progress)
                yield LISTED, progress.order_id, self._listed_after(progress)

    def _listed_after(self, progress: ordering_events.OrderProgress) -> State:
        customer_id, _, total_minor, placed = self._now[LISTED, progress.order_id]
        return (customer_id, progress.state, total_minor, placed)

    def _cart_after(self, event: Any) -> tuple[str, str, State]:
        if isinstance(event, cart_events.CartCreated):
            return CART, event.cart.cart_id, _cart_state(event.cart)
        if isinstance(event, cart_events.CartClosed):
            total_minor = self._now[CART, event.cart_id][-1]
            return CART, event.cart_id, (int(event.etag), event.state, total_minor)
        state = (int(event.etag), CART_STATE_OPEN, event.total.amount_minor)
        return CART, event.cart_id, state

    def _money_after(self, event: Any) -> Iterator[tuple[str, str, State]]:
        payment = event.payment
        payments, refunds = self._payments[payment.order_id], self._refunds[payment.order_id]
        payments[payment.payment_id] = payment
        if "refund" in event.DESCRIPTOR.fields_by_name:
            refunds[event.refund.refund_id] = event.refund
        yield PAYMENT, payment.payment_id, _payment_state(payment)
        captured_minor = sum(each.captured_minor for each in payments.values())
        refunded_minor = sum(each.refunded_minor for each in payments.values())
        sums = (captured_minor, refunded_minor, captured_minor - refunded_minor)
        yield MONEY, payment.order_id, (*sums, *_money_state(payments.values(), refunds.values()))

    def _catalog_after(self, event: Any) -> Iterator[tuple[str, str, State]]:
        if isinstance(event, catalog_events.ProductUpserted):
            self._products[event.product.product_id] = event.product
            yield self._product(event.product.product_id)
            return
        sku = event.sku
        yield SKU, sku.sku_id, _sku_state(sku)
        if event.previous_product_id:
            del self._skus[event.previous_product_id][sku.sku_id]
            yield self._product(event.previous_product_id)
        self._skus[sku.product_id][sku.sku_id] = sku
        yield self._product(sku.product_id)

    def _product(self, product_id: str) -> tuple[str, str, State]:
        skus = self._skus[product_id]
        state = _product_state(self._products[product_id], [skus[sku_id] for sku_id in sorted(skus)])
        return PRODUCT, product_id, state
