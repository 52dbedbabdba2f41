"""A refund of ours that people recorded before its provider told of it: the money counts once."""

from dataclasses import replace
from datetime import timedelta

import pytest

from command_service.checkout.cancel_order import CancelOrder
from command_service.checkout.money_ledger import OTHER, posting
from command_service.checkout.record_refund import RecordRefund
from command_service.checkout.refund_payment import RefundPayment
from command_service.checkout.report_payment import ReportRefund
from command_service.errors import RecordedRefundFailed
from command_service.inventory.domain import ReservationState
from command_service.money import Money
from command_service.ordering.domain import Order, OrderState
from command_service.ordering.events import RefundRecordReversed
from command_service.ordering.lines import Units
from command_service.payment.domain import ORDER_PAYMENTS
from command_service.payment.payments import CaptureMode
from command_service.payment.refunds import Refund, RefundState
from command_service.payment.reports import Lost, Refused
from payment_providers.port import ProviderRefund
from tests.command_service.checkout.orders_on_postgresql import LookAtOrder
from tests.command_service.checkout.paid_shop import PaidShop, paid_shop
from tests.command_service.checkout.provider_in_memory import ProviderShop, ask_back
from tests.command_service.checkout.shop_in_memory import event_names
from tests.command_service.conftest import CarryOut
from tests.command_service.payment.tellings import FAILED, PENDING, SUCCEEDED, refund_told


@pytest.fixture
def shop() -> ProviderShop:
    return ProviderShop()


def lose_answer(shop: ProviderShop, refund: Refund) -> None:
    """The provider may have made it; nobody knows, and nobody knows its name."""
    assert refund.errand is not None
    attempt = refund.errand.attempt(refund.refund_id)
    shop.carry_out(ReportRefund(refund.payment_id, refund.refund_id, Lost("no_answer"), attempt))


def record(shop: ProviderShop, refund: Refund, amount_minor: int | None, *units: Units) -> Order:
    """Somebody saw it in the provider's tools."""
    amount = None if amount_minor is None else Money("GBP", amount_minor)
    name = f"re of {refund.refund_id}"
    return shop.carry_out(RecordRefund(refund.order_id, name, amount, units)).order


def tell(shop: ProviderShop, refund: Refund, state: ProviderRefund.State = SUCCEEDED) -> ProviderRefund:
    """What its provider knows of it."""
    told = refund_told(
        state, refund.refund_id, refund.amount_minor, provider_reference=f"re of {refund.refund_id}"
    ).by_provider
    assert isinstance(told, ProviderRefund)
    if state is SUCCEEDED:
        shop.refunded_at_provider[refund.refund_id] = told
    shop.hear(told)
    return told


def nearly_paid(shop: ProviderShop) -> Order:
    """Two mugs for 5.00, of which a penny lacks."""
    order = shop.place(mug=2)
    payment = shop.start(order, amount=Money("GBP", 499), capture_mode=CaptureMode.AT_ONCE)
    shop.pay(payment)
    shop.tell(payment)
    return order


@pytest.mark.parametrize("state", [SUCCEEDED, PENDING])
def test_money_recorded_by_hand_while_nobody_knew_its_refund_counts_once(
    shop: ProviderShop, state: ProviderRefund.State
) -> None:
    order = shop.paid_order()
    [refund] = ask_back(shop, order, 250)
    lose_answer(shop, refund)
    assert record(shop, refund, 250).refunded_minor == 500
    since = len(shop.events)
    tell(shop, refund, state)
    after = shop.order()
    assert (after.refunded_minor, after.gifted_minor, after.refund_due_minor) == (250, 250, 0)
    assert shop.payments(order).refunded_minor == 250
    assert event_names(shop, since) == ["RefundChanged", "RefundRecordReversed"]
    reversed_ = shop.events[-1]
    assert isinstance(reversed_, RefundRecordReversed)
    assert (reversed_.refund_reference, reversed_.amount_minor) == ("re of o1.r1", 250)
    assert posting(reversed_)[:2] == [("clearing", OTHER, 250), ("receivable", "", -250)]


