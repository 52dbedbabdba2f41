"""The life of an order at its providers: each case of the story, and that every story has an end."""

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from command_service.checkout.advance_order import AdvanceOrder
from command_service.checkout.cancel_order import CancelOrder
from command_service.checkout.cancel_order_lines import CancelOrderLines
from command_service.checkout.capture_payment import CapturePayment, VoidPayment
from command_service.checkout.expire_order import ExpireOrder
from command_service.checkout.process import (
    CAPTURE_HOLD,
    Capture,
    GiveBack,
    HoldUntil,
    Leave,
    Step,
    Void,
    next_steps,
)
from command_service.checkout.refund_payment import RefundPayment
from command_service.checkout.report_payment import ReportPayment
from command_service.money import Money
from command_service.ordering.domain import CLOSED, Order, OrderState
from command_service.ordering.lines import Units
from command_service.payment.domain import PAYMENT_COUNT_MAX
from command_service.payment.errands import LEASE
from command_service.payment.payments import CaptureMode, Payment, PaymentState
from command_service.payment.reports import Lost, Postponed, Report
from payment_providers.port import ProviderState
from tests.command_service.checkout.order_shop import HOLD
from tests.command_service.checkout.order_story import GOODS_ACTS, MONEY_ACTS, Story
from tests.command_service.checkout.provider_in_memory import ProviderShop

A_MOMENT = timedelta(seconds=1)


@pytest.fixture
def shop() -> ProviderShop:
    return ProviderShop()


def steps(shop: ProviderShop, order: Order, *, can_be_had: bool = True) -> list[Step]:
    now = shop.order(order.order_id)
    return list(next_steps(now, shop.payments(order), shop.now, can_be_had=can_be_had))


def authorized(shop: ProviderShop, order: Order, **other: object) -> Payment:
    payment = shop.start(order, **other)
    shop.pay(payment)
    shop.tell(payment)
    return payment


# --- the story ------------------------------------------------------------------------------------


def test_money_that_covers_the_order_is_captured(shop: ProviderShop) -> None:
    order = shop.place(mug=2)
    authorized(shop, order)
    assert steps(shop, order) == [Capture("o1.1")]


def test_the_stock_is_held_while_the_money_is_taken(shop: ProviderShop) -> None:
    order = shop.place(mug=2)
    shop.pass_time(HOLD - A_MOMENT)
    authorized(shop, order)
    assert steps(shop, order) == [HoldUntil(shop.now + CAPTURE_HOLD), Capture("o1.1")]
    shop.advance(order)
    assert shop.order().expire_time == shop.reservation().expire_time == shop.now + CAPTURE_HOLD


def test_a_part_of_the_price_is_not_captured_before_the_rest_is_there(shop: ProviderShop) -> None:
    order = shop.place(mug=2)
    authorized(shop, order, amount=Money("GBP", 100))
    assert steps(shop, order) == []
    authorized(shop, order)
    assert steps(shop, order) == [Capture("o1.1"), Capture("o1.2")]
    shop.come_to_rest(order)
    assert (shop.order().state, shop.order().paid_minor) == (OrderState.PAID, 500)


def authorized_twice(shop: ProviderShop, order: Order) -> None:
    """The customer opens two payments of the whole price, and finishes both."""
    payments = [shop.start(order), shop.start(order)]
    for payment in payments:
        shop.pay(payment)
        shop.tell(payment)


def test_of_two_authorizations_of_the_price_one_is_taken_and_one_called_off(shop: ProviderShop) -> None:
    order = shop.place(mug=2)
    authorized_twice(shop, order)
    assert steps(shop, order) == [Capture("o1.1")]
    shop.advance(order)
    assert steps(shop, order) == []
    shop.pass_time(HOLD - A_MOMENT)
    assert steps(shop, order) == []  # nor is the stock held on and on for what only waits
    shop.come_to_rest(order)
    states = [payment.state for payment in shop.payments(order).payments]
    assert states == [PaymentState.CAPTURED, PaymentState.VOIDED]
    after = shop.order()
    assert (after.state, after.paid_minor, after.refunded_minor) == (OrderState.PAID, 500, 0)


