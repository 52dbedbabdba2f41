"""Money of any currency is exact from the price list to the last unit that comes back, through the API.

To round what is paid in cash, as in Switzerland, is not the shop's: it counts what it is told was paid.
"""

from fractions import Fraction
from typing import Any

import grpc
import pytest

from shopkeeper.cart.v1 import cart_command_service_pb2 as cart_pb
from shopkeeper.cart.v1.cart_pb2 import Cart
from shopkeeper.ordering.v1 import ordering_command_service_pb2 as ordering_pb
from shopkeeper.ordering.v1.ordering_pb2 import ORDER_STATE_PAID, Order, OrderLineUnits
from shopkeeper.pricing.v1 import pricing_command_service_pb2 as pricing_pb
from shopkeeper.pricing.v1.pricing_pb2 import AmountOff, PercentageOff, PriceList, PriceTier, Promotion
from shopkeeper.types.v1.money_pb2 import Money
from tests.system.client import DEADLINE_SECONDS, Client, new_id, reason_of
from tests.system.conftest import CommandServices

PRICES_MINOR = {"cup": 1_001, "mug": 333, "tag": 5}
QUANTITIES = {"cup": 3, "mug": 7, "tag": 2}
TOTAL_MINOR = 4_670
"""3,003 less 375 (an eighth is 375.375), 2,331 less 291 (291.375), 10 less 1 (1.25); less 7 of all."""

NO_DECIMALS, TWO, THREE, FOUR = "JPY", "CHF", "KWD", "CLF"


async def open_abroad(client: Client, currency_code: str) -> None:
    """Two lists of the same prices, with tax and without; an eighth off each line, then 7 off all."""
    await client.open_shop(list(PRICES_MINOR), 100)
    lists = [
        PriceList(price_list_id=name, title=name, currency_code=currency_code, tax_inclusive=is_gross)
        for name, is_gross in (("gross", True), ("net", False))
    ]
    await client.pricing.UpsertPriceLists(
        pricing_pb.UpsertPriceListsRequest(request_id=new_id(), price_lists=lists),
        timeout=DEADLINE_SECONDS,
    )
    rows = [
        pricing_pb.PriceRow(sku_id=sku_id, tiers=[PriceTier(min_quantity=1, unit_price_minor=price)])
        for sku_id, price in PRICES_MINOR.items()
    ]
    for each in lists:
        prices = pricing_pb.UpsertPricesRequest(
            request_id=new_id(), price_list_id=each.price_list_id, rows=rows
        )
        await client.pricing.UpsertPrices(prices, timeout=DEADLINE_SECONDS)
    seven = AmountOff(amount=Money(currency_code=currency_code, amount_minor=7))
    eighth = PercentageOff(basis_points=1250)
    promotions = [
        Promotion(promotion_id="1", title="An eighth", percentage_off=eighth, active=True),
        Promotion(promotion_id="2", title="Seven", amount_off=seven, active=True),
    ]
    await client.pricing.UpsertPromotions(
        pricing_pb.UpsertPromotionsRequest(request_id=new_id(), promotions=promotions),
        timeout=DEADLINE_SECONDS,
    )


async def fill_cart(client: Client, currency_code: str, price_list_id: str) -> Cart:
    cart_id = new_id()
    request = cart_pb.CreateCartRequest(
        request_id=new_id(),
        cart_id=cart_id,
        currency_code=currency_code,
        price_list_id=price_list_id,
    )
    cart = (await client.cart.CreateCart(request, timeout=DEADLINE_SECONDS)).cart
    for sku_id, quantity in QUANTITIES.items():
        cart = await client.add_line(cart_id, sku_id, quantity)
    return cart


async def paid(client: Client, order: Order, currency_code: str) -> Order:
    request = ordering_pb.RecordPaymentRequest(
        request_id=new_id(),
        order_id=order.order_id,
        payment_reference=new_id(),
        amount=Money(currency_code=currency_code, amount_minor=order.total.amount_minor),
    )
    return (await client.ordering.RecordPayment(request, timeout=DEADLINE_SECONDS)).order


async def given_back(client: Client, order: Order, **what: Any) -> ordering_pb.RecordRefundResponse:
    request = ordering_pb.RecordRefundRequest(
        request_id=new_id(), order_id=order.order_id, refund_reference=new_id(), **what
    )
    return await client.ordering.RecordRefund(request, timeout=DEADLINE_SECONDS)


@pytest.mark.parametrize("currency_code", [NO_DECIMALS, TWO, THREE, FOUR])
async def test_what_was_paid_comes_back_unit_by_unit_to_the_last_minor_unit(
    one_service: CommandServices, currency_code: str
) -> None:
    async with one_service.client() as client:
        await open_abroad(client, currency_code)
        for price_list_id in ("gross", "net"):
            cart = await fill_cart(client, currency_code, price_list_id)
            assert cart.total == Money(currency_code=currency_code, amount_minor=TOTAL_MINOR)
            order = await client.place(cart)
            assert (order.total, order.tax_inclusive) == (cart.total, price_list_id == "gross")
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await paid(client, order, "GBP")
            assert reason_of(refused.value) == "CURRENCY_MISMATCH"
            order = await paid(client, order, currency_code)
            assert (order.state, order.paid_minor) == (ORDER_STATE_PAID, TOTAL_MINOR)
            await give_back_unit_by_unit(client, order)
    assert one_service.broken_invariants() == {}


async def give_back_unit_by_unit(client: Client, order: Order) -> None:
    """Each unit costs its share of its line, give or take less than 1; all of them the whole price."""
    returned_minor = 0
    for line in order.lines:
        fair_minor = Fraction(line.total_minor, line.quantity)
        for _ in range(line.quantity):
            unit = OrderLineUnits(line_id=line.line_id, quantity=1)
            amount = (await given_back(client, order, lines=[unit])).amount
            assert amount.currency_code == order.currency_code
            assert abs(amount.amount_minor - fair_minor) < 1
            returned_minor += amount.amount_minor
    assert returned_minor == TOTAL_MINOR
    one_more = Money(currency_code=order.currency_code, amount_minor=1)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await given_back(client, order, amount=one_more)
    assert reason_of(refused.value) == "REFUND_EXCEEDS_PAYMENTS"