def test_what_was_counted_twice_goes_back_when_its_order_is_called_off(shop: ProviderShop) -> None:
    order = shop.paid_order()
    [refund] = ask_back(shop, order, 250)
    lose_answer(shop, refund)
    record(shop, refund, 250)
    shop.carry_out(CancelOrder(order.order_id))
    shop.come_to_rest(order)
    tell(shop, refund)
    shop.come_to_rest(order)
    assert shop.order().refundable_minor == shop.kept_at_provider_minor == 0


def test_told_or_recorded_again_it_counts_once_still(shop: ProviderShop) -> None:
    order = shop.paid_order()
    [refund] = ask_back(shop, order, 250)
    lose_answer(shop, refund)
    record(shop, refund, 250)
    for _ in range(2):
        tell(shop, refund)
        assert record(shop, refund, 250).refunded_minor == 250
    assert event_names(shop, 0).count("RefundRecordReversed") == 1


def test_one_that_then_fails_counts_not_at_all(shop: ProviderShop) -> None:
    order = shop.paid_order()
    [refund] = ask_back(shop, order, 250)
    lose_answer(shop, refund)
    record(shop, refund, 250)
    since = len(shop.events)
    tell(shop, refund, FAILED)
    after = shop.order()
    assert (after.refunded_minor, after.gifted_minor, after.refundable_minor) == (0, 0, 500)
    assert event_names(shop, since) == ["RefundChanged", "RefundRecordReversed", "RefundFailed"]


def test_one_that_was_told_as_done_and_fails_later_counts_not_at_all(shop: ProviderShop) -> None:
    order = shop.paid_order()
    [refund] = ask_back(shop, order, 250)
    lose_answer(shop, refund)
    record(shop, refund, 250)
    tell(shop, refund)
    shop.fail_refund(refund.refund_id)
    assert (shop.order().refunded_minor, shop.order().gifted_minor) == (0, 0)


def test_units_recorded_by_hand_are_taken_back_and_those_asked_for_stay(shop: ProviderShop) -> None:
    order = shop.paid_order()
    unit = Units(order.lines[0].line_id, 1)
    [refund] = ask_back(shop, order, None, unit)
    lose_answer(shop, refund)
    after = record(shop, refund, None, unit)
    assert (after.lines[0].refunded_quantity, after.refunded_minor) == (2, 500)
    tell(shop, refund)
    after = shop.order()
    [line] = after.lines
    assert (line.refunded_quantity, line.refunded_minor, line.shippable_quantity) == (1, 250, 1)
    assert (after.refunded_minor, after.gifted_minor, after.refund_due_minor) == (250, 0, 0)


def test_less_recorded_than_was_given_back_is_taken_back_as_recorded(shop: ProviderShop) -> None:
    order = shop.paid_order()
    [refund] = ask_back(shop, order, 250)
    lose_answer(shop, refund)
    record(shop, refund, 30)
    tell(shop, refund)
    assert (shop.order().refunded_minor, shop.order().gifted_minor) == (250, 250)


def test_what_another_order_has_recorded_under_the_name_is_left(shop: ProviderShop) -> None:
    other, order = shop.paid_order(), shop.place("o2", mug=2)
    payment = shop.start(order, capture_mode=CaptureMode.AT_ONCE)
    shop.pay(payment)
    shop.tell(payment)
    [refund] = ask_back(shop, order, 250)
    lose_answer(shop, refund)
    shop.carry_out(RecordRefund(other.order_id, f"re of {refund.refund_id}", Money("GBP", 250), ()))
    tell(shop, refund)
    assert shop.order(other.order_id).refunded_minor == shop.order("o2").refunded_minor == 250


def test_an_order_that_lacks_only_what_was_counted_twice_is_paid(shop: ProviderShop) -> None:
    order = shop.place(mug=2)
    first = shop.start(order, amount=Money("GBP", 300), capture_mode=CaptureMode.AT_ONCE)
    shop.pay(first)
    shop.tell(first)
    [refund] = ask_back(shop, order, 100)
    lose_answer(shop, refund)
    record(shop, refund, 100)
    shop.carry_out(shop.payment(order, 300))
    assert shop.order().state is OrderState.AWAITING_PAYMENT
    since = len(shop.events)
    tell(shop, refund)
    assert (shop.order().state, shop.order().refundable_minor) == (OrderState.PAID, 500)
    assert shop.reservation().state is ReservationState.COMMITTED
    assert event_names(shop, since) == ["RefundChanged", "RefundRecordReversed", "StockMoved"]


