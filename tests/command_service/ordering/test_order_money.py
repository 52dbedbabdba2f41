"""What is paid, refunded and owed: exact to the last minor unit."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from command_service.errors import (
    InvalidField,
    NothingToRefund,
    RefundExceedsPayments,
    TooManyUnits,
)
from command_service.money import AMOUNT_MINOR_MAX
from command_service.ordering.domain import Order, OrderState
from command_service.ordering.lines import OrderLine, Units
from tests.command_service.ordering.orders import (
    EXPIRES,
    LATER,
    in_state,
    line,
    order,
    paid_order,
    shipped_order,
)


@st.composite
def lines(draw: st.DrawFn) -> tuple[OrderLine, ...]:
    """Lines with any discount up to the whole line."""
    made = []
    for number in range(draw(st.integers(1, 4))):
        quantity = draw(st.integers(1, 12))
        unit_price_minor = draw(st.integers(0, 5_000))
        discount_minor = -draw(st.integers(0, unit_price_minor * quantity))
        made.append(
            line(
                f"l{number}",
                quantity,
                unit_price_minor=unit_price_minor,
                discount_minor=discount_minor,
            )
        )
    return tuple(made)


def refunded_one_by_one(before: Order, line_ids: Iterable[str]) -> Order:
    """A unit at a time; one that alone costs nothing goes along with the next of its line."""
    waiting = Counter[str]()
    after = before
    for line_id in line_ids:
        waiting[line_id] += 1
        try:
            after = after.refund_units((Units(line_id, waiting[line_id]),), LATER)
        except NothingToRefund:
            continue
        waiting[line_id] = 0
    return after


@given(lines(), st.sampled_from(["GBP", "JPY", "KWD"]), st.randoms(use_true_random=False))
def test_refunding_every_unit_one_by_one_returns_exactly_what_was_paid(
    ordered: tuple[OrderLine, ...],
    currency_code: str,
    random: Random,
) -> None:
    paid = paid_order(*ordered, currency_code=currency_code)
    units = [each.line_id for each in ordered for _ in range(each.quantity)]
    random.shuffle(units)
    refunded = refunded_one_by_one(paid, units)
    assert refunded.refunded_minor == paid.total_minor == paid.paid_minor
    assert refunded.refundable_minor == refunded.refund_due_minor == 0


@given(lines(), st.data())
def test_units_cost_the_same_one_by_one_and_together(
    ordered: tuple[OrderLine, ...], data: st.DataObject
) -> None:
    chosen = tuple(Units(each.line_id, data.draw(st.integers(1, each.quantity))) for each in ordered)
    paid = paid_order(*ordered)
    single = refunded_one_by_one(paid, (each.line_id for each in chosen for _ in range(each.quantity)))
    if single.refunded_minor == 0:
        with pytest.raises(NothingToRefund):
            paid.refund_units(chosen, LATER)
    else:
        assert paid.refund_units(chosen, LATER).refunded_minor == single.refunded_minor


@given(lines())
def test_no_single_unit_is_off_its_fair_share_by_a_whole_minor_unit(
    ordered: tuple[OrderLine, ...],
) -> None:
    for each in ordered:
        for unit in range(each.quantity):
            share = each.first_units_minor(unit + 1) - each.first_units_minor(unit)
            assert abs(share * each.quantity - each.total_minor) < each.quantity


@given(lines(), st.data())
def test_what_is_due_for_units_that_came_back_or_were_called_off_is_what_refunding_them_costs(
    ordered: tuple[OrderLine, ...], data: st.DataObject
) -> None:
    units = tuple(Units(each.line_id, data.draw(st.integers(1, each.quantity))) for each in ordered)
    returned = shipped_order(*ordered).take_back(units, LATER)
    called_off = paid_order(*ordered).cancel_units(units, LATER)
    assert returned.refund_due_minor == called_off.refund_due_minor
    for owing in (returned, called_off):
        if owing.refund_due_minor == 0:
            continue
        refunded = owing.refund_units(units, LATER)
        assert refunded.refunded_minor == owing.refund_due_minor
        assert refunded.refund_due_minor == 0
        by_amount = owing.refund_amount(owing.refund_due_minor, LATER)
        assert (by_amount.refund_due_minor, by_amount.gifted_minor) == (0, 0)


def test_unit_shares_of_a_discount_are_frozen() -> None:
    # 10.00 off three units: rounded down, so the first of them bears the odd penny.
    discounted = line(quantity=3, unit_price_minor=1_000, discount_minor=-1_000)
    shares = [
        discounted.first_units_minor(unit + 1) - discounted.first_units_minor(unit) for unit in range(3)
    ]
    assert shares == [666, 667, 667]
    assert sum(shares) == discounted.total_minor == 2_000


def test_no_more_can_be_refunded_than_was_paid_and_not_given_back() -> None:
    partly = paid_order(line(quantity=3)).refund_amount(2_500, LATER)
    with pytest.raises(RefundExceedsPayments) as refused:
        partly.refund_amount(501, LATER)
    assert refused.value.facts == {"refundable_minor": "500", "amount_minor": "501"}
    with pytest.raises(RefundExceedsPayments):
        partly.refund_units((Units("l1", 1),), LATER)
    assert partly.refund_amount(500, LATER).refundable_minor == 0


def test_a_unit_is_refunded_once() -> None:
    refunded = paid_order(line(quantity=1)).receive(5_000, LATER).refund_units((Units("l1", 1),), LATER)
    with pytest.raises(TooManyUnits):
        refunded.refund_units((Units("l1", 1),), LATER)


def test_units_that_cost_nothing_are_not_refunded() -> None:
    free = paid_order(line("l1", 2, unit_price_minor=0), line("l2", 1))
    with pytest.raises(NothingToRefund) as refused:
        free.refund_units((Units("l1", 1),), LATER)
    assert refused.value.facts == {"order_id": "o1"}
    # Beside others that cost something they may be named.
    assert free.refund_units((Units("l1", 1), Units("l2", 1)), LATER).refunded_minor == 1_000


def test_units_refunded_for_too_little_are_made_up_for_with_the_next() -> None:
    # As when one of two refunds of the first unit failed at the provider.
    short = replace(line(quantity=3, discount_minor=-1_000), refunded_quantity=1, refunded_minor=500)
    before = replace(paid_order(), lines=(short,), paid_minor=2_000, refunded_minor=500)
    after = before.refund_units((Units("l1", 2),), LATER)
    assert (after.refunded_minor, after.lines[0].refunded_minor) == (2_000, 2_000)


def test_payments_of_one_order_stay_within_the_range_of_amounts() -> None:
    with pytest.raises(InvalidField):
        paid_order().receive(AMOUNT_MINOR_MAX, LATER)


@pytest.mark.parametrize("state", [OrderState.CANCELLED, OrderState.EXPIRED])
def test_of_a_closed_order_all_money_is_due(state: OrderState) -> None:
    closed = in_state(state).receive(1_234, LATER)
    assert closed.refund_due_minor == 1_234
    assert closed.refund_amount(1_000, LATER).refund_due_minor == 234


def test_of_an_awaiting_order_nothing_is_due() -> None:
    assert order().receive(2_999, LATER).refund_due_minor == 0


def test_a_surplus_is_due_until_it_is_refunded() -> None:
    surplus = paid_order().receive(70, LATER)
    assert surplus.refund_due_minor == 70
    assert surplus.refund_amount(50, LATER).refund_due_minor == 20
    assert surplus.refund_amount(100, LATER).refund_due_minor == 0


def test_a_gift_is_not_taken_out_of_what_is_owed_later() -> None:
    gift = shipped_order(line("l1", 2)).refund_amount(100, LATER)
    assert (gift.gifted_minor, gift.refund_due_minor) == (100, 0)
    assert gift.receive(70, LATER).refund_due_minor == 70
    returned = gift.take_back((Units("l1", 1),), LATER)
    assert returned.refund_due_minor == 1_000
    assert returned.refund_units((Units("l1", 1),), LATER).refund_due_minor == 0
    # All of it: but no more than is still there.
    assert gift.take_back((Units("l1", 2),), LATER).refund_due_minor == 1_900


def test_of_a_refund_only_what_exceeds_the_due_is_a_gift() -> None:
    surplus = paid_order().receive(70, LATER)
    assert surplus.refund_amount(70, LATER).gifted_minor == 0
    beyond = surplus.refund_amount(100, LATER)
    assert (beyond.gifted_minor, beyond.refund_due_minor) == (30, 0)
    assert beyond.receive(50, LATER).refund_due_minor == 50


@pytest.mark.parametrize(
    "state", [OrderState.AWAITING_PAYMENT, OrderState.CANCELLED, OrderState.EXPIRED]
)
def test_what_an_order_that_is_not_paid_gives_back_is_no_gift(state: OrderState) -> None:
    assert in_state(state).receive(500, LATER).refund_amount(400, LATER).gifted_minor == 0


def test_a_goodwill_refund_of_units_makes_their_return_free_but_no_others() -> None:
    shipped = shipped_order(line("l1", 2), line("l2", 2))
    goodwill = shipped.refund_units((Units("l1", 1),), LATER)
    assert goodwill.refund_due_minor == 0
    assert goodwill.take_back((Units("l1", 1),), LATER).refund_due_minor == 0
    assert goodwill.take_back((Units("l2", 1),), LATER).refund_due_minor == 1_000


def test_money_given_back_before_the_order_was_paid_counts_for_nothing_after() -> None:
    expired = order().expire(EXPIRES).receive(3_000, EXPIRES)
    returned = expired.refund_units((Units("l1", 3),), EXPIRES)
    revived: Order = returned.receive(3_000, EXPIRES).settle()
    assert revived.state is OrderState.PAID
    assert revived.refund_due_minor == 0
    assert revived.refundable_minor == 3_000
    assert revived.refund_units((Units("l1", 3),), EXPIRES).refundable_minor == 0
