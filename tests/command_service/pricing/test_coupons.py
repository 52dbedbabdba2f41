"""Who may use a coupon, and how its uses are counted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from command_service.errors import (
    CouponNeedsCustomer,
    CouponNotFound,
    CouponNotValid,
    CouponUsedUp,
    Refusal,
)
from command_service.pricing.coupons import check_coupon, hold_use, normalised_code, return_use
from command_service.pricing.domain import Coupon, CouponCustomer, PercentageOff, Promotion
from command_service.pricing.events import CouponUseHeld, CouponUseReturned
from tests.command_service.pricing.shop import HOUR, NOW, coupon, promotion

TEN = promotion("ten", PercentageOff(1000), coupon_required=True)


def check(
    found: Coupon | None,
    found_promotion: Promotion | None = TEN,
    uses: CouponCustomer | None = None,
    customer_id: str = "ann",
) -> None:
    check_coupon(found, "XMAS", found_promotion, uses, customer_id=customer_id, now=NOW)


def test_codes_are_compared_in_capitals() -> None:
    assert normalised_code("xMas_10-off") == "XMAS_10-OFF"


def test_a_coupon_may_be_used_by_a_guest_when_nothing_is_limited() -> None:
    check(coupon("XMAS", "ten"), customer_id="")


@pytest.mark.parametrize(
    ("found", "found_promotion", "refusal"),
    [
        (None, TEN, CouponNotFound),
        (coupon("XMAS", "ten", active=False), TEN, CouponNotValid),
        (coupon("XMAS", "ten"), None, CouponNotValid),
        (coupon("XMAS", "ten"), promotion("ten", PercentageOff(1), active=False), CouponNotValid),
        (coupon("XMAS", "ten"), promotion("ten", PercentageOff(1), end_time=NOW), CouponNotValid),
        (
            coupon("XMAS", "ten"),
            promotion("ten", PercentageOff(1), start_time=NOW + HOUR),
            CouponNotValid,
        ),
        (coupon("XMAS", "ten", usage_limit=0), TEN, CouponUsedUp),
        (coupon("XMAS", "ten", usage_limit=2, used_count=2), TEN, CouponUsedUp),
        (coupon("XMAS", "ten", usage_limit=1, used_count=2), TEN, CouponUsedUp),
        (coupon("XMAS", "ten", usage_limit_per_customer=0), TEN, CouponUsedUp),
    ],
)
def test_a_coupon_that_cannot_be_used_is_refused_with_its_code(
    found: Coupon | None, found_promotion: Promotion | None, refusal: type[Refusal]
) -> None:
    with pytest.raises(refusal) as refused:
        check(found, found_promotion)
    assert refused.value.facts == {"coupon_code": "XMAS"}


def test_a_limit_per_customer_needs_a_customer_and_counts_that_one_only() -> None:
    limited = coupon("XMAS", "ten", usage_limit_per_customer=1, used_count=7)
    check(limited)
    with pytest.raises(CouponNeedsCustomer):
        check(limited, customer_id="")
    with pytest.raises(CouponUsedUp):
        check(limited, uses=CouponCustomer("XMAS", "ann", 1))


def test_holding_a_use_counts_it_for_the_coupon_and_the_customer() -> None:
    limited = coupon("XMAS", "ten", usage_limit=5, usage_limit_per_customer=2, used_count=3)
    held, uses, event = hold_use(limited, None, order_id="o1", customer_id="ann")
    assert (held.used_count, held.held_under_limit) == (4, 5)
    assert uses == CouponCustomer("XMAS", "ann", 1, 2)
    assert event == CouponUseHeld("XMAS", "o1", "ann", 4)


def test_a_known_customer_is_counted_even_without_a_limit_and_a_guest_is_not() -> None:
    free = coupon("XMAS", "ten")
    assert hold_use(free, None, order_id="o1", customer_id="ann")[1] == CouponCustomer(
        "XMAS", "ann", 1, None
    )
    assert hold_use(free, None, order_id="o1", customer_id="")[1] is None


@given(st.integers(0, 5), st.integers(0, 3), st.lists(st.booleans(), max_size=30))
def test_no_history_of_uses_exceeds_a_limit_and_each_return_frees_one_use(
    limit: int, limit_per_customer: int, is_hold_by_turn: list[bool]
) -> None:
    current = coupon("XMAS", "ten", usage_limit=limit, usage_limit_per_customer=limit_per_customer)
    uses: CouponCustomer | None = None
    held_count = 0
    for is_hold in is_hold_by_turn:
        if is_hold:
            try:
                check(current, uses=uses)
            except CouponUsedUp:
                assert held_count == min(limit, limit_per_customer)
                continue
            current, uses, _ = hold_use(current, uses, order_id="o1", customer_id="ann")
            held_count += 1
        elif held_count:
            current, uses, event = return_use(current, uses, order_id="o1", customer_id="ann")
            held_count -= 1
            assert event == CouponUseReturned("XMAS", "o1", "ann", held_count)
        assert current.used_count == held_count <= min(limit, limit_per_customer)
        assert (uses.used_count if uses else 0) == held_count
