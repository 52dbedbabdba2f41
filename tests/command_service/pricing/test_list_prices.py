"""Which list and which tier a SKU's unit price comes from."""

from datetime import datetime

import pytest

from command_service.pricing.domain import (
    BuyXGetY,
    PercentageOff,
    PriceBook,
    PricedLines,
    SkuPrices,
)
from tests.command_service.pricing.shop import (
    HOUR,
    NOW,
    book,
    coupon,
    lines,
    price_list,
    priced,
    promotion,
    retail_prices,
    tiers,
    total_minor,
)


def prices_in(**unit_price_by_list: int) -> dict[str, SkuPrices]:
    tiers_by_list = {list_id: tiers((1, minor)) for list_id, minor in unit_price_by_list.items()}
    return {"mug": SkuPrices("mug", tiers_by_list)}


def chosen_list(price_book: PriceBook, **unit_price_by_list: int) -> str:
    result = priced(lines(("mug", 1)), prices_in(**unit_price_by_list), price_book)
    return result.lines[0].price_list_id


def test_a_line_costs_its_units_at_the_list_price() -> None:
    [line] = priced(lines(("mug", 3)), retail_prices({"mug": 255})).lines
    assert (line.unit_price_minor, line.subtotal_minor, line.discount_minor) == (255, 765, 0)
    assert (line.price_list_id, line.price_tier_min_quantity, line.adjustments) == ("retail", 1, ())


def test_an_empty_cart_costs_nothing() -> None:
    assert priced([], {}).lines == ()


def unpriced(result: PricedLines) -> tuple[str, ...]:
    """SKUs without a price, none of which has a line."""
    assert not {line.sku_id for line in result.lines} & set(result.unpriced_sku_ids)
    return result.unpriced_sku_ids


def test_a_sku_without_a_price_is_named_and_the_others_have_theirs() -> None:
    result = priced(lines(("mug", 1), ("cup", 1)), retail_prices({"mug": 255}))
    assert (unpriced(result), total_minor(result)) == (("cup",), 255)


def test_a_price_in_another_currency_is_no_price() -> None:
    result = priced(lines(("mug", 1)), retail_prices({"mug": 255}), currency_code="EUR")
    assert unpriced(result) == ("mug",)


def test_the_list_of_the_highest_priority_wins_and_then_the_smallest_id() -> None:
    lists = book(price_list("b", priority=5), price_list("a", priority=5), price_list("c", priority=1))
    assert chosen_list(lists, a=3, b=2, c=1) == "a"


def test_a_list_that_does_not_price_the_sku_is_passed_over() -> None:
    lists = book(price_list("best", priority=5), price_list("retail"))
    assert chosen_list(lists, retail=255) == "retail"


def test_a_list_for_a_group_serves_that_group_only() -> None:
    lists = book(price_list("trade", priority=5, customer_group="trade"), price_list("retail"))
    mug = lines(("mug", 1))
    prices = prices_in(trade=200, retail=255)
    assert total_minor(priced(mug, prices, lists, customer_group="trade")) == 200
    assert total_minor(priced(mug, prices, lists, customer_group="press")) == 255
    assert total_minor(priced(mug, prices, lists)) == 255


def test_a_named_list_is_the_only_one_used() -> None:
    lists = book(price_list("named", named_only=True), price_list("retail", priority=9))
    mug = lines(("mug", 1))
    assert total_minor(priced(mug, prices_in(named=1, retail=2), lists, price_list_id="named")) == 1
    assert total_minor(priced(mug, prices_in(named=1, retail=2), lists)) == 2
    assert unpriced(priced(mug, prices_in(retail=2), lists, price_list_id="named")) == ("mug",)


@pytest.mark.parametrize(
    "fields",
    [
        {"currency_code": "EUR"},
        {"customer_group": "trade"},
        {"start_time": NOW + HOUR},
        {"end_time": NOW},
    ],
)
def test_a_named_list_must_be_in_force_and_for_the_buyer(fields: dict[str, object]) -> None:
    lists = book(price_list("named", **fields), price_list("retail"))
    result = priced(lines(("mug", 1)), prices_in(named=1, retail=2), lists, price_list_id="named")
    assert unpriced(result) == ("mug",)