def test_units_recorded_before_the_order_was_paid_are_in_the_counts_of_no_line_any_more(
    shop: ProviderShop,
) -> None:
    order = nearly_paid(shop)
    unit = Units(order.lines[0].line_id, 1)
    [refund] = ask_back(shop, order, 100)
    lose_answer(shop, refund)
    record(shop, refund, None, unit)
    shop.carry_out(shop.payment(order, 600))
    assert shop.order().state is OrderState.PAID
    shop.pass_time(timedelta(seconds=1))
    [newer] = ask_back(shop, order, None, unit)
    tell(shop, newer)
    tell(shop, refund)
    [line] = shop.order().lines
    assert (line.refunded_quantity, line.refunded_minor) == (1, 250)
    assert [each.state for each in shop.payments(order).refunds] == [RefundState.SUCCEEDED] * 2
    assert shop.order().refunded_minor == 350


def test_units_recorded_before_the_order_was_paid_take_nothing_from_newer_ones_that_were_recorded(
    shop: ProviderShop,
) -> None:
    order = nearly_paid(shop)
    unit = Units(order.lines[0].line_id, 1)
    [refund] = ask_back(shop, order, 100)
    lose_answer(shop, refund)
    record(shop, refund, None, unit)
    shop.pass_time(timedelta(seconds=1))
    shop.carry_out(shop.payment(order, 600))
    shop.pass_time(timedelta(seconds=1))
    shop.carry_out(shop.refund_of_units(order, unit))
    tell(shop, refund)
    after = shop.order()
    [line] = after.lines
    assert (line.refunded_quantity, line.refunded_minor, line.shippable_quantity) == (1, 250, 1)
    assert (after.refunded_minor, after.refund_due_minor) == (350, 499)


def test_units_recorded_after_the_order_was_paid_are_taken_back_with_an_older_refund_that_fails(
    shop: ProviderShop,
) -> None:
    order = nearly_paid(shop)
    line_id = order.lines[0].line_id
    [refund] = ask_back(shop, order, None, Units(line_id, 1))
    lose_answer(shop, refund)
    shop.carry_out(shop.payment(order, 600))
    shop.pass_time(timedelta(seconds=1))
    record(shop, refund, None, Units(line_id, 2))
    tell(shop, refund, FAILED)
    after = shop.order()
    [line] = after.lines
    assert (line.refunded_quantity, line.refunded_minor, line.shippable_quantity) == (0, 0, 2)
    assert (after.refunded_minor, after.refund_due_minor) == (0, 599)


# --- after it has failed --------------------------------------------------------------------------


@pytest.mark.parametrize("is_named", [True, False])
def test_what_is_recorded_after_a_refund_failed_is_other_money(
    shop: ProviderShop, *, is_named: bool
) -> None:
    """Staff gave it back in another way, and keep to its name."""
    order = shop.paid_order()
    [refund] = ask_back(shop, order, 250)
    if is_named:
        tell(shop, refund, FAILED)
    else:
        shop.carry_out(ReportRefund(refund.payment_id, refund.refund_id, Refused("no")))
    assert record(shop, refund, 250).refunded_minor == 250
    if is_named:
        tell(shop, refund, FAILED)
    else:
        with pytest.raises(RecordedRefundFailed):
            tell(shop, refund, FAILED)
    assert shop.order().refunded_minor == 250


def test_what_a_program_of_before_left_counted_is_reversed_when_it_is_told_again(
    shop: ProviderShop,
) -> None:
    """During an upgrade: it heard the name and knew nothing of records that can be reversed."""
    order = shop.paid_order()
    [refund] = ask_back(shop, order, 250)
    lose_answer(shop, refund)
    record(shop, refund, 250)
    payments = shop.payments(order)
    [unnamed] = payments.refunds
    named = replace(
        unnamed,
        state=RefundState.SUCCEEDED,
        provider_reference=f"re of {refund.refund_id}",
        failure_code="",
        errand=None,
    )
    shop.world.apply([ORDER_PAYMENTS.changed(order.order_id, payments.with_refund(named))])
    tell(shop, refund)
    assert shop.order().refunded_minor == 250
    assert event_names(shop, 0)[-1] == "RefundRecordReversed"


