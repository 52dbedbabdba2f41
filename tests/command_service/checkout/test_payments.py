"""Orders paid at a provider: what the customer does, what we hear, and what becomes of the order."""

from collections.abc import AsyncIterator

import pytest_asyncio

from command_service.checkout.cancel_order import CancelOrder
from command_service.checkout.record_payment import RecordPayment
from command_service.money import Money
from command_service.ordering.domain import OrderState
from command_service.payment.domain import CaptureMode, PaymentState, Wish
from payment_providers.port import Flow
from tests.command_service.checkout.orders_on_postgresql import broken_invariants, counters
from tests.command_service.checkout.paid_shop import PaidShop, paid_shop
from tests.command_service.conftest import CarryOut


@pytest_asyncio.fixture
async def shop(carry_out: CarryOut) -> AsyncIterator[PaidShop]:
    async with paid_shop(carry_out) as shop:
        yield shop
        assert await broken_invariants(carry_out) == {}


async def test_a_payment_that_captures_at_once_pays_the_order(shop: PaidShop) -> None:
    order = await shop.place(sku0=2)
    driven = await shop.start(order)
    assert driven.payment.state is PaymentState.AWAITING_CUSTOMER
    assert driven.handover.client_secret
    await shop.act(driven.payment, "pay")
    await shop.deliver(times=3)
    assert (await shop.order(order)).state is OrderState.PAID
    [payment] = (await shop.payments(order)).payments
    assert (payment.state, payment.captured_minor) == (PaymentState.CAPTURED, 200)
    assert await counters(shop.carry_out, "sku0") == (100, 0, 2)
    assert await shop.totals() == (200, 0)


async def test_an_authorized_payment_is_captured_by_the_worker(shop: PaidShop) -> None:
    order = await shop.place(sku0=2)
    driven = await shop.start(order, capture_mode=CaptureMode.WHEN_HELD)
    await shop.act(driven.payment, "pay")
    await shop.deliver()
    assert (await shop.order(order)).state is OrderState.AWAITING_PAYMENT
    await shop.round()
    assert (await shop.order(order)).state is OrderState.PAID
    await shop.deliver(times=2)
    assert await shop.totals() == (200, 0)


async def test_a_declined_customer_may_try_again(shop: PaidShop) -> None:
    order = await shop.place(sku0=2)
    driven = await shop.start(order)
    await shop.act(driven.payment, "decline")
    await shop.deliver()
    [payment] = (await shop.payments(order)).payments
    assert payment.state is PaymentState.AWAITING_CUSTOMER
    assert payment.failure_code != ""
    await shop.act(driven.payment, "pay")
    await shop.deliver()
    assert (await shop.order(order)).state is OrderState.PAID


async def test_money_for_a_cancelled_order_goes_back(shop: PaidShop) -> None:
    order = await shop.place(sku0=2)
    driven = await shop.start(order)
    await shop.act(driven.payment, "pay")
    await shop.carry_out(CancelOrder(order.order_id))
    await shop.deliver()
    assert (await shop.order(order)).refund_due_minor == 200
    await shop.round()
    after = await shop.order(order)
    assert (after.state, after.refunded_minor) == (OrderState.CANCELLED, 200)
    await shop.round()
    await shop.deliver(times=2)
    assert await shop.totals() == (200, 200)


async def test_an_open_payment_of_a_cancelled_order_is_called_off(shop: PaidShop) -> None:
    order = await shop.place(sku0=2)
    await shop.start(order)
    await shop.carry_out(CancelOrder(order.order_id))
    await shop.round()
    [payment] = (await shop.payments(order)).payments
    assert payment.state is PaymentState.VOIDED


async def test_two_payments_that_both_come_through_pay_once(shop: PaidShop) -> None:
    order = await shop.place(sku0=2)
    first, second = await shop.start(order), await shop.start(order)
    await shop.act(first.payment, "pay")
    await shop.act(second.payment, "pay")
    await shop.deliver()
    await shop.round()
    await shop.deliver()
    after = await shop.order(order)
    assert (after.state, after.paid_minor, after.refunded_minor) == (OrderState.PAID, 400, 200)
    assert await shop.totals() == (400, 200)


async def test_money_on_a_hosted_page_that_somebody_recorded_by_its_intent_counts_once(
    shop: PaidShop,
) -> None:
    """Stripe's tools show the intent, and we hold the payment by its session."""
    order = await shop.place(sku0=2)
    wish = Wish(customer_return_url="https://shop.example/back")
    driven = await shop.start(order, flow=Flow.HOSTED, wish=wish)
    reference = driven.payment.provider_reference
    done = await shop.sandbox.act(f"checkout/sessions/{reference}/pay")
    intent_id = done["session"]["payment_intent"]
    by_hand = RecordPayment(order.order_id, intent_id, Money("GBP", 200))
    await shop.carry_out(by_hand)
    await shop.round()
    await shop.round()
    await shop.deliver()
    [payment] = (await shop.payments(order)).payments
    after = await shop.order(order)
    assert (payment.state, payment.captured_minor) == (PaymentState.CAPTURED, 200)
    assert (after.state, after.paid_minor, after.refunded_minor) == (OrderState.PAID, 200, 0)
    assert await shop.totals() == (200, 0)
