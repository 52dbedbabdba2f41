"""What a provider tells, early, late, twice or in another order: payment, order and ledger agree."""

from dataclasses import replace
from datetime import timedelta

import pytest

from command_service.checkout.advance_order import AdvanceOrder
from command_service.checkout.cancel_order import CancelOrder
from command_service.checkout.expire_order import ExpireOrder
from command_service.checkout.report_payment import ReportPayment
from command_service.checkout.start_payment import StartPayment
from command_service.errors import (
    CurrencyMismatch,
    OrderNotAwaitingPayment,
    PaymentExceedsOrder,
)
from command_service.money import Money
from command_service.ordering.domain import Order, OrderState
from command_service.payment.errands import LEASE
from command_service.payment.events import PaymentChanged
from command_service.payment.payments import CaptureMode, PaymentState, Wish
from command_service.payment.reports import Lost
from payment_providers.port import Flow, ProviderState
from tests.command_service.checkout.order_shop import HOLD
from tests.command_service.checkout.provider_in_memory import (
    ProviderShop,
    ask_back,
    provider_refund,
)
from tests.command_service.checkout.shop_in_memory import event_names, refused
from tests.command_service.payment.tellings import authorized, captured, told


@pytest.fixture
def shop() -> ProviderShop:
    return ProviderShop()


# --- payments -------------------------------------------------------------------------------------


def test_the_events_of_one_batch_are_all_told(shop: ProviderShop) -> None:
    order = shop.place(mug=2)
    payment = shop.start(order)
    since = len(shop.events)
    for report in (authorized(amount_minor=500), captured(amount_minor=500)):
        shop.carry_out(ReportPayment(payment.payment_id, report))
    states = [each.payment.state for each in shop.events[since:] if isinstance(each, PaymentChanged)]
    assert states == [PaymentState.AUTHORIZED, PaymentState.CAPTURED], "at one and the same time"


def test_an_authorization_told_before_the_payment_was_made_is_captured(shop: ProviderShop) -> None:
    order = shop.place(mug=2)
    payment = shop.start(order)
    shop.pay(payment)
    shop.tell(payment)
    shop.carry_out(ReportPayment(payment.payment_id, told(ProviderState.AWAITING_CUSTOMER)))
    shop.come_to_rest(order)
    assert shop.order().state is OrderState.PAID


def test_money_told_twice_is_counted_once(shop: ProviderShop) -> None:
    order = shop.place(mug=2)
    payment = shop.start(order, capture_mode=CaptureMode.AT_ONCE)
    shop.pay(payment)
    for _ in range(3):
        shop.tell(payment)
    assert (shop.order().paid_minor, shop.order().state) == (500, OrderState.PAID)
    assert event_names(shop, 0).count("PaymentRecorded") == 1


def test_money_in_another_currency_is_refused(shop: ProviderShop) -> None:
    order = shop.place(mug=2)
    shop.start(order)
    refused(shop, ReportPayment("o1.1", captured(currency_code="EUR")), CurrencyMismatch)


def test_a_payment_recorded_by_hand_before_its_webhook_counts_once(shop: ProviderShop) -> None:
    order = shop.place(mug=2)
    payment = shop.start(order, capture_mode=CaptureMode.AT_ONCE)
    shop.pay(payment)
    reference = shop.at_provider["o1.1"].told().provider_reference
    shop.carry_out(replace(shop.payment(order), payment_reference=reference))
    shop.tell(payment)
    assert (shop.order().paid_minor, shop.order().state) == (500, OrderState.PAID)
    shop.come_to_rest(order)
    assert shop.kept_at_provider_minor == 500


def test_two_payments_share_a_price(shop: ProviderShop) -> None:
    order = shop.place(mug=2)
    first = shop.start(order, amount=Money("GBP", 200), capture_mode=CaptureMode.AT_ONCE)
    shop.pay(first)
    shop.tell(first)
    assert shop.order().state is OrderState.AWAITING_PAYMENT
    second = shop.start(order, capture_mode=CaptureMode.AT_ONCE)
    assert second.amount_minor == 300
    shop.pay(second)
    shop.tell(second)
    assert shop.order().state is OrderState.PAID
    refused(shop, starting(order), OrderNotAwaitingPayment)


def starting(order: Order, amount_minor: int | None = None) -> StartPayment:
    amount = None if amount_minor is None else Money("GBP", amount_minor)
    return StartPayment(order.order_id, "stripe", Flow.EMBEDDED, CaptureMode.AT_ONCE, amount, Wish())