def authorized_in_parts(shop: ProviderShop, order: Order, *parts_minor: int) -> None:
    """The customer opens a payment of each amount, and finishes all of them."""
    payments = [shop.start(order, amount=Money("GBP", part_minor)) for part_minor in parts_minor]
    for payment in payments:
        shop.pay(payment)
        shop.tell(payment)


def taken_minor(shop: ProviderShop, order: Order) -> list[int]:
    payments = shop.payments(order)
    return [
        payments.payment(each.payment_id).authorized_minor
        for each in steps(shop, order)
        if isinstance(each, Capture)
    ]


def test_no_more_is_taken_than_the_price_where_some_authorizations_are_just_that(
    shop: ProviderShop,
) -> None:
    order = shop.place(mug=2)
    authorized_in_parts(shop, order, 300, 500)
    assert steps(shop, order) == [Capture("o1.2")]
    shop.come_to_rest(order)
    states = [payment.state for payment in shop.payments(order).payments]
    assert states == [PaymentState.VOIDED, PaymentState.CAPTURED]
    after = shop.order()
    assert (after.state, after.paid_minor, after.refunded_minor) == (OrderState.PAID, 500, 0)


@pytest.mark.parametrize(
    ("parts_minor", "expected_minor"),
    [
        ((200, 300, 500), [500]),
        ((500, 500), [500]),
        ((400, 250, 250), [250, 250]),
        ((100, 450, 300, 200), [300, 200]),
        ((400, 300, 300), [300, 300]),
        ((100, 200, 300), [200, 300]),
        ((400, 99), []),
    ],
)
def test_the_least_that_pays_the_price_is_taken_in_the_fewest_parts(
    shop: ProviderShop, parts_minor: tuple[int, ...], expected_minor: list[int]
) -> None:
    order = shop.place(mug=2)
    authorized_in_parts(shop, order, *parts_minor)
    assert taken_minor(shop, order) == expected_minor


@given(st.lists(st.integers(1, 500), max_size=8))
def test_no_other_authorizations_would_have_paid_the_price_with_less(parts_minor: list[int]) -> None:
    shop = ProviderShop()
    order = shop.place(mug=2)
    authorized_in_parts(shop, order, *parts_minor)
    sums_minor = {0}
    for part_minor in parts_minor:
        sums_minor |= {each + part_minor for each in sums_minor}
    least_minor = min((each for each in sums_minor if each >= 500), default=0)
    assert sum(taken_minor(shop, order)) == least_minor


def test_of_very_many_authorizations_enough_are_taken_and_none_in_vain(shop: ProviderShop) -> None:
    order = shop.place(mug=10)
    authorized_in_parts(shop, order, *range(40, 40 + PAYMENT_COUNT_MAX))
    taken = taken_minor(shop, order)
    assert 2_500 <= sum(taken) < 2_500 + min(taken)


def test_a_part_is_not_taken_beside_all_that_was_asked_for_in_vain(shop: ProviderShop) -> None:
    """It may come yet, and then the part would have to go back."""
    order = shop.place(mug=2)
    first, second = shop.start(order), shop.start(order, amount=Money("GBP", 100))
    shop.pay(first)
    shop.tell(first)
    [capturing] = shop.advance(order).payments
    report_of_capture(shop, capturing, Postponed("circuit_open", 3600.0))
    shop.pay(second)
    shop.tell(second)
    assert steps(shop, order) == []


def authorized_beside_one_on_command(shop: ProviderShop, *, on_command_minor: int) -> Order:
    """300 more would be taken by themselves."""
    order = shop.place(mug=2)
    second = shop.start(order, amount=Money("GBP", 300))
    amount = Money("GBP", on_command_minor)
    authorized(shop, order, capture_mode=CaptureMode.ON_COMMAND, amount=amount)
    shop.pay(second)
    shop.tell(second)
    return order


