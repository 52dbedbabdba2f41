"""RecordPayment and RecordRefund: money that exists is recorded, once."""

from dataclasses import replace
from datetime import timedelta

import pytest

from command_service.checkout.cancel_order import CancelOrder
from command_service.checkout.expire_order import ExpireOrder
from command_service.checkout.fulfill_order_lines import FulfillOrderLines
from command_service.checkout.record_refund import RecordRefund
from command_service.errors import (
    CurrencyMismatch,
    NothingToRefund,
    OrderNotFound,
    PaymentAlreadyRecorded,
    RefundAlreadyRecorded,
    RefundExceedsPayments,
)
from command_service.inventory.domain import ReservationState
from command_service.inventory.events import StockMoved
from command_service.money import Money
from command_service.ordering.domain import Order, OrderState, PaymentOutcome
from command_service.ordering.lines import Units
from tests.command_service.checkout.order_shop import HOLD, OrderShop, shop_with_coupon
from tests.command_service.checkout.shop_in_memory import apply, event_names, refused

LAST_MOMENT = HOLD - timedelta(microseconds=1)


@pytest.fixture
def shop() -> OrderShop:
    return OrderShop()


def test_a_full_payment_commits_the_stock(shop: OrderShop) -> None:
    order = shop.place(mug=3)
    shop.pass_time(LAST_MOMENT)
    answer = shop.carry_out(shop.payment(order))
    assert answer.outcome is PaymentOutcome.PAID
    assert (answer.order.state, answer.order.paid_minor) == (OrderState.PAID, 750)
    assert answer.order.refund_due_minor == 0
    assert shop.counters("mug") == (10, 0, 3)
    assert shop.reservation().state is ReservationState.COMMITTED
    assert [type(event).__name__ for event in shop.events[-2:]] == ["PaymentRecorded", "StockMoved"]


def test_partial_payments_add_up_and_commit_once(shop: OrderShop) -> None:
    order = shop.place(mug=3)
    first = shop.carry_out(shop.payment(order, 700))
    assert first.outcome is PaymentOutcome.PARTLY_PAID
    assert first.order.state is OrderState.AWAITING_PAYMENT
    assert shop.counters("mug") == (10, 3, 0)
    second = shop.carry_out(shop.payment(order, 50))
    assert second.outcome is PaymentOutcome.PAID
    assert shop.counters("mug") == (10, 0, 3)


def test_the_same_payment_again_has_no_second_effect(shop: OrderShop) -> None:
    payment = shop.payment(shop.place(mug=3))
    first = shop.carry_out(payment)
    before = shop.snapshot()
    assert shop.carry_out(payment) == first
    assert shop.snapshot() == before


def test_the_same_payment_again_answers_its_outcome_and_the_order_as_it_is_now(
    shop: OrderShop,
) -> None:
    order = shop.place(mug=3)
    payments = [shop.payment(order, amount_minor) for amount_minor in (700, 50, 50)]
    outcomes = [PaymentOutcome.PARTLY_PAID, PaymentOutcome.PAID, PaymentOutcome.REFUND_DUE]
    assert [shop.carry_out(payment).outcome for payment in payments] == outcomes
    shop.carry_out(CancelOrder(order.order_id))
    again = [shop.carry_out(payment) for payment in payments]
    assert [answer.outcome for answer in again] == outcomes
    assert {answer.order.refund_due_minor for answer in again} == {800}


def test_one_payment_never_pays_two_orders(shop: OrderShop) -> None:
    first, second = shop.place("c1", mug=1), shop.place("c2", mug=1)
    payment = shop.payment(first)
    shop.carry_out(payment)
    facts = refused(shop, replace(payment, order_id=second.order_id), PaymentAlreadyRecorded)
    assert facts == {"payment_reference": payment.payment_reference, "order_id": first.order_id}


def test_one_payment_never_has_two_amounts(shop: OrderShop) -> None:
    payment = shop.payment(shop.place(mug=1), 100)
    shop.carry_out(payment)
    refused(shop, replace(payment, amount=Money("GBP", 150)), PaymentAlreadyRecorded)


