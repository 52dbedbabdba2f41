"""Refunds through a provider: over several payments, failing late, made by hand: goods follow money."""

from dataclasses import replace
from datetime import timedelta

import pytest

from command_service.checkout.cancel_order import CancelOrder
from command_service.checkout.expire_order import ExpireOrder
from command_service.checkout.record_refund import RecordRefund
from command_service.checkout.refund_payment import RefundPayment
from command_service.checkout.report_payment import ReportRefund
from command_service.errors import (
    CaptureNotReported,
    CurrencyMismatch,
    NothingToRefund,
    PaymentNotFound,
    RecordedRefundFailed,
    RefundAlreadyRecorded,
    RefundExceedsPayments,
)
from command_service.inventory.domain import ReservationState
from command_service.money import Money
from command_service.ordering.domain import Order, OrderState
from command_service.ordering.lines import Units
from command_service.payment.payments import CaptureMode
from command_service.payment.refunds import Refund, RefundState
from command_service.payment.reports import Refused
from command_service.refunded_lines import RefundedLine
from payment_providers.port import ProviderRefund
from tests.command_service.checkout.order_shop import HOLD
from tests.command_service.checkout.provider_in_memory import (
    ProviderShop,
    ask_back,
    provider_refund,
)
from tests.command_service.checkout.shop_in_memory import event_names, refused
from tests.command_service.payment.tellings import FAILED, PENDING, SUCCEEDED, refund_told


@pytest.fixture
def shop() -> ProviderShop:
    return ProviderShop()


# --- refunds --------------------------------------------------------------------------------------


def test_the_newest_payments_give_back_first_and_to_the_last_penny(shop: ProviderShop) -> None:
    order = shop.place(mug=2)
    for amount_minor in (201, None):
        amount = None if amount_minor is None else Money("GBP", amount_minor)
        payment = shop.start(order, amount=amount, capture_mode=CaptureMode.AT_ONCE)
        shop.pay(payment)
        shop.tell(payment)
    refunds = ask_back(shop, order, 300)
    assert [(each.payment_id, each.amount_minor) for each in refunds] == [("o1.2", 299), ("o1.1", 1)]
    assert [each.amount_minor for each in ask_back(shop, order)] == [200]
    assert shop.payments(order).refundable_minor == shop.order().refundable_minor == 0
    refused(shop, RefundPayment(order.order_id, "", None, ()), NothingToRefund)
    refused(shop, RefundPayment(order.order_id, "", Money("GBP", 1), ()), RefundExceedsPayments)


def test_a_refund_of_units_over_two_payments_is_taken_back_part_by_part(shop: ProviderShop) -> None:
    order = shop.place(mug=1, lamp=1)
    for amount_minor in (500, None):
        amount = None if amount_minor is None else Money("GBP", amount_minor)
        payment = shop.start(order, amount=amount, capture_mode=CaptureMode.AT_ONCE)
        shop.pay(payment)
        shop.tell(payment)
    refunds = ask_back(shop, order, None, Units("lamp", 1), Units("mug", 1))
    assert sum(each.amount_minor for each in refunds) == 1_251
    assert sum(line.quantity for each in refunds for line in each.lines) == 2
    for refund in refunds:
        assert sum(line.amount_minor for line in refund.lines) == refund.amount_minor
        shop.make_refund(refund)
    shop.fail_refund(refunds[0].refund_id)
    shop.fail_refund(refunds[1].refund_id)
    after = shop.order()
    assert (after.refunded_minor, after.gifted_minor, after.refund_due_minor) == (0, 0, 0)
    assert [(line.refunded_quantity, line.refunded_minor) for line in after.lines] == [(0, 0), (0, 0)]


def paid_in_parts(shop: ProviderShop, *parts_minor: int, **quantities: int) -> Order:
    """An order that several payments have paid."""
    order = shop.place(**quantities)
    for part_minor in parts_minor:
        payment = shop.start(order, amount=Money("GBP", part_minor), capture_mode=CaptureMode.AT_ONCE)
        shop.pay(payment)
        shop.tell(payment)
    assert shop.order().state is OrderState.PAID
    return order


@pytest.mark.parametrize("failing", [0, 1])
def test_of_units_given_back_by_two_payments_those_stay_whose_money_stayed(
    shop: ProviderShop, failing: int
) -> None:
    order = paid_in_parts(shop, 250, 250, mug=2)
    refunds = ask_back(shop, order, None, Units("mug", 2))
    for number, refund in enumerate(refunds):
        shop.refuses_refunds = number == failing
        shop.make_refund(refund)
    after = shop.order()
    [line] = after.lines
    assert (line.refunded_quantity, line.refunded_minor, line.shippable_quantity) == (1, 250, 1)
    assert (after.refundable_minor, after.refund_due_minor) == (250, 0)
    shop.refuses_refunds = False
    [refund] = ask_back(shop, order, None, Units("mug", 1))
    shop.make_refund(refund)
    assert shop.order().refundable_minor == shop.kept_at_provider_minor == 0
    assert not shop.order().shippable()