def test_a_part_is_not_taken_beside_all_that_waits_for_a_command(shop: ProviderShop) -> None:
    order = authorized_beside_one_on_command(shop, on_command_minor=500)
    assert steps(shop, order) == []
    shop.carry_out(CapturePayment("o1.2", Money("GBP", 200)))
    assert steps(shop, order) == [Capture("o1.1")]


def test_a_part_is_left_beside_a_lesser_part_of_the_rest_that_was_commanded(shop: ProviderShop) -> None:
    """What is not asked for of an authorization is let go by its provider, and pays for nothing."""
    order = authorized_beside_one_on_command(shop, on_command_minor=500)
    shop.carry_out(CapturePayment("o1.2", Money("GBP", 100)))
    assert steps(shop, order) == []
    shop.pass_time(LEASE)
    shop.come_to_rest(order)
    assert (shop.order().state, shop.order().paid_minor) == (OrderState.AWAITING_PAYMENT, 100)


def test_a_part_is_taken_beside_the_rest_that_waits_for_a_command(shop: ProviderShop) -> None:
    order = authorized_beside_one_on_command(shop, on_command_minor=200)
    assert steps(shop, order) == [Capture("o1.1")]


@pytest.mark.parametrize("on_command_minor", [200, 500])
def test_nothing_is_taken_late_beside_what_nobody_commands_any_more(
    shop: ProviderShop, on_command_minor: int
) -> None:
    order = authorized_beside_one_on_command(shop, on_command_minor=on_command_minor)
    shop.pass_time(HOLD)
    shop.carry_out(ExpireOrder(order.order_id))
    assert steps(shop, order) == [Void("o1.1"), Void("o1.2")]
    shop.come_to_rest(order)
    assert (shop.order().state, shop.order().refunded_minor) == (OrderState.EXPIRED, 0)


def test_the_second_authorization_is_taken_when_the_first_is_refused(shop: ProviderShop) -> None:
    order = shop.place(mug=2)
    authorized_twice(shop, order)
    [first] = shop.advance(order).payments
    shop.refuses_captures = True
    shop.make_call(first)
    shop.refuses_captures = False
    assert steps(shop, order) == [Capture("o1.2")]
    shop.come_to_rest(order)
    states = [payment.state for payment in shop.payments(order).payments]
    assert states == [PaymentState.VOIDED, PaymentState.CAPTURED]
    assert (shop.order().state, shop.kept_at_provider_minor) == (OrderState.PAID, 500)


def test_what_came_another_way_counts(shop: ProviderShop) -> None:
    order = shop.place(mug=2)
    shop.carry_out(shop.payment(order, 400))
    payment = authorized(shop, order)
    assert payment.amount_minor == 100
    assert steps(shop, order) == [Capture("o1.1")]


def test_money_that_waits_for_a_command_is_left_to_it(shop: ProviderShop) -> None:
    order = shop.place(mug=2)
    authorized(shop, order, capture_mode=CaptureMode.ON_COMMAND)
    assert steps(shop, order) == []


def test_an_open_payment_stays_open_while_the_order_waits(shop: ProviderShop) -> None:
    order = shop.place(mug=2)
    shop.start(order)
    assert steps(shop, order) == []


def test_money_whose_capture_was_refused_is_let_go(shop: ProviderShop) -> None:
    order = shop.place(mug=2)
    payment = authorized(shop, order)
    shop.refuses_captures = True
    [claimed] = shop.advance(order).payments
    shop.make_call(claimed)
    shop.tell(payment)
    assert steps(shop, order) == [Void("o1.1")]
    shop.come_to_rest(order)
    assert shop.at_provider["o1.1"].state is ProviderState.VOIDED
    assert shop.order().state is OrderState.AWAITING_PAYMENT


