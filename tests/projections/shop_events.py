"""Events of every context, small and typical, for the tests of the read side."""

from datetime import UTC, datetime, timedelta

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from shopkeeper.cart.v1.cart_events_pb2 import CartChanged, CartClosed, CartCreated
from shopkeeper.cart.v1.cart_pb2 import CART_STATE_OPEN, CART_STATE_ORDERED, Cart, CartLine
from shopkeeper.catalog.v1.catalog_events_pb2 import ProductUpserted, SkuUpserted
from shopkeeper.catalog.v1.catalog_pb2 import SALE_STATE_ON_SALE, Product, Sku
from shopkeeper.ordering.v1.ordering_events_pb2 import (
    OrderLineProgress,
    OrderLinesFulfilled,
    OrderPlaced,
    OrderProgress,
    PaymentRecorded,
)
from shopkeeper.ordering.v1.ordering_pb2 import (
    ORDER_STATE_AWAITING_PAYMENT,
    ORDER_STATE_PAID,
    ORDER_STATE_PARTIALLY_FULFILLED,
    Order,
    OrderLine,
    OrderState,
)
from shopkeeper.pricing.v1.pricing_events_pb2 import SkuPricesChanged
from shopkeeper.pricing.v1.pricing_pb2 import Price, PriceTier, SkuPrices
from shopkeeper.types.v1.money_pb2 import Money
from tests.read_side import stock_moved

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def at(minutes: int) -> Timestamp:
    """Minutes after noon."""
    moment = Timestamp()
    moment.FromDatetime(NOON + timedelta(minutes=minutes))
    return moment


def pounds(amount_minor: int) -> Money:
    """Pence."""
    return Money(currency_code="GBP", amount_minor=amount_minor)


def product_upserted(product_id: str, title: str = "Mug") -> ProductUpserted:
    """A product with two attributes."""
    attributes = {"colour": "blue", "brand": "Acme"}
    return ProductUpserted(
        product=Product(product_id=product_id, title=title, attributes=attributes, active=True)
    )


def sku(sku_id: str, product_id: str, title: str = "Mug, blue") -> Sku:
    """A SKU on sale."""
    return Sku(
        sku_id=sku_id,
        product_id=product_id,
        title=title,
        active=True,
        sale_state=SALE_STATE_ON_SALE,
    )


def sku_upserted(
    sku_id: str, product_id: str, title: str = "Mug, blue", moved_from: str = ""
) -> SkuUpserted:
    """A SKU was created or replaced, or moved from another product."""
    return SkuUpserted(sku=sku(sku_id, product_id, title), previous_product_id=moved_from)


def prices_changed(sku_id: str, unit_price_minor: int) -> SkuPricesChanged:
    """One price from one unit on."""
    tier = PriceTier(min_quantity=1, unit_price_minor=unit_price_minor)
    price = Price(price_list_id="retail", currency_code="GBP", tiers=[tier])
    return SkuPricesChanged(prices=SkuPrices(sku_id=sku_id, prices=[price]))


def cart_created(cart_id: str) -> CartCreated:
    """An empty cart."""
    return CartCreated(
        cart=Cart(
            cart_id=cart_id,
            etag="1",
            state=CART_STATE_OPEN,
            currency_code="GBP",
            total=pounds(0),
            create_time=at(0),
            update_time=at(0),
            priced_time=at(0),
            expire_time=at(60),
        )
    )


def cart_line(line_id: str, quantity: int, sku_id: str | None = None) -> CartLine:
    """A line at 100 pence a unit."""
    return CartLine(
        line_id=line_id,
        sku_id=sku_id or line_id,
        quantity=quantity,
        unit_price_minor=100,
        subtotal_minor=100 * quantity,
        total_minor=100 * quantity,
    )


def cart_changed(
    cart_id: str,
    *changed: CartLine,
    removed: tuple[str, ...] = (),
    etag: str = "2",
    minutes: int = 1,
    valid_minutes: int | None = None,
) -> CartChanged:
    """Lines were set or removed."""
    return CartChanged(
        cart_id=cart_id,
        etag=etag,
        changed_lines=changed,
        removed_line_ids=removed,
        coupon_codes=["SPRING"],
        customer_id="ada",
        subtotal_minor=100,
        total=pounds(100),
        priced_time=at(minutes),
        prices_valid_until=None if valid_minutes is None else at(valid_minutes),
        expire_time=at(minutes + 60),
    )


def cart_closed(cart_id: str) -> CartClosed:
    """The cart became an order."""
    return CartClosed(
        cart_id=cart_id, etag="9", state=CART_STATE_ORDERED, successor_id="o", close_time=at(9)
    )


def order(order_id: str, customer_id: str = "ada", minutes: int = 0) -> Order:
    """Three mugs and a cup."""
    return Order(
        order_id=order_id,
        order_number=f"1000-{minutes}",
        etag="1",
        state=ORDER_STATE_AWAITING_PAYMENT,
        customer_id=customer_id,
        cart_id=f"cart-of-{order_id}",
        currency_code="GBP",
        lines=[
            OrderLine(line_id="mug", sku_id="MUG", quantity=3),
            OrderLine(line_id="cup", sku_id="CUP", quantity=1),
        ],
        total=pounds(400),
        placed_time=at(minutes),
        update_time=at(minutes),
        expire_time=at(minutes + 15),
    )


def order_placed(order_id: str, customer_id: str = "ada", minutes: int = 0) -> OrderPlaced:
    """A cart became an order."""
    return OrderPlaced(order=order(order_id, customer_id, minutes))


def progress(
    placed: Order,
    state: OrderState.ValueType,
    *lines: OrderLineProgress,
    etag: str = "2",
    paid_minor: int = 400,
) -> OrderProgress:
    """Where an order stands."""
    return OrderProgress(
        order_id=placed.order_id,
        customer_id=placed.customer_id,
        placed_time=placed.placed_time,
        etag=etag,
        state=state,
        paid_minor=paid_minor,
        changed_lines=lines,
        update_time=at(30),
    )


def order_paid(placed: Order) -> PaymentRecorded:
    """The order was paid in full."""
    return PaymentRecorded(
        progress=progress(placed, ORDER_STATE_PAID), payment_reference="p", amount_minor=400
    )


def mugs_shipped(placed: Order) -> OrderLinesFulfilled:
    """Two of the three mugs were shipped."""
    line = OrderLineProgress(line_id="mug", fulfilled_quantity=2)
    return OrderLinesFulfilled(
        progress=progress(placed, ORDER_STATE_PARTIALLY_FULFILLED, line, etag="3")
    )


def a_day(number: int) -> list[Message]:
    """Events that touch every kind of view; each number touches others."""
    placed = order(f"order-{number}", f"customer-{number % 3}", number)
    cart_id, sku_id = f"cart-{number}", f"SKU-{number}"
    return [
        product_upserted(f"product-{number % 5}"),
        sku_upserted(sku_id, f"product-{number % 5}"),
        prices_changed(sku_id, 100 + number),
        stock_moved(sku_id, number),
        cart_created(cart_id),
        cart_changed(cart_id, cart_line(sku_id, 2)),
        cart_closed(cart_id),
        OrderPlaced(order=placed),
        order_paid(placed),
        mugs_shipped(placed),
    ]
