"""Orders paid at a provider: what the customer does, what we hear, and what becomes of the order."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_asyncio

from command_service.checkout.cancel_order import CancelOrder
from command_service.checkout.record_payment import RecordPayment
from command_service.checkout.record_refund import RecordRefund
from command_service.checkout.report_payment import ReportPayment
from command_service.errors import PaymentAlreadyRecorded
from command_service.money import Money
from command_service.ordering.domain import Order, OrderState, PaymentOutcome
from command_service.payment.gateway import name_of
from command_service.payment.payments import CaptureMode, Payment, PaymentState, Wish
from command_service.payment.reports import Told
from payment_providers.port import Flow, ProviderPayment, ProviderState
from tests.command_service.checkout.orders_on_postgresql import counters
from tests.command_service.checkout.paid_shop import PaidShop, paid_shop
from tests.command_service.conftest import CarryOut

PRICE = Money("GBP", 200)


@pytest_asyncio.fixture
async def shop(carry_out: CarryOut) -> AsyncIterator[PaidShop]:
    async with paid_shop(carry_out) as shop:
        yield shop


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


async def test_of_two_that_are_authorized_in_full_one_is_taken_and_one_called_off(
    shop: PaidShop,
) -> None:
    order = await shop.place(sku0=2)
    mode = CaptureMode.WHEN_HELD
    first, second = [await shop.start(order, capture_mode=mode) for _ in range(2)]
    await shop.act(first.payment, "pay")
    await shop.act(second.payment, "pay")
    await shop.deliver()
    await shop.round()
    await shop.round()
    await shop.deliver()
    states = [payment.state for payment in (await shop.payments(order)).payments]
    assert states == [PaymentState.CAPTURED, PaymentState.VOIDED]
    assert (await shop.order(order)).state is OrderState.PAID
    assert await shop.totals() == (200, 0)


# --- told by its provider, and recorded by hand -----------------------------------------------------


@pytest.mark.parametrize("is_recorded_first", [True, False])
async def test_a_refund_in_stripes_tools_that_somebody_records_counts_once(
    shop: PaidShop, *, is_recorded_first: bool
) -> None:
    """The rest goes back when the order is called off, and no more."""
    order = await shop.place(sku0=2)
    driven = await shop.start(order)
    await shop.act(driven.payment, "pay")
    await shop.deliver()
    form = {"payment_intent": driven.payment.provider_reference, "amount": "100"}
    refund = (await shop.sandbox.post("/v1/refunds", form)).json()["id"]
    by_hand = RecordRefund(order.order_id, refund, Money("GBP", 100), ())
    if is_recorded_first:
        await shop.carry_out(by_hand)
    await shop.deliver(times=2)
    await shop.carry_out(by_hand)
    assert (await shop.order(order)).refunded_minor == 100
    await shop.carry_out(CancelOrder(order.order_id))
    await shop.round()
    await shop.deliver()
    assert (await shop.order(order)).refunded_minor == 200
    assert await shop.totals() == (200, 200)


async def paid_on_a_page(shop: PaidShop) -> tuple[Order, str, str]:
    """An order that was paid there and of which nobody has told yet; names of session and intent."""
    order = await shop.place(sku0=2)
    wish = Wish(customer_return_url="https://shop.example/back")
    driven = await shop.start(order, flow=Flow.HOSTED, wish=wish)
    session_id = driven.payment.provider_reference
    done = await shop.sandbox.act(f"checkout/sessions/{session_id}/pay")
    return order, session_id, done["session"]["payment_intent"]


async def tell_of_the_page(shop: PaidShop, order: Order, *, is_asked_for: bool) -> None:
    """What Stripe answers who asks for the session; or tells by itself, of the intent."""
    if not is_asked_for:
        await shop.deliver()
        return
    [payment] = (await shop.payments(order)).payments
    told = await shop.provider.read(name_of(payment))
    assert told is not None
    await shop.ask(ReportPayment(payment.payment_id, Told(told)))


async def counted_once(shop: PaidShop, order: Order) -> None:
    await shop.round()
    await shop.round()
    await shop.deliver()
    [payment] = (await shop.payments(order)).payments
    after = await shop.order(order)
    assert (payment.state, payment.captured_minor) == (PaymentState.CAPTURED, 200)
    assert (after.state, after.paid_minor, after.refunded_minor) == (OrderState.PAID, 200, 0)
    assert await shop.totals() == (200, 0)


@pytest.mark.parametrize("is_by_session", [True, False])
@pytest.mark.parametrize("is_asked_for", [True, False])
async def test_money_on_a_hosted_page_that_somebody_recorded_before_it_was_told_counts_once(
    shop: PaidShop, *, is_by_session: bool, is_asked_for: bool
) -> None:
    """Stripe's tools show the intent, and we hold the payment by its session."""
    order, session_id, intent_id = await paid_on_a_page(shop)
    by_hand = RecordPayment(order.order_id, session_id if is_by_session else intent_id, PRICE)
    assert (await shop.carry_out(by_hand)).outcome is PaymentOutcome.PAID
    await tell_of_the_page(shop, order, is_asked_for=is_asked_for)
    await counted_once(shop, order)


@pytest.mark.parametrize("is_by_session", [True, False])
@pytest.mark.parametrize("is_asked_for", [True, False])
async def test_money_on_a_hosted_page_that_somebody_records_after_it_was_told_counts_once(
    shop: PaidShop, *, is_by_session: bool, is_asked_for: bool
) -> None:
    order, session_id, intent_id = await paid_on_a_page(shop)
    await tell_of_the_page(shop, order, is_asked_for=is_asked_for)
    by_hand = RecordPayment(order.order_id, session_id if is_by_session else intent_id, PRICE)
    assert (await shop.carry_out(by_hand)).outcome is PaymentOutcome.PAID
    with pytest.raises(PaymentAlreadyRecorded):
        await shop.carry_out(replace(by_hand, amount=Money("GBP", 199)))
    await counted_once(shop, order)


async def test_another_name_of_money_that_is_known_is_no_news(shop: PaidShop) -> None:
    order, session_id, intent_id = await paid_on_a_page(shop)
    await shop.deliver()
    [told] = (await shop.payments(order)).payments
    assert (told.provider_reference, told.other_names) == (session_id, (intent_id,))
    position = await shop.carry_out.fetch("SELECT max(position) FROM events")
    await shop.ask(ReportPayment(told.payment_id, Told(money_told(order, told, "ch_1"))))
    [after] = (await shop.payments(order)).payments
    assert after == replace(told, other_names=(intent_id, "ch_1"))
    assert await shop.carry_out.fetch("SELECT max(position) FROM events") == position
    by_hand = RecordPayment(order.order_id, "ch_1", PRICE)
    assert (await shop.carry_out(by_hand)).outcome is PaymentOutcome.PAID
    await counted_once(shop, order)


def money_told(order: Order, payment: Payment, name: str) -> ProviderPayment:
    """The payment with its money, as it is told under one more name."""
    return ProviderPayment(
        payment_id=payment.payment_id,
        provider_reference=payment.provider_reference,
        state=ProviderState.CAPTURED,
        currency_code=order.currency_code,
        authorized_minor=0,
        captured_minor=payment.captured_minor,
        other_names=(name,),
    )