# --- as it is stored ------------------------------------------------------------------------------


async def refund_under_way(shop: PaidShop, amount_minor: int) -> Refund:
    """Of an order that was paid by card; nobody has called the provider yet."""
    order = await shop.place(sku0=2)
    await shop.act((await shop.start(order)).payment, "pay", payment_method="pm_card_visa")
    await shop.deliver()
    amount = Money("GBP", amount_minor)
    [refund] = (await shop.carry_out(RefundPayment(order.order_id, "", amount, ()))).refunds
    return refund


def by_hand(refund: Refund, amount_minor: int | None, *units: Units) -> RecordRefund:
    """Under the name that `as_told` tells."""
    amount = None if amount_minor is None else Money("GBP", amount_minor)
    return RecordRefund(refund.order_id, "re_1", amount, units)


def as_told(refund: Refund) -> ReportRefund:
    facts = {"provider_reference": "re_1", "payment_id": refund.payment_id}
    told = refund_told(SUCCEEDED, refund.refund_id, refund.amount_minor, **facts)
    return ReportRefund(refund.payment_id, refund.refund_id, told)


COUNTED = """
SELECT refunded_minor, gifted_minor, (SELECT sum(refunded_quantity) FROM order_lines),
       (SELECT count(*) FROM money_records WHERE kind = 'refund' AND order_id IS NOT NULL)
FROM orders
"""

BY_ACCOUNT = "SELECT account, sum(amount_minor)::bigint FROM money_entries GROUP BY account"


async def test_a_record_is_taken_back_with_its_units_and_its_gift(carry_out: CarryOut) -> None:
    async with paid_shop(carry_out) as shop:
        refund = await refund_under_way(shop, 50)
        order = await carry_out(LookAtOrder(refund.order_id))
        assert order is not None
        await carry_out(by_hand(refund, None, Units(order.lines[0].line_id, 1)))
        assert await carry_out.fetch(COUNTED) == [(150, 50, 1, 1)]
        await carry_out(as_told(refund))
        assert await carry_out.fetch(COUNTED) == [(50, 50, 0, 0)]
        booked: dict[str, int] = dict(await carry_out.fetch(BY_ACCOUNT))
        assert (booked["clearing"], booked["payable"], booked["receivable"]) == (150, 0, 0)
        assert booked["revenue"] + booked["refunds"] == -150


async def test_in_one_batch_it_counts_once_whichever_comes_first(carry_out: CarryOut) -> None:
    async with paid_shop(carry_out) as shop:
        refund = await refund_under_way(shop, 50)
        recording = by_hand(refund, 50)
        await carry_out.together([recording, as_told(refund), recording])
        assert await carry_out.fetch(COUNTED) == [(50, 50, 0, 0)]


async def test_the_row_of_a_record_stays_when_somebody_of_the_same_batch_would_record_it_again(
    carry_out: CarryOut,
) -> None:
    """Others may wait for its lock, and would come away with nothing."""
    async with paid_shop(carry_out) as shop:
        refund = await refund_under_way(shop, 50)
        await carry_out(by_hand(refund, 50))
        await carry_out.together([as_told(refund), by_hand(refund, 50)])
        assert await carry_out.fetch(COUNTED) == [(50, 50, 0, 0)]
        rows = await carry_out.fetch("SELECT reference FROM money_records WHERE kind = 'refund'")
        assert rows == [("re_1",)]


@pytest.mark.breaks_invariants("inv_refund_counted_twice")
async def test_what_a_program_of_before_has_recorded_is_shown_to_people(carry_out: CarryOut) -> None:
    """What it did to its order is not known."""
    async with paid_shop(carry_out) as shop:
        refund = await refund_under_way(shop, 50)
        await carry_out(by_hand(refund, 50))
        await carry_out.fetch(
            "UPDATE money_records SET lines = NULL, gifted_minor = NULL, create_time = NULL RETURNING 1"
        )
        await carry_out(as_told(refund))
        assert await carry_out.fetch(COUNTED) == [(100, 100, 0, 1)]
        found = await carry_out.fetch("SELECT refund_id, recorded_minor FROM inv_refund_counted_twice")
        assert found == [(refund.refund_id, 50)]