def test_money_in_another_currency_is_not_counted(shop: OrderShop) -> None:
    payment = shop.payment(shop.place(mug=1))
    refused(shop, replace(payment, amount=Money("EUR", 250)), CurrencyMismatch)


def test_a_payment_for_an_unknown_order_is_refused(shop: OrderShop) -> None:
    payment = shop.payment(shop.place(mug=1))
    refused(shop, replace(payment, order_id="o9"), OrderNotFound)


def test_more_money_than_asked_pays_and_leaves_the_rest_due(shop: OrderShop) -> None:
    answer = shop.carry_out(shop.payment(shop.place(mug=1), 300))
    assert answer.outcome is PaymentOutcome.PAID
    assert (answer.order.state, answer.order.refund_due_minor) == (OrderState.PAID, 50)


def test_a_second_payment_of_a_paid_order_is_all_due(shop: OrderShop) -> None:
    order = shop.place(mug=1)
    shop.pay(order)
    answer = shop.carry_out(shop.payment(order))
    assert answer.outcome is PaymentOutcome.REFUND_DUE
    assert (answer.order.state, answer.order.refund_due_minor) == (OrderState.PAID, 250)
    assert shop.counters("mug") == (10, 0, 1)


def test_a_payment_of_a_shipped_order_is_all_due(shop: OrderShop) -> None:
    order = shop.place(mug=1)
    shop.pay(order)
    shop.carry_out(FulfillOrderLines(order.order_id))
    answer = shop.carry_out(shop.payment(order))
    assert (answer.outcome, answer.order.state) == (PaymentOutcome.REFUND_DUE, OrderState.FULFILLED)


def test_a_payment_of_a_cancelled_order_is_all_due(shop: OrderShop) -> None:
    order = shop.place(mug=1)
    shop.carry_out(CancelOrder(order.order_id))
    answer = shop.carry_out(shop.payment(order))
    assert answer.outcome is PaymentOutcome.REFUND_DUE
    assert (answer.order.state, answer.order.refund_due_minor) == (OrderState.CANCELLED, 250)
    assert shop.counters("mug") == (10, 0, 0)


# --- late money -----------------------------------------------------------------------------------


@pytest.fixture(params=[True, False], ids=["swept", "not yet swept"])
def late(request: pytest.FixtureRequest, shop: OrderShop) -> Order:
    """An order for 3 mugs whose time is up."""
    order = shop.place(mug=3)
    shop.pass_time(HOLD)
    if request.param:
        shop.carry_out(ExpireOrder(order.order_id))
    return order


def test_late_money_pays_if_the_stock_can_still_be_had(shop: OrderShop, late: Order) -> None:
    answer = shop.carry_out(shop.payment(late))
    assert (answer.outcome, answer.order.state) == (PaymentOutcome.PAID, OrderState.PAID)
    assert shop.counters("mug") == (10, 0, 3)
    assert shop.reservation().state is ReservationState.COMMITTED
    kinds = [event.kind.name for event in shop.events if isinstance(event, StockMoved)]
    assert kinds == ["RESERVED", "EXPIRED", "RESERVED", "COMMITTED"]
    names = event_names(shop, 0)
    assert names.index("OrderExpired") < names.index("PaymentRecorded")


def test_late_money_is_due_if_the_stock_is_gone(shop: OrderShop, late: Order) -> None:
    shop.stock("mug", 2)
    answer = shop.carry_out(shop.payment(late))
    assert (answer.outcome, answer.order.state) == (PaymentOutcome.REFUND_DUE, OrderState.EXPIRED)
    assert answer.order.refund_due_minor == 750
    assert shop.level("mug").reserved == shop.level("mug").allocated == 0
    assert shop.reservation().state is ReservationState.EXPIRED