def test_an_order_whose_time_is_up_waits_to_be_told_so(shop: ProviderShop) -> None:
    order = shop.place(mug=2)
    authorized(shop, order)
    shop.pass_time(HOLD)
    assert steps(shop, order) == []


def test_an_expired_order_is_captured_late_if_it_can_be_had(shop: ProviderShop) -> None:
    order = shop.place(mug=2)
    authorized(shop, order)
    shop.pass_time(HOLD)
    shop.carry_out(ExpireOrder(order.order_id))
    assert steps(shop, order, can_be_had=True) == [Capture("o1.1")]
    assert steps(shop, order, can_be_had=False) == [Void("o1.1")]
    shop.come_to_rest(order)
    assert shop.order().state is OrderState.PAID
    assert shop.counters("mug") == (10, 0, 2)


def expired_with_the_rest_held(shop: ProviderShop) -> Order:
    """200 of 500 were taken in time, 300 are authorized."""
    order = shop.place(mug=2)
    part = shop.start(order, capture_mode=CaptureMode.AT_ONCE, amount=Money("GBP", 200))
    shop.pay(part)
    shop.tell(part)
    authorized(shop, order)
    shop.pass_time(HOLD)
    shop.carry_out(ExpireOrder(order.order_id))
    return order


def test_a_part_that_was_paid_in_time_stays_while_the_rest_is_taken_late(shop: ProviderShop) -> None:
    order = expired_with_the_rest_held(shop)
    assert steps(shop, order) == [Capture("o1.2")]
    shop.carry_out(AdvanceOrder(order.order_id))
    assert steps(shop, order) == []
    assert steps(shop, order, can_be_had=False) == [GiveBack("o1.1", 200)]
    shop.pass_time(LEASE)
    shop.come_to_rest(order)
    assert (shop.order().state, shop.order().paid_minor) == (OrderState.PAID, 500)
    assert shop.kept_at_provider_minor == 500


def test_a_part_goes_back_when_the_rest_cannot_be_taken_after_all(shop: ProviderShop) -> None:
    order = expired_with_the_rest_held(shop)
    shop.refuses_captures = True
    shop.come_to_rest(order)
    assert (shop.order().state, shop.order().refunded_minor) == (OrderState.EXPIRED, 200)
    assert shop.kept_at_provider_minor == 0


@pytest.mark.parametrize("by_hand", [False, True])
def test_nothing_is_taken_late_beside_money_that_pays_for_all_of_it(
    shop: ProviderShop, *, by_hand: bool
) -> None:
    """That came when the stock was gone, and goes back, though the stock is there again."""
    order = shop.place(mug=2)
    first, second = shop.start(order, capture_mode=CaptureMode.AT_ONCE), shop.start(order)
    shop.pass_time(HOLD)
    shop.carry_out(ExpireOrder(order.order_id))
    shop.stock("mug", 1)
    if by_hand:
        shop.pay_by_hand(order)
    else:
        shop.pay(first)
        shop.tell(first)
    shop.stock("mug", 10)
    shop.pay(second)
    shop.tell(second)
    goes_back = Void(first.payment_id) if by_hand else GiveBack(first.payment_id, 500)
    assert set(steps(shop, order)) == {goes_back, Void(second.payment_id)}
    shop.come_to_rest(order)
    assert shop.at_provider[second.payment_id].state is ProviderState.VOIDED
    assert (shop.order().state, shop.kept_at_provider_minor) == (OrderState.EXPIRED, 0)


@pytest.mark.parametrize("end", ["cancelled", "expired", "paid"])
def test_nothing_may_be_paid_any_more_once_it_is_decided(shop: ProviderShop, end: str) -> None:
    order = shop.place(mug=2)
    shop.start(order)
    match end:
        case "cancelled":
            shop.carry_out(CancelOrder(order.order_id))
        case "expired":
            shop.pass_time(HOLD)
            shop.carry_out(ExpireOrder(order.order_id))
        case _:
            shop.carry_out(shop.payment(order))
    assert steps(shop, order) == [Void("o1.1")]


