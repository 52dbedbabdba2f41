"""The ledger of money: every posting sums to zero, and the balances are what there is."""

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from command_service.checkout.cancel_order import CancelOrder
from command_service.checkout.money_ledger import OTHER, posting
from command_service.checkout.refund_payment import RefundPayment
from command_service.money import Money
from command_service.ordering.lines import Units
from command_service.payment.payments import CaptureMode
from tests.command_service.checkout.order_story import GOODS_ACTS, MONEY_ACTS, Story
from tests.command_service.checkout.provider_in_memory import ProviderShop


def balances(shop: ProviderShop) -> dict[str, int]:
    """By account, clearing with its provider; those at zero left out."""
    sums = Counter[str]()
    for event in shop.events:
        entries = posting(event)
        assert sum(entry.amount_minor for entry in entries) == 0
        for account, provider, amount_minor in entries:
            sums[f"{account} {provider}".strip()] += amount_minor
    return {account: amount_minor for account, amount_minor in sums.items() if amount_minor}


@pytest.fixture
def shop() -> ProviderShop:
    return ProviderShop()


def test_a_paid_order_is_revenue_and_money_at_the_provider(shop: ProviderShop) -> None:
    shop.paid_order()
    assert balances(shop) == {"clearing stripe": 500, "revenue": -500}


def test_money_that_came_another_way_stands_apart(shop: ProviderShop) -> None:
    shop.pay_by_hand(shop.place(mug=2))
    assert balances(shop) == {f"clearing {OTHER}": 500, "revenue": -500}


def test_a_part_of_the_price_is_owed_to_the_customer_until_it_is_all_there(shop: ProviderShop) -> None:
    order = shop.place(mug=2)
    payment = shop.start(order, amount=Money("GBP", 200), capture_mode=CaptureMode.AT_ONCE)
    shop.pay(payment)
    shop.tell(payment)
    assert balances(shop) == {"clearing stripe": 200, "receivable": -200}


def test_a_refund_is_payable_until_its_provider_has_done_it(shop: ProviderShop) -> None:
    order = shop.paid_order()
    asked = shop.carry_out(RefundPayment(order.order_id, "", None, (Units("mug", 1),)))
    under_way = {"clearing stripe": 500, "revenue": -500, "refunds": 250, "payable": -250}
    assert balances(shop) == under_way
    shop.make_refund(asked.refunds[0])
    assert balances(shop) == {"clearing stripe": 250, "revenue": -500, "refunds": 250}


@pytest.mark.parametrize("is_done_first", [True, False])
def test_a_refund_that_fails_is_booked_back(shop: ProviderShop, *, is_done_first: bool) -> None:
    order = shop.paid_order()
    before = balances(shop)
    [refund] = shop.carry_out(RefundPayment(order.order_id, "", Money("GBP", 70), ())).refunds
    if is_done_first:
        shop.make_refund(refund)
        shop.fail_refund(refund.refund_id)
    else:
        shop.refuses_refunds = True
        shop.make_refund(refund)
    after = balances(shop)
    assert {name: sum_ for name, sum_ in after.items() if name in {"clearing stripe", "payable"}} == {
        "clearing stripe": 500
    }
    assert sum(after.values()) == sum(before.values()) == 0
    assert after.get("revenue", 0) + after.get("refunds", 0) == -500


def test_money_for_a_cancelled_order_leaves_nothing_behind(shop: ProviderShop) -> None:
    order = shop.paid_order()
    shop.carry_out(CancelOrder(order.order_id))
    assert balances(shop)["receivable"] == -500
    shop.come_to_rest(order)
    assert balances(shop) == {"revenue": -500, "refunds": 500}


@given(
    st.sampled_from([(), (350, 150)]),
    st.lists(st.tuples(st.sampled_from(MONEY_ACTS + GOODS_ACTS), st.integers(0, 11)), max_size=14),
)
@settings(max_examples=120)
def test_the_balances_are_what_there_is_at_every_moment(
    parts_minor: tuple[int, ...], acts: list[tuple[str, int]]
) -> None:
    story = Story(*parts_minor)
    for name, number in acts:
        story.act(name, number)
        check(story.shop)
    story.end()
    check(story.shop)


def check(shop: ProviderShop) -> None:
    """Clearing is what was captured less what is back; what is neither ours nor back is owed."""
    order, sums = shop.order(), balances(shop)
    payments = shop.payments(order)
    under_way_minor = sum(payment.refund_pending_minor for payment in payments.payments)
    at_provider_minor = payments.captured_minor - payments.refunded_minor + under_way_minor
    by_hand_minor = order.paid_minor - payments.captured_minor
    assert sums.get("clearing stripe", 0) == at_provider_minor
    assert sums.get(f"clearing {OTHER}", 0) == by_hand_minor
    assert sums.get("payable", 0) == -under_way_minor
    assert sums.get("receivable", 0) == order.kept_minor - order.refundable_minor
    assert sums.get("revenue", 0) + sums.get("refunds", 0) == -order.kept_minor