def test_late_money_that_is_too_little_is_due(shop: OrderShop, late: Order) -> None:
    answer = shop.carry_out(shop.payment(late, 749))
    assert (answer.outcome, answer.order.state) == (PaymentOutcome.REFUND_DUE, OrderState.EXPIRED)
    assert answer.order.refund_due_minor == 749
    assert shop.counters("mug") == (10, 0, 0)
    rest = shop.carry_out(shop.payment(late, 1))
    assert (rest.outcome, rest.order.state) == (PaymentOutcome.PAID, OrderState.PAID)
    assert rest.order.refund_due_minor == 0


def test_late_money_finds_stock_at_another_location(shop: OrderShop, late: Order) -> None:
    shop.open_location("annex")
    shop.stock("mug", 0, "main") if shop.level("mug").reserved == 0 else shop.stock("mug", 2)
    shop.stock("mug", 3, "annex")
    assert shop.pay(late).state is OrderState.PAID
    assert shop.counters("mug", "annex") == (3, 0, 3)
    assert [line.location_id for line in shop.reservation().lines] == ["annex"]


def test_late_money_after_the_first_was_given_back_pays_anew(shop: OrderShop, late: Order) -> None:
    shop.stock("mug", 0)
    shop.pay(late)
    shop.carry_out(shop.refund(late, 750))
    shop.stock("mug", 3)
    partly = shop.carry_out(shop.payment(late, 700))
    assert (partly.outcome, partly.order.refund_due_minor) == (PaymentOutcome.REFUND_DUE, 700)
    answer = shop.carry_out(shop.payment(late, 50))
    assert (answer.outcome, answer.order.state) == (PaymentOutcome.PAID, OrderState.PAID)
    assert answer.order.refund_due_minor == 0


@pytest.mark.parametrize("is_swept", [True, False])
def test_late_money_takes_the_coupon_use_again(is_swept: bool) -> None:
    shop, order = late_order_with_coupon(is_swept=is_swept)
    assert shop.pay(order).state is OrderState.PAID
    assert shop.coupon_uses("TENTH") == shop.coupon_uses_of("TENTH", "ada") == 1


def test_late_money_is_due_if_the_coupon_was_used_up_since() -> None:
    shop, order = late_order_with_coupon(is_swept=True)
    shop.fill_cart("c2", "grace", mug=1)
    shop.carry_out(apply("TENTH", cart_id="c2"))
    shop.carry_out(shop.placing("c2"))
    answer = shop.carry_out(shop.payment(order))
    assert (answer.outcome, answer.order.state) == (PaymentOutcome.REFUND_DUE, OrderState.EXPIRED)
    assert shop.coupon_uses("TENTH") == 1
    assert shop.counters("mug") == (10, 1, 0)


def test_late_money_is_not_due_because_the_promotion_has_ended_since() -> None:
    shop, order = late_order_with_coupon(is_swept=True)
    shop.promote("tenth", end_time=shop.now)
    assert shop.pay(order).state is OrderState.PAID


def late_order_with_coupon(*, is_swept: bool) -> tuple[OrderShop, Order]:
    shop = shop_with_coupon(usage_limit=1)
    shop.fill_cart("c1", "ada", mug=2)
    shop.carry_out(apply("TENTH"))
    order = shop.carry_out(shop.placing())
    shop.pass_time(HOLD)
    if is_swept:
        shop.carry_out(ExpireOrder(order.order_id))
        assert shop.coupon_uses("TENTH") == 0
    return shop, order


# --- refunds --------------------------------------------------------------------------------------


def test_a_refund_of_units_gives_back_their_frozen_price(shop: OrderShop) -> None:
    order = shop.place(lamp=3)
    shop.pay(order)
    answer = shop.carry_out(shop.refund_of_units(order, Units("lamp", 2)))
    assert answer.amount == Money("GBP", 2_002)
    assert answer.order.refunded_minor == 2_002
    assert answer.order.lines[0].refunded_quantity == 2
    assert answer.order.refund_due_minor == 0


