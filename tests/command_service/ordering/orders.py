"""Orders to test with."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from command_service.ordering.domain import Order, OrderState, PaymentMode
from command_service.ordering.lines import OrderLine

PLACED = datetime(2010, 12, 1, 8, 0, tzinfo=UTC)
EXPIRES = PLACED + timedelta(minutes=15)
LATER = PLACED + timedelta(minutes=1)


def line(
    line_id: str = "l1",
    quantity: int = 3,
    *,
    unit_price_minor: int = 1_000,
    discount_minor: int = 0,
    sku_id: str = "mug",
) -> OrderLine:
    return OrderLine(
        line_id=line_id,
        sku_id=sku_id,
        title="a mug",
        quantity=quantity,
        unit_price_minor=unit_price_minor,
        discount_minor=discount_minor,
        price_list_id="retail",
        price_tier_min_quantity=1,
        adjustments=(),
    )


def order(*lines: OrderLine, currency_code: str = "GBP") -> Order:
    return Order(
        order_id="o1",
        order_number="100-000-0005",
        version=1,
        state=OrderState.AWAITING_PAYMENT,
        customer_id="ada",
        cart_id="c1",
        currency_code=currency_code,
        lines=lines or (line(),),
        coupon_codes=(),
        free_shipping=False,
        tax_inclusive=True,
        payment_mode=PaymentMode.ONLINE,
        placed_time=PLACED,
        update_time=PLACED,
        expire_time=EXPIRES,
    )


def paid_order(*lines: OrderLine, currency_code: str = "GBP") -> Order:
    placed = order(*lines, currency_code=currency_code)
    return placed.receive(placed.total_minor, LATER).settle()


def shipped_order(*lines: OrderLine, currency_code: str = "GBP") -> Order:
    paid = paid_order(*lines, currency_code=currency_code)
    return paid.fulfill(paid.shippable(), LATER)


def in_state(state: OrderState) -> Order:
    """An order with one line of 3 units that has come to the state in an ordinary way."""
    if state is OrderState.FULFILLED:
        return shipped_order()
    if state is OrderState.PARTIALLY_FULFILLED:
        lines = (replace(line(), fulfilled_quantity=1),)
        return replace(paid_order(), state=state, lines=lines)
    if state is OrderState.PAID:
        return paid_order()
    return replace(order(), state=state)