@pytest.mark.parametrize("failing", [0, 1])
def test_a_unit_of_whose_money_a_part_is_gone_is_not_shipped_and_the_rest_is_due(
    shop: ProviderShop, failing: int
) -> None:
    order = paid_in_parts(shop, 350, 400, mug=3)
    ask_back(shop, order, None, Units("mug", 1))
    refunds = ask_back(shop, order, None, Units("mug", 1))
    assert [each.amount_minor for each in refunds] == [150, 100]
    for number, refund in enumerate(refunds):
        shop.refuses_refunds = number == failing
        shop.make_refund(refund)
    after = shop.order()
    failed, done = refunds[failing], refunds[1 - failing]
    assert (after.lines[0].refunded_quantity, after.lines[0].shippable_quantity) == (2, 1)
    assert after.lines[0].refunded_minor == 250 + done.amount_minor
    assert after.refund_due_minor == failed.amount_minor
    shop.fail_refund(done.refund_id)
    after = shop.order()
    assert (after.lines[0].refunded_quantity, after.lines[0].shippable_quantity) == (1, 2)
    assert (after.lines[0].refunded_minor, after.refund_due_minor) == (250, 0)


def test_rounding_is_no_part_of_a_unit() -> None:
    asked = RefundedLine("mug", 2, 667)
    assert [asked.units_of(amount_minor) for amount_minor in (0, 1, 333, 334, 336, 667)] == [
        0,
        0,
        1,
        1,
        2,
        2,
    ]


@pytest.mark.parametrize("payment_id", ["", "o1.1"])
def test_all_that_is_left_is_less_after_some_was_given_back_in_another_way(
    shop: ProviderShop, payment_id: str
) -> None:
    order = shop.paid_order()
    shop.carry_out(shop.refund(order, 100))
    [refund] = ask_back(shop, order, payment_id=payment_id)
    assert refund.amount_minor == 400
    assert shop.order().refundable_minor == 0
    all_of_it = RefundPayment(order.order_id, payment_id, None, ())
    refused(shop, all_of_it, NothingToRefund)


def test_no_refund_takes_from_a_payment_what_it_does_not_have(shop: ProviderShop) -> None:
    order = shop.paid_order()
    refused(shop, RefundPayment(order.order_id, "o1.1", Money("GBP", 501), ()), RefundExceedsPayments)
    refused(shop, RefundPayment(order.order_id, "o1.2", Money("GBP", 1), ()), PaymentNotFound)


def test_a_refused_refund_is_refundable_again(shop: ProviderShop) -> None:
    order = shop.paid_order()
    shop.refuses_refunds = True
    [refund] = ask_back(shop, order, 120)
    failed = shop.make_refund(refund)
    assert failed is not None
    assert (failed.state, failed.failure_code) == (RefundState.FAILED, "refund_refused")
    assert (shop.order().refunded_minor, shop.order().gifted_minor) == (0, 0)
    assert shop.payments(order).refundable_minor == 500


def test_an_order_that_lacks_only_the_money_of_a_refund_is_paid_when_that_fails(
    shop: ProviderShop,
) -> None:
    order = shop.place(mug=2)
    first = shop.start(order, amount=Money("GBP", 200), capture_mode=CaptureMode.AT_ONCE)
    second = shop.start(order, amount=Money("GBP", 300), capture_mode=CaptureMode.AT_ONCE)
    shop.pay(first)
    shop.pay(second)
    shop.tell(first)
    [refund] = ask_back(shop, order)
    shop.tell(second)
    assert shop.order().state is OrderState.AWAITING_PAYMENT
    since = len(shop.events)
    shop.refuses_refunds = True
    shop.make_refund(refund)
    assert (shop.order().state, shop.order().refundable_minor) == (OrderState.PAID, 500)
    assert shop.reservation().state is ReservationState.COMMITTED
    assert shop.counters("mug") == (10, 0, 2)
    assert event_names(shop, since) == ["RefundChanged", "RefundFailed", "StockMoved"]


@pytest.mark.parametrize("is_noticed", [True, False])
def test_an_order_whose_time_is_up_is_not_paid_by_a_refund_that_fails(
    shop: ProviderShop, *, is_noticed: bool
) -> None:
    order = shop.place(mug=2)
    payment = shop.start(order, amount=Money("GBP", 200), capture_mode=CaptureMode.AT_ONCE)
    shop.pay(payment)
    shop.tell(payment)
    [refund] = ask_back(shop, order)
    shop.carry_out(shop.payment(order, 300))
    shop.pass_time(HOLD)
    if is_noticed:
        shop.carry_out(ExpireOrder(order.order_id))
    shop.refuses_refunds = True
    shop.make_refund(refund)
    assert (shop.order().state, shop.order().refund_due_minor) == (OrderState.EXPIRED, 500)
    assert shop.reservation().state is ReservationState.EXPIRED
    assert event_names(shop, 0).count("OrderExpired") == 1