def postponed_capture(shop: ProviderShop) -> Order:
    """The provider had no time for it."""
    order = shop.place(mug=2)
    authorized(shop, order)
    [payment] = shop.advance(order).payments
    report_of_capture(shop, payment, Postponed("rate_limit", 3600.0))
    return order


def report_of_capture(shop: ProviderShop, payment: Payment, report: Report) -> Payment:
    assert payment.errand is not None
    attempt = payment.errand.attempt(payment.payment_id)
    return shop.carry_out(ReportPayment(payment.payment_id, report, attempt))


@pytest.mark.parametrize("end", ["cancelled", "paid", "expired"])
def test_money_that_was_asked_for_in_vain_is_called_off_once_nobody_wants_it(
    shop: ProviderShop, end: str
) -> None:
    order = postponed_capture(shop)
    assert steps(shop, order) == []
    if end == "cancelled":
        shop.carry_out(CancelOrder(order.order_id))
    elif end == "paid":
        shop.pay_by_hand(order)
    else:
        shop.pass_time(HOLD + CAPTURE_HOLD)
        shop.carry_out(ExpireOrder(order.order_id))
        assert steps(shop, order) == [], "it is paid late"
    assert steps(shop, order, can_be_had=False) == [Leave("o1.1"), Void("o1.1")]
    if end == "expired":
        return
    shop.come_to_rest(order)
    [payment] = shop.payments(order).payments
    assert (payment.state, payment.captured_minor) == (PaymentState.VOIDED, 0)
    assert shop.order().refunded_minor == shop.kept_at_provider_minor == 0


def test_money_that_is_at_hand_pays_when_what_was_asked_for_first_does_not_come(
    shop: ProviderShop,
) -> None:
    """The customer has paid twice, and the provider of the first is away for hours."""
    order = shop.place(mug=2)
    first, second = shop.start(order), shop.start(order)
    shop.pay(first)
    shop.tell(first)
    [capturing] = shop.advance(order).payments
    report_of_capture(shop, capturing, Postponed("circuit_open", 3600.0))
    shop.pay(second)
    shop.tell(second)
    assert steps(shop, order) == [Capture("o1.2")]
    shop.come_to_rest(order)
    states = [payment.state for payment in shop.payments(order).payments]
    assert states == [PaymentState.VOIDED, PaymentState.CAPTURED]
    assert (shop.order().state, shop.kept_at_provider_minor) == (OrderState.PAID, 500)


@pytest.mark.parametrize("first", [None, Lost("timeout"), Postponed("rate_limit")], ids=str)
def test_money_that_may_have_been_taken_is_asked_for_until_that_is_known(
    shop: ProviderShop, first: Report | None
) -> None:
    order = shop.place(mug=2)
    authorized(shop, order)
    [payment] = shop.advance(order).payments
    if first is not None:
        report_of_capture(shop, payment, first)
        shop.pass_time(LEASE)
        [payment] = shop.advance(order).payments  # and nobody hears of this call
    shop.carry_out(CancelOrder(order.order_id))
    assert steps(shop, order) == []
    shop.pass_time(LEASE)
    [again] = shop.advance(order).payments
    assert again.state in {PaymentState.CAPTURING, PaymentState.UNKNOWN}
    shop.come_to_rest(order)
    assert shop.kept_at_provider_minor == 0


def test_a_slow_payment_can_neither_be_taken_nor_called_off(shop: ProviderShop) -> None:
    order = shop.place(mug=2)
    payment = shop.start(order)
    shop.at_provider[payment.payment_id].state = ProviderState.PROCESSING
    shop.tell(payment)
    shop.carry_out(CancelOrder(order.order_id))
    assert steps(shop, order) == []