def test_no_payment_is_started_for_more_than_is_missing(shop: ProviderShop) -> None:
    order = shop.place(mug=2)
    assert refused(shop, starting(order, 501), PaymentExceedsOrder)["missing_minor"] == "500"
    payment = shop.start(order)
    shop.pay(payment)
    shop.tell(payment)
    assert refused(shop, starting(order), PaymentExceedsOrder)["missing_minor"] == "0"
    shop.carry_out(ReportPayment("o1.1", told(ProviderState.PROCESSING)))
    refused(shop, starting(order), PaymentExceedsOrder)


def test_no_second_payment_is_started_while_the_first_may_take_money_by_itself(
    shop: ProviderShop,
) -> None:
    order = shop.place(mug=2)
    with_means = replace(starting(order), wish=Wish(payment_method="pm_1"))
    shop.carry_out(with_means)
    assert refused(shop, with_means, PaymentExceedsOrder)["missing_minor"] == "0"
    shop.carry_out(ReportPayment("o1.1", Lost("timeout")))
    assert refused(shop, starting(order), PaymentExceedsOrder)["missing_minor"] == "0"
    shop.carry_out(ReportPayment("o1.1", told(ProviderState.AWAITING_CUSTOMER)))
    assert shop.carry_out(starting(order)).payment_id == "o1.2", "it was declined"
    shop.carry_out(ReportPayment("o1.2", told(ProviderState.PROCESSING, "o1.2")))
    assert refused(shop, with_means, PaymentExceedsOrder)["missing_minor"] == "0"


def test_money_that_came_late_makes_the_order_paid_while_there_is_stock(shop: ProviderShop) -> None:
    order = shop.place(mug=2)
    payment = shop.start(order, capture_mode=CaptureMode.AT_ONCE)
    shop.pass_time(HOLD)
    shop.carry_out(ExpireOrder(order.order_id))
    shop.pay(payment)
    shop.tell(payment)
    assert shop.order().state is OrderState.PAID
    assert shop.counters("mug") == (10, 0, 2)


def test_a_payment_of_a_cancelled_order_is_made_and_then_called_off(shop: ProviderShop) -> None:
    order = shop.place(mug=2)
    payment = shop.carry_out(starting(order))
    shop.carry_out(CancelOrder(order.order_id))
    assert shop.advance(order).payments == (), "somebody is making its call"
    shop.make_call(payment)
    shop.come_to_rest(order)
    assert shop.at_provider["o1.1"].state is ProviderState.VOIDED


def test_what_a_replaced_attempt_did_not_hear_changes_nothing(shop: ProviderShop) -> None:
    order = shop.place(mug=2)
    payment = shop.carry_out(starting(order))
    assert payment.errand is not None
    attempt = payment.errand.attempt(payment.payment_id)
    shop.pass_time(LEASE)
    [again] = shop.advance(order).payments
    shop.carry_out(ReportPayment(payment.payment_id, Lost("timeout"), attempt))
    [stored] = shop.payments(order).payments
    assert stored == again


# --- claims ---------------------------------------------------------------------------------------


def test_a_refund_asked_for_in_the_same_batch_is_not_claimed_by_the_worker(shop: ProviderShop) -> None:
    order = shop.paid_order()
    [asked] = ask_back(shop, order, 100)
    claims = shop.carry_out(AdvanceOrder(order.order_id))
    assert claims.refunds == (), "whoever asked for it makes its call"
    assert claims.all.refunds == (asked,)


def test_two_advances_of_one_batch_claim_a_call_once(shop: ProviderShop) -> None:
    order = shop.place(mug=2)
    payment = shop.start(order)
    shop.pay(payment)
    shop.tell(payment)
    first, second = shop.advance(order), shop.advance(order)
    assert [each.payment_id for each in first.payments] == ["o1.1"]
    assert second.payments == ()


# --- the rest ------------------------------------------------------------------------------------


def test_what_is_about_nothing_of_ours_changes_nothing(shop: ProviderShop) -> None:
    shop.paid_order()
    since = len(shop.events)
    for payment_id in ("", "x", "o1.7", "o9.1"):
        known = captured(payment_id).by_provider
        assert not shop.hear(known)
        assert not shop.hear(provider_refund("", 1, payment_id=payment_id))
    assert len(shop.events) == since


def test_an_order_comes_to_rest_after_a_lease_that_nobody_honoured(shop: ProviderShop) -> None:
    order = shop.place(mug=2)
    shop.carry_out(starting(order))
    shop.pass_time(LEASE + timedelta(seconds=1))
    shop.come_to_rest(order)
    [payment] = shop.payments(order).payments
    assert payment.state is PaymentState.AWAITING_CUSTOMER