def test_a_refund_that_fails_after_a_late_payment_reset_the_counts_is_taken_back(
    shop: ProviderShop,
) -> None:
    order = shop.place(mug=2)
    payment = shop.start(order, amount=Money("GBP", 250), capture_mode=CaptureMode.AT_ONCE)
    shop.pay(payment)
    shop.tell(payment)
    [refund] = ask_back(shop, order, None, Units("mug", 1))
    shop.make_refund(refund)
    shop.carry_out(shop.payment(order))
    assert shop.order().lines[0].refunded_quantity == 0
    shop.fail_refund(refund.refund_id)
    after = shop.order()
    assert (after.state, after.refundable_minor, after.refund_due_minor) == (OrderState.PAID, 750, 250)
    assert after.lines[0].refunded_minor == 0


def refund_before_it_is_paid(shop: ProviderShop, *, pause: timedelta = timedelta()) -> Refund:
    """One of two mugs, whose money then comes anew. pause: from the refund to the payment."""
    order = shop.place(mug=2)
    first = shop.start(order, amount=Money("GBP", 250), capture_mode=CaptureMode.AT_ONCE)
    second = shop.start(order, capture_mode=CaptureMode.AT_ONCE)
    shop.pay(first)
    shop.tell(first)
    [of_before] = ask_back(shop, order, None, Units("mug", 1))
    shop.make_refund(of_before)
    shop.pass_time(pause)
    shop.pay(second)
    shop.tell(second)
    assert shop.order().state is OrderState.PAID
    shop.pass_time(timedelta(seconds=1))
    return of_before


def test_a_refund_of_before_that_fails_takes_nothing_from_a_newer_one(shop: ProviderShop) -> None:
    of_before = refund_before_it_is_paid(shop)
    order = shop.order()
    [newer] = ask_back(shop, order, None, Units("mug", 1))
    shop.make_refund(newer)
    shop.fail_refund(of_before.refund_id)
    [line] = shop.order().lines
    assert (line.refunded_quantity, line.refunded_minor, line.shippable_quantity) == (1, 250, 1)
    shop.fail_refund(newer.refund_id)
    [line] = shop.order().lines
    assert (line.refunded_quantity, line.refunded_minor, line.shippable_quantity) == (0, 0, 2)


def test_a_refund_of_before_that_fails_takes_nothing_from_a_newer_one_that_was_recorded(
    shop: ProviderShop,
) -> None:
    of_before = refund_before_it_is_paid(shop, pause=timedelta(seconds=1))
    order = shop.order()
    shop.carry_out(shop.refund_of_units(order, Units("mug", 1)))
    shop.fail_refund(of_before.refund_id)
    [line] = shop.order().lines
    assert (line.refunded_quantity, line.refunded_minor, line.shippable_quantity) == (1, 250, 1)


def test_a_failed_refund_told_twice_is_taken_back_once(shop: ProviderShop) -> None:
    order = shop.paid_order()
    [refund] = ask_back(shop, order, 100)
    shop.make_refund(refund)
    report = refund_told(FAILED, refund.refund_id, 100)
    for _ in range(2):
        shop.carry_out(ReportRefund("o1.1", refund.refund_id, report))
    assert shop.order().refunded_minor == 0
    assert event_names(shop, 0).count("RefundFailed") == 1


def test_a_refund_stays_as_failed_as_it_is_when_older_news_come(shop: ProviderShop) -> None:
    order = shop.paid_order()
    [refund] = ask_back(shop, order, 100)
    shop.make_refund(refund)
    shop.carry_out(
        ReportRefund(
            "o1.1", refund.refund_id, refund_told(FAILED, refund.refund_id, 100, failure_code="closed")
        )
    )
    for state in (PENDING, SUCCEEDED):
        after = shop.carry_out(
            ReportRefund("o1.1", refund.refund_id, refund_told(state, refund.refund_id, 100))
        )
        assert after is not None
        assert (after.state, after.failure_code) == (RefundState.FAILED, "closed")


def test_a_refund_that_was_given_up_and_yet_made_is_counted(shop: ProviderShop) -> None:
    order = shop.paid_order()
    [refund] = ask_back(shop, order, 100)
    shop.carry_out(ReportRefund("o1.1", refund.refund_id, Refused("no")))
    for _ in range(2):
        shop.hear(provider_refund(refund.refund_id, 100))
    assert [each.state for each in shop.payments(order).refunds] == [
        RefundState.FAILED,
        RefundState.SUCCEEDED,
    ]
    assert shop.order().refunded_minor == shop.payments(order).refunded_minor == 100


