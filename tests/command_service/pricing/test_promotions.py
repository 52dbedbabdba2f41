"""What promotions take off, and why."""

import pytest

from command_service.adjustments import Adjustment
from command_service.pricing.domain import (
    AmountOff,
    BuyXGetY,
    FreeShipping,
    PercentageOff,
)
from tests.command_service.pricing.shop import (
    HOUR,
    NOW,
    book,
    coupon,
    discounts_minor,
    lines,
    price_list,
    priced,
    promotion,
    retail_prices,
    total_minor,
)

PRICES = retail_prices({"mug": 255, "cup": 105, "pot": 1000, "pin": 0})


def test_a_percentage_is_rounded_once_a_line_half_away_from_zero_and_says_so() -> None:
    [line] = priced(lines(("mug", 1)), PRICES, book(promotion("ten", PercentageOff(1000)))).lines
    assert line.adjustments == (Adjustment("ten", "Ten", "", -26, "-51/2"),)
    assert line.total_minor == 229


def test_a_percentage_without_rounding_leaves_no_fraction() -> None:
    [line] = priced(lines(("pot", 1)), PRICES, book(promotion("ten", PercentageOff(1000)))).lines
    assert line.adjustments == (Adjustment("ten", "Ten", "", -100, ""),)


def test_a_step_too_small_for_a_minor_unit_is_still_told() -> None:
    [line] = priced(
        lines(("cup", 1)), PRICES, book(promotion("tiny", PercentageOff(1), exclusive=True))
    ).lines
    assert line.adjustments == (Adjustment("tiny", "Tiny", "", 0, "-21/2000"),)


def test_yen_and_dinars_are_counted_in_their_own_minor_units() -> None:
    half = promotion("half", PercentageOff(5000))
    for currency_code in ("JPY", "KWD"):
        lists = book(price_list(currency_code=currency_code), half)
        result = priced(lines(("mug", 1)), PRICES, lists, currency_code=currency_code)
        assert total_minor(result) == 127


def test_promotions_apply_one_after_another_by_priority_and_then_by_id() -> None:
    half, pound = PercentageOff(5000), AmountOff("GBP", 100)
    first_half = book(promotion("half", half, priority=2), promotion("pound", pound, priority=1))
    first_pound = book(promotion("half", half, priority=1), promotion("pound", pound, priority=2))
    by_id = book(promotion("half", half), promotion("pound", pound))
    assert total_minor(priced(lines(("pot", 1)), PRICES, first_half)) == 400
    assert total_minor(priced(lines(("pot", 1)), PRICES, first_pound)) == 450
    assert total_minor(priced(lines(("pot", 1)), PRICES, by_id)) == 400


def test_an_exclusive_promotion_keeps_later_ones_off_the_lines_that_it_changed_only() -> None:
    promotions = book(
        promotion("mugs", PercentageOff(2000), priority=2, sku_ids=frozenset({"mug"}), exclusive=True),
        promotion("all", PercentageOff(1000), priority=1),
    )
    result = priced(lines(("mug", 1), ("pot", 1)), PRICES, promotions)
    assert discounts_minor(result) == [-51, -100]


def test_a_fixed_amount_is_spread_by_value_and_adds_up() -> None:
    promotions = book(promotion("ten-off", AmountOff("GBP", 100)))
    result = priced(lines(("mug", 1), ("cup", 1), ("pin", 1)), PRICES, promotions)
    assert discounts_minor(result) == [-70, -30, 0]
    assert result.lines[0].adjustments[0].exact_amount_minor == "-425/6"
    assert result.lines[2].adjustments == ()


def test_a_fixed_amount_is_never_more_than_its_lines_are_worth() -> None:
    promotions = book(promotion("much", AmountOff("GBP", 99_999), sku_ids=frozenset({"mug"})))
    assert discounts_minor(priced(lines(("mug", 2), ("pot", 1)), PRICES, promotions)) == [-510, 0]


def test_a_fixed_amount_of_another_currency_does_not_apply() -> None:
    promotions = book(promotion("euros", AmountOff("EUR", 100)))
    assert discounts_minor(priced(lines(("pot", 1)), PRICES, promotions)) == [0]


