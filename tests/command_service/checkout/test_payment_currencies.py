"""Currencies without decimals, and with three: exact on the way to Stripe and back."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from command_service.checkout.payment_driver import PaymentDriver
from command_service.checkout.refund_payment import RefundPayment
from command_service.money import Money
from command_service.ordering.domain import Order, OrderState
from command_service.payment.gateway import Gateway, Outcome
from command_service.payment.payments import Payment, PaymentState
from command_service.payment.refunds import RefundState
from command_service.payment.reports import Told
from command_service.pricing.commands import PriceRow, UpsertPriceLists, UpsertPrices
from command_service.pricing.domain import PriceTier
from payment_providers.port import ProviderPayment, ProviderState
from tests.command_service.checkout.orders_on_postgresql import placing
from tests.command_service.checkout.paid_shop import PaidShop, just_now, paid_shop
from tests.command_service.checkout.shop_in_memory import add, create
from tests.command_service.conftest import CarryOut
from tests.command_service.pricing.shop import price_list


@pytest_asyncio.fixture
async def shop(carry_out: CarryOut) -> AsyncIterator[PaidShop]:
    async with paid_shop(carry_out) as shop:
        yield shop


async def place_in(shop: PaidShop, currency_code: str, price_minor: int) -> Order:
    """One unit at this price, ordered."""
    abroad = price_list(currency_code, title="Abroad", currency_code=currency_code)
    await shop.carry_out(UpsertPriceLists((abroad,)))
    row = PriceRow("sku0", (PriceTier(1, price_minor),))
    await shop.carry_out(UpsertPrices(currency_code, (row,)))
    await shop.carry_out(create("c1", currency_code))
    await shop.carry_out(add("sku0", 1, cart_id="c1"))
    order = placing("c1", etag="2", total_minor=price_minor)
    return await shop.carry_out(replace(order, expected_total=Money(currency_code, price_minor)))


@pytest.mark.parametrize(
    ("currency_code", "price_minor", "units", "refund_minor", "refund_units"),
    [
        ("JPY", 1_499, 1_499, 500, 500),
        ("KWD", 12_340, 12_340, 4_110, 4_110),
        ("ISK", 1_499, 149_900, 500, 50_000),
        ("EUR", 1_499, 1_499, 500, 500),
    ],
)
async def test_an_amount_is_exact_on_its_way_there_and_back(
    shop: PaidShop,
    currency_code: str,
    price_minor: int,
    units: int,
    refund_minor: int,
    refund_units: int,
) -> None:
    order = await place_in(shop, currency_code, price_minor)
    driven = await shop.start(order)
    assert driven.payment.amount_minor == price_minor
    await shop.act(driven.payment, "pay")
    await shop.deliver()
    assert (await shop.order(order)).state is OrderState.PAID
    asked = await shop.ask(RefundPayment(order.order_id, "", Money(currency_code, refund_minor), ()))
    [refund] = await shop.give_back(asked)
    assert (refund.state, refund.amount_minor) == (RefundState.SUCCEEDED, refund_minor)
    await shop.deliver()
    [payment] = (await shop.payments(order)).payments
    assert (payment.captured_minor, payment.refunded_minor) == (price_minor, refund_minor)
    totals = (await shop.sandbox.get("/_sandbox/totals"))["by_currency"][currency_code.lower()]
    assert (totals["captured_minor"], totals["refunded_minor"]) == (units, refund_units)


async def test_an_amount_that_stripe_cannot_state_is_refused_before_anything_is_asked(
    shop: PaidShop,
) -> None:
    order = await place_in(shop, "KWD", 12_345)
    driven = await shop.start(order)
    assert driven.payment.state is PaymentState.FAILED
    assert driven.payment.failure_code == "amount_too_fine"
    assert (await shop.order(order)).state is OrderState.AWAITING_PAYMENT


class ToldInDollars(Gateway):
    """Whatever is asked for, the provider answers with dollars."""

    async def run_payment(self, payment: Payment, *, is_wanted: bool = True) -> Outcome:
        captured = ProviderState.CAPTURED
        told = ProviderPayment(payment.payment_id, "pi_1", captured, "USD", 0, payment.amount_minor)
        return Outcome(Told(told))


async def test_money_of_another_currency_is_refused_loudly(shop: PaidShop) -> None:
    order = await place_in(shop, "EUR", 1_499)
    payment = await shop.intend(order)
    driver = PaymentDriver(shop.committer, ToldInDollars({}))
    with capture_logs() as lines:
        assert (await driver.drive(payment, claimed_seconds=just_now())).payment == payment
    [line] = [line for line in lines if line["event"] == "what a provider told is refused"]
    assert (line["log_level"], line["payment_id"]) == ("error", payment.payment_id)
    assert "'USD'" in repr(line["told"])
