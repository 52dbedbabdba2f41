"""An order as a row."""

from datetime import timedelta

from command_service.ordering.domain import Order, OrderState, PaymentMode
from command_service.ordering.lines import OrderLine
from tests.simulation.database import OPENING


def an_order(order_id: str, *, number: str) -> Order:
    line = OrderLine(
        line_id="l",
        sku_id="mug",
        title="a mug",
        quantity=1,
        unit_price_minor=100,
        discount_minor=0,
        price_list_id="retail",
        price_tier_min_quantity=1,
        adjustments=(),
    )
    return Order(
        order_id=order_id,
        order_number=number,
        version=1,
        state=OrderState.AWAITING_PAYMENT,
        customer_id="ada",
        cart_id=f"cart of {order_id}",
        currency_code="GBP",
        lines=(line,),
        coupon_codes=(),
        free_shipping=False,
        tax_inclusive=True,
        payment_mode=PaymentMode.ONLINE,
        placed_time=OPENING,
        update_time=OPENING,
        expire_time=OPENING + timedelta(minutes=15),
    )