@pytest.mark.parametrize(
    ("buy", "get", "wanted", "discounts"),
    [
        (2, 1, [("mug", 3)], [-255]),
        (2, 1, [("mug", 2)], [0]),
        (2, 1, [("mug", 5)], [-255]),
        (2, 1, [("mug", 6)], [-510]),
        # Of pot, mug, cup the cup is free, on whatever line it stands.
        (2, 1, [("cup", 1), ("pot", 1), ("mug", 1)], [-105, 0, 0]),
        # Dearest first: (pot pot) (cup cup), so that ordering the pairs apart saves nothing.
        (1, 1, [("pot", 2), ("cup", 2)], [-1000, -105]),
        (1, 2, [("pot", 2), ("mug", 2)], [-1000, -255]),
    ],
)
def test_of_each_full_group_the_cheapest_units_are_free(
    buy: int, get: int, wanted: list[tuple[str, int]], discounts: list[int]
) -> None:
    promotions = book(promotion("gift", BuyXGetY(buy, get)))
    assert discounts_minor(priced(lines(*wanted), PRICES, promotions)) == discounts


def test_a_gift_is_worth_what_earlier_promotions_left_of_the_unit() -> None:
    promotions = book(
        promotion("half", PercentageOff(5000), priority=1), promotion("gift", BuyXGetY(1, 1))
    )
    # 3 x 255 = 765, halved: 382, so units of 128, 127, 127: the second one is free.
    [line] = priced(lines(("mug", 3)), PRICES, promotions).lines
    assert [a.amount_minor for a in line.adjustments] == [-383, -127]


def test_a_promotion_for_certain_skus_leaves_the_others_alone() -> None:
    promotions = book(promotion("pots", PercentageOff(1000), sku_ids=frozenset({"pot"})))
    assert discounts_minor(priced(lines(("mug", 1), ("pot", 1)), PRICES, promotions)) == [0, -100]


@pytest.mark.parametrize(("quantity", "discount"), [(3, -383), (4, -510 - 51)])
def test_a_minimum_subtotal_counts_the_promotions_own_lines_at_list_price(
    quantity: int, discount: int
) -> None:
    promotions = book(
        promotion("half", PercentageOff(5000), sku_ids=frozenset({"mug"}), priority=9),
        promotion(
            "ten",
            PercentageOff(1000),
            sku_ids=frozenset({"mug"}),
            minimum_subtotal_minor=1000,
            minimum_subtotal_currency_code="GBP",
        ),
    )
    result = priced(lines(("mug", quantity), ("pot", 5)), PRICES, promotions)
    assert discounts_minor(result) == [discount, 0]


def test_a_minimum_in_another_currency_is_not_reached() -> None:
    promotions = book(
        promotion(
            "ten",
            PercentageOff(1000),
            minimum_subtotal_minor=1,
            minimum_subtotal_currency_code="EUR",
        )
    )
    assert discounts_minor(priced(lines(("pot", 1)), PRICES, promotions)) == [0]


def test_shipping_is_free_when_a_promotion_says_so_for_one_of_the_lines() -> None:
    promotions = book(promotion("ship", FreeShipping(), sku_ids=frozenset({"pot"})))
    assert priced(lines(("pot", 1)), PRICES, promotions).free_shipping
    assert not priced(lines(("mug", 1)), PRICES, promotions).free_shipping


@pytest.mark.parametrize(
    "fields",
    [{"active": False}, {"start_time": NOW + HOUR}, {"end_time": NOW}, {"coupon_required": True}],
)
def test_a_promotion_that_is_not_in_force_takes_nothing_off(fields: dict[str, object]) -> None:
    promotions = book(promotion("ten", PercentageOff(1000), **fields))
    assert discounts_minor(priced(lines(("pot", 1)), PRICES, promotions)) == [0]


def test_a_coupon_switches_its_promotion_on_once_and_is_named() -> None:
    promotions = book(promotion("ten", PercentageOff(1000), coupon_required=True))
    held = [coupon("XMAS", "ten"), coupon("ADVENT", "ten"), coupon("OLD", "ten", active=False)]
    [line] = priced(lines(("pot", 1)), PRICES, promotions, coupons=held).lines
    assert line.adjustments == (Adjustment("ten", "Ten", "ADVENT", -100, ""),)


def test_an_inactive_coupon_switches_nothing_on() -> None:
    promotions = book(promotion("ten", PercentageOff(1000), coupon_required=True))
    held = [coupon("OLD", "ten", active=False)]
    assert discounts_minor(priced(lines(("pot", 1)), PRICES, promotions, coupons=held)) == [0]