def test_money_for_a_cancelled_order_goes_back(shop: ProviderShop) -> None:
    order = shop.place(mug=2)
    payment = shop.start(order, capture_mode=CaptureMode.AT_ONCE)
    shop.pay(payment)
    shop.carry_out(CancelOrder(order.order_id))
    shop.tell(payment)
    assert steps(shop, order) == [GiveBack("o1.1", 500)]
    shop.come_to_rest(order)
    assert shop.kept_at_provider_minor == 0


def test_money_that_comes_late_when_the_stock_is_gone_goes_back(shop: ProviderShop) -> None:
    order = shop.place(mug=2)
    payment = shop.start(order, capture_mode=CaptureMode.AT_ONCE)
    shop.pass_time(HOLD)
    shop.carry_out(ExpireOrder(order.order_id))
    shop.stock("mug", 1)
    shop.pay(payment)
    shop.tell(payment)
    shop.come_to_rest(order)
    assert (shop.order().state, shop.order().refunded_minor) == (OrderState.EXPIRED, 500)
    assert shop.kept_at_provider_minor == 0


def test_of_two_payments_for_one_price_the_newest_goes_back(shop: ProviderShop) -> None:
    order = shop.place(mug=2)
    first = shop.start(order, capture_mode=CaptureMode.AT_ONCE)
    second = shop.start(order, capture_mode=CaptureMode.AT_ONCE)
    for payment in (second, first):
        shop.pay(payment)
        shop.tell(payment)
    assert steps(shop, order) == [GiveBack("o1.2", 500)]
    shop.come_to_rest(order)
    assert shop.kept_at_provider_minor == 500


def test_money_due_for_goods_that_came_back_is_for_staff(shop: ProviderShop) -> None:

    order = shop.paid_order()
    shop.carry_out(CancelOrderLines(order.order_id, (Units("mug", 1),)))
    assert shop.order().refund_due_minor == 250
    assert steps(shop, order) == []


def test_a_surplus_goes_back_once_whatever_goods_come_back_later(shop: ProviderShop) -> None:
    order = shop.place(mug=2)
    for payment in [shop.start(order, capture_mode=CaptureMode.AT_ONCE) for _ in range(2)]:
        shop.pay(payment)
        shop.tell(payment)
    shop.come_to_rest(order)
    assert (shop.order().refunded_minor, shop.kept_at_provider_minor) == (500, 500)
    shop.carry_out(CancelOrderLines(order.order_id, (Units("mug", 1),)))
    assert shop.order().refund_due_minor == 250
    assert steps(shop, order) == [], "the price of goods is for staff to give back"
    shop.carry_out(RefundPayment(order.order_id, "", None, (Units("mug", 1),)))
    assert shop.order().refund_due_minor == 0
    assert steps(shop, order) == []


def test_a_surplus_that_comes_after_goods_came_back_goes_back_without_their_price(
    shop: ProviderShop,
) -> None:
    order = shop.place(mug=2)
    first, second = (shop.start(order, capture_mode=CaptureMode.AT_ONCE) for _ in range(2))
    for payment in (first, second):
        shop.pay(payment)
    shop.tell(first)
    shop.carry_out(CancelOrderLines(order.order_id, (Units("mug", 1),)))
    shop.tell(second)
    shop.come_to_rest(order)
    assert (shop.order().refunded_minor, shop.order().refund_due_minor) == (500, 250)
    assert steps(shop, order) == []


def test_what_the_provider_failed_to_give_back_is_not_tried_again(shop: ProviderShop) -> None:
    order = shop.place(mug=2)
    payment = shop.start(order, capture_mode=CaptureMode.AT_ONCE)
    shop.pay(payment)
    shop.carry_out(CancelOrder(order.order_id))
    shop.tell(payment)
    shop.refuses_refunds = True
    shop.come_to_rest(order)
    assert shop.order().refund_due_minor == 500
    assert steps(shop, order) == []