# --- refunds that somebody made at the provider ---------------------------------------------------


def test_a_refund_made_at_the_provider_is_counted_once(shop: ProviderShop) -> None:
    order = shop.paid_order()
    for _ in range(3):
        shop.hear(provider_refund("", 30))
    assert shop.order().refunded_minor == shop.payments(order).refunded_minor == 30


@pytest.mark.parametrize("is_recorded_first", [True, False])
def test_a_refund_made_at_the_provider_and_recorded_by_hand_is_counted_once(
    shop: ProviderShop, *, is_recorded_first: bool
) -> None:
    """Of 500, and one of two mugs goes back: a cancelled order owes the other."""
    order = shop.paid_order()
    told = provider_refund("", 250)
    by_hand = RecordRefund(order.order_id, told.provider_reference, Money("GBP", 250), ())
    if is_recorded_first:
        shop.carry_out(by_hand)
    shop.hear(told)
    answer = shop.carry_out(by_hand)
    assert (answer.amount, answer.order) == (Money("GBP", 250), shop.order())
    shop.hear(told)
    assert (shop.order().refunded_minor, shop.order().refundable_minor) == (250, 250)
    shop.carry_out(CancelOrder(order.order_id))
    shop.come_to_rest(order)
    assert shop.kept_at_provider_minor == 250
    assert shop.order().refundable_minor == 0


def test_a_refund_that_was_recorded_by_hand_and_fails_is_for_people(shop: ProviderShop) -> None:
    """The shop counts what the customer does not have, and nothing of ours would ask for it again."""
    order = shop.paid_order()
    told = provider_refund("", 250)
    shop.carry_out(RecordRefund(order.order_id, told.provider_reference, Money("GBP", 250), ()))
    shop.hear(told)
    with pytest.raises(RecordedRefundFailed):
        shop.hear(replace(told, state=ProviderRefund.State.FAILED))


def test_units_whose_refund_its_provider_has_told_are_not_refunded_again(shop: ProviderShop) -> None:
    order = shop.paid_order()
    told = provider_refund("", 250)
    shop.hear(told)
    units = (Units(order.lines[0].line_id, 1),)
    by_hand = RecordRefund(order.order_id, told.provider_reference, None, units)
    refused(shop, by_hand, RefundAlreadyRecorded)
    assert shop.order().refunded_minor == 250


def test_units_that_their_payment_gave_back_are_recorded_already(shop: ProviderShop) -> None:
    order = shop.paid_order()
    units = (Units(order.lines[0].line_id, 1),)
    [refund] = ask_back(shop, order, None, *units)
    done = shop.make_refund(refund)
    assert done is not None
    answer = shop.carry_out(RecordRefund(order.order_id, done.provider_reference, None, units))
    assert (answer.amount, answer.order) == (Money("GBP", 250), shop.order())
    assert shop.order().refunded_minor == 250


def test_money_that_went_back_after_its_refund_failed_is_counted(shop: ProviderShop) -> None:
    """Staff keep to the name of the refund that failed."""
    order = shop.paid_order()
    [refund] = ask_back(shop, order, 250)
    done = shop.make_refund(refund)
    assert done is not None
    shop.fail_refund(refund.refund_id)
    assert shop.order().refunded_minor == 0
    by_hand = RecordRefund(order.order_id, done.provider_reference, Money("GBP", 250), ())
    assert shop.carry_out(by_hand).order.refunded_minor == 250


def test_a_refund_told_before_its_capture_comes_again(shop: ProviderShop) -> None:
    order = shop.place(mug=2)
    payment = shop.start(order, capture_mode=CaptureMode.AT_ONCE)
    shop.pay(payment)
    with pytest.raises(CaptureNotReported):
        shop.hear(provider_refund("", 30))
    shop.tell(payment)
    shop.hear(provider_refund("", 30))
    assert shop.order().refunded_minor == 30
    assert shop.payments(order).refundable_minor == 470


def test_a_refund_in_another_currency_is_refused(shop: ProviderShop) -> None:
    shop.paid_order()
    with pytest.raises(CurrencyMismatch):
        shop.hear(provider_refund("", 30, currency_code="EUR"))


def test_no_more_is_counted_than_the_order_has(shop: ProviderShop) -> None:
    order = shop.paid_order()
    shop.hear(provider_refund("", 700))
    assert shop.order().refundable_minor == shop.payments(order).refundable_minor == 0
    assert shop.hear(replace(provider_refund("", 1), provider_reference="re_2"))
    assert len(shop.payments(order).refunds) == 1