@pytest.mark.parametrize(
    ("start_time", "end_time", "total"),
    [
        (NOW, None, 1),
        (None, NOW + HOUR, 1),
        (NOW - HOUR, NOW + HOUR, 1),
        (NOW + HOUR, None, 255),
        (None, NOW, 255),
    ],
)
def test_a_window_holds_from_its_start_to_before_its_end(
    start_time: datetime | None, end_time: datetime | None, total: int
) -> None:
    sale = price_list("sale", priority=5, start_time=start_time, end_time=end_time)
    result = priced(lines(("mug", 1)), prices_in(sale=1, retail=255), book(sale, price_list()))
    assert total_minor(result) == total


@pytest.mark.parametrize(("quantities", "unit_price_minor"), [([9], 100), ([10], 90), ([4, 6], 90)])
def test_the_tier_goes_by_the_skus_quantity_over_all_lines(
    quantities: list[int], unit_price_minor: int
) -> None:
    prices = {"mug": SkuPrices("mug", {"retail": tiers((1, 100), (10, 90), (100, 50))})}
    result = priced(lines(*(("mug", quantity) for quantity in quantities)), prices)
    assert {line.unit_price_minor for line in result.lines} == {unit_price_minor}


def test_prices_with_and_without_tax_are_never_mixed() -> None:
    lists = book(price_list("trade", priority=5, tax_inclusive=False), price_list("retail"))
    prices = {
        "mug": SkuPrices("mug", {"trade": tiers((1, 200))}),
        "cup": SkuPrices("cup", {"retail": tiers((1, 255))}),
    }
    result = priced(lines(("mug", 1), ("cup", 1)), prices, lists)
    assert (result.tax_inclusive, total_minor(result), unpriced(result)) == (False, 200, ("cup",))


def test_the_best_list_decides_about_tax_where_both_kinds_price_everything() -> None:
    lists = book(price_list("trade", priority=5, tax_inclusive=False), price_list("retail"))
    result = priced(lines(("mug", 1)), prices_in(trade=200, retail=255), lists)
    assert (result.tax_inclusive, total_minor(result)) == (False, 200)


def test_a_better_list_without_prices_leaves_the_shop_open() -> None:
    lists = book(price_list("new", priority=5, tax_inclusive=False), price_list("retail"))
    prices = retail_prices({"mug": 255, "cup": 100})
    result = priced(lines(("mug", 1), ("cup", 1)), prices, lists)
    assert (result.tax_inclusive, total_minor(result), unpriced(result)) == (True, 355, ())
    prices["mug"] = SkuPrices("mug", {"new": tiers((1, 200)), "retail": tiers((1, 255))})
    result = priced(lines(("mug", 1), ("cup", 1)), prices, lists)
    assert (result.tax_inclusive, total_minor(result), unpriced(result)) == (True, 355, ())


def test_prices_are_valid_until_the_first_window_of_the_buyers_opens_or_closes() -> None:
    lists = book(
        price_list("retail", end_time=NOW + 9 * HOUR),
        price_list("soon", start_time=NOW + 5 * HOUR),
        price_list("other", start_time=NOW + HOUR, currency_code="EUR"),
        price_list("past", end_time=NOW),
        promotion("opens", PercentageOff(1000), start_time=NOW + 3 * HOUR),
        promotion("off", PercentageOff(1000), start_time=NOW + HOUR, active=False),
        promotion("cups", PercentageOff(1000), start_time=NOW + HOUR, sku_ids=frozenset({"cup"})),
        promotion("secret", BuyXGetY(1, 1), end_time=NOW + 2 * HOUR, coupon_required=True),
    )
    mug = lines(("mug", 1))
    assert priced(mug, prices_in(retail=255), lists).valid_until == NOW + 3 * HOUR
    held = [coupon("SECRET", "secret")]
    assert priced(mug, prices_in(retail=255), lists, coupons=held).valid_until == NOW + 2 * HOUR
    assert priced(mug, prices_in(retail=255)).valid_until is None