def test_money_that_is_being_called_off_covers_nothing(shop: ProviderShop) -> None:
    """The rest would be taken, only to be given back."""
    order = shop.place(mug=2)
    first = authorized(shop, order, amount=Money("GBP", 300))
    second = shop.start(order, amount=Money("GBP", 200))
    shop.carry_out(VoidPayment(first.payment_id))
    shop.pay(second)
    shop.tell(second)
    assert steps(shop, order) == []
    shop.pass_time(HOLD)
    shop.carry_out(ExpireOrder(order.order_id))
    assert steps(shop, order) == [Void(second.payment_id)]


# --- every story has an end -----------------------------------------------------------------------


@given(st.lists(st.tuples(st.sampled_from(MONEY_ACTS), st.integers(0, 11)), max_size=14))
@settings(max_examples=150)
def test_each_captured_payment_ends_in_a_paid_order_or_in_a_refund(acts: list[tuple[str, int]]) -> None:
    story = Story()
    for name, number in acts:
        story.act(name, number)
    story.end()
    shop, order = story.shop, story.shop.order()
    payments = shop.payments(order)
    by_hand_minor = order.paid_minor - payments.captured_minor
    assert payments.captured_minor - payments.refunded_minor == shop.kept_at_provider_minor
    if order.state in CLOSED:
        assert shop.kept_at_provider_minor == 0
        assert order.refundable_minor == by_hand_minor, "what came by hand goes back by hand"
    else:
        assert order.state is OrderState.PAID
        assert order.refundable_minor == max(order.total_minor, by_hand_minor)
    for payment in payments.payments:
        assert payment.errand is None
        assert payment.state in {PaymentState.CAPTURED, PaymentState.VOIDED, PaymentState.FAILED}
        at_provider = shop.at_provider[payment.payment_id]
        assert (at_provider.captured_minor > 0) == (payment.state is PaymentState.CAPTURED)
        assert payment.captured_minor == at_provider.captured_minor
    assert shop.advance(order) == shop.advance(order), "there is nothing left to do"


@given(st.lists(st.tuples(st.sampled_from(MONEY_ACTS), st.integers(0, 11)), max_size=14))
@settings(max_examples=150)
def test_no_decision_both_takes_and_calls_off_one_payment(acts: list[tuple[str, int]]) -> None:
    story = Story()
    for name, number in acts:
        story.act(name, number)
        for can_be_had in (True, False):
            found = steps(story.shop, story.order, can_be_had=can_be_had)
            subjects = [each.payment_id for each in found if isinstance(each, Capture | Void)]
            assert len(subjects) == len(set(subjects))
            assert sum(isinstance(each, HoldUntil) for each in found) <= 1
            given_back_minor = sum(e.amount_minor for e in found if isinstance(e, GiveBack))
            assert given_back_minor <= story.shop.order().refundable_minor


PAID = {OrderState.PAID, OrderState.PARTIALLY_FULFILLED, OrderState.FULFILLED}


@given(
    st.sampled_from([(), (500,), (250, 250), (350, 150), (100, 400, 300)]),
    st.lists(st.tuples(st.sampled_from(GOODS_ACTS + MONEY_ACTS), st.integers(0, 11)), max_size=14),
)
@settings(max_examples=300)
def test_goods_leave_for_money_and_money_for_goods(
    parts_minor: tuple[int, ...], acts: list[tuple[str, int]]
) -> None:
    story = Story(*parts_minor)
    for name, number in acts:
        story.act(name, number)
        order = story.shop.order()
        [line] = order.lines
        if order.state not in PAID:
            continue
        left_minor = order.total_minor - line.refunded_minor
        assert order.refundable_minor >= left_minor, "only a surplus goes back by itself"
        if line.shippable_quantity:
            with_buyer_quantity = line.fulfilled_quantity - line.returned_quantity
            sold_quantity = with_buyer_quantity + line.shippable_quantity
            assert order.refundable_minor >= sold_quantity * line.unit_price_minor
        owed_minor = order.refundable_minor - line.kept_minor
        assert order.refund_due_minor == max(owed_minor, 0)