def test_two_refunds_cannot_give_back_more_than_was_paid(shop: OrderShop) -> None:
    order = shop.place(lamp=1)
    shop.pay(order)
    shop.carry_out(shop.refund(order, 600))
    facts = refused(shop, shop.refund(order, 600), RefundExceedsPayments)
    assert facts == {"refundable_minor": "401", "amount_minor": "600"}


def test_the_same_refund_again_has_no_second_effect(shop: OrderShop) -> None:
    order = shop.place(lamp=2)
    shop.pay(order)
    for refund in (shop.refund(order, 5), shop.refund_of_units(order, Units("lamp", 1))):
        first = shop.carry_out(refund)
        before = shop.snapshot()
        assert shop.carry_out(refund) == first
        assert shop.snapshot() == before


def test_the_same_units_in_another_order_are_the_same_refund(shop: OrderShop) -> None:
    order = shop.pay(shop.place(mug=2, lamp=1))
    one_mug, lamp = Units("mug", 1), Units("lamp", 1)
    refund = shop.refund_of_units(order, one_mug, lamp, one_mug)
    first = shop.carry_out(refund)
    for units in [(lamp, one_mug, one_mug), (Units("mug", 2), lamp)]:
        assert shop.carry_out(replace(refund, units=units)) == first
    refused(shop, replace(refund, units=(one_mug, lamp)), RefundAlreadyRecorded)


def test_units_that_cost_nothing_are_not_refunded(shop: OrderShop) -> None:
    shop.sell("leaflet", 0)
    shop.stock("leaflet", 10)
    order = shop.pay(shop.place(mug=1, leaflet=1))
    refused(shop, shop.refund_of_units(order, Units("leaflet", 1)), NothingToRefund)


def test_a_second_payment_is_due_whole_though_a_gift_was_made_before(shop: OrderShop) -> None:
    order = shop.pay(shop.place(mug=2))
    gift = shop.carry_out(shop.refund(order, 100)).order
    assert (gift.gifted_minor, gift.refund_due_minor) == (100, 0)
    answer = shop.carry_out(shop.payment(order))
    assert (answer.outcome, answer.order.refund_due_minor) == (PaymentOutcome.REFUND_DUE, 500)
    assert shop.carry_out(shop.refund(order, 500)).order.gifted_minor == 100


def test_a_refund_reference_belongs_to_one_refund(shop: OrderShop) -> None:
    first, second = shop.place("c1", lamp=2), shop.place("c2", lamp=2)
    shop.pay(first)
    shop.pay(second)
    refund = shop.refund(first, 1_001)
    shop.carry_out(refund)
    same_money_by_units = RecordRefund("o1", refund.refund_reference, None, (Units("lamp", 1),))
    for other in (
        replace(refund, order_id=second.order_id),
        replace(refund, amount=Money("GBP", 6)),
        same_money_by_units,
    ):
        facts = refused(shop, other, RefundAlreadyRecorded)
        assert facts == {"refund_reference": refund.refund_reference, "order_id": "o1"}


def test_a_refund_in_another_currency_is_refused(shop: OrderShop) -> None:
    order = shop.place(lamp=1)
    shop.pay(order)
    refused(shop, replace(shop.refund(order, 5), amount=Money("EUR", 5)), CurrencyMismatch)


def test_a_payment_and_a_refund_may_share_a_reference(shop: OrderShop) -> None:
    order = shop.place(lamp=1)
    payment = shop.payment(order)
    shop.carry_out(payment)
    refund = replace(shop.refund(order, 5), refund_reference=payment.payment_reference)
    assert shop.carry_out(refund).order.refunded_minor == 5


def test_the_money_of_an_unpaid_order_can_be_given_back(shop: OrderShop) -> None:
    order = shop.place(lamp=1)
    shop.pay(order, 500)
    assert shop.carry_out(shop.refund(order, 500)).order.refundable_minor == 0
    assert shop.pay(order, 501).state is OrderState.AWAITING_PAYMENT
    paid = shop.pay(order, 500)
    assert (paid.state, paid.refund_due_minor) == (OrderState.PAID, 0)
