from collections import Counter
from dataclasses import replace
from datetime import datetime

import pytest

from ops.demo.sales import (
    NOT_GOODS_CODES,
    Line,
    Nature,
    by_invoice,
    match_returns,
    of_nature,
    pence,
    read_sales,
    titles,
)

SALES = read_sales()

SOLD = Line(
    number=1,
    invoice="536365",
    code="85123A",
    description="HEART",
    quantity=6,
    invoiced_time=datetime(2010, 12, 1, 8, 26),  # noqa: DTZ001 as in the file
    unit_price_minor=255,
    customer="17850",
    country="United Kingdom",
)


def test_the_file_is_what_the_readme_says() -> None:
    assert len(SALES) == 10_000
    assert len(by_invoice(SALES)) == 512
    assert len({line.code for line in SALES}) == 2_015
    assert len({line.country for line in SALES}) == 15
    assert SALES[0] == replace(SOLD, description="WHITE HANGING HEART T-LIGHT HOLDER")


def test_every_line_is_exactly_one_thing() -> None:
    assert Counter(line.nature for line in SALES) == {
        Nature.SALE: 9_819,
        Nature.RETURN: 98,
        Nature.ADJUSTMENT: 45,
        Nature.NOT_GOODS: 38,
    }


def test_every_code_that_is_not_five_digits_and_letters_is_no_goods() -> None:
    others = {line.code for line in SALES if not line.code[:5].isdigit()}
    assert others == set(NOT_GOODS_CODES)


def test_the_codes_that_are_no_goods_are_counted() -> None:
    assert Counter(line.code for line in of_nature(SALES, Nature.NOT_GOODS)) == {
        "POST": 18,
        "M": 10,
        "DOT": 6,
        "D": 2,
        "C2": 1,
        "BANK CHARGES": 1,
    }


def test_all_negative_lines_without_a_c_are_adjustments() -> None:
    negative = [line for line in SALES if line.quantity < 0 and not line.invoice.startswith("C")]
    assert len(negative) == 30
    assert {line.nature for line in negative} == {Nature.ADJUSTMENT}


def test_what_costs_nothing_is_sold_to_a_customer_and_corrected_without_one() -> None:
    free = [line for line in SALES if line.unit_price_minor == 0 and line.quantity > 0]
    assert Counter(line.nature for line in free) == {Nature.ADJUSTMENT: 15, Nature.SALE: 1}
    assert replace(SOLD, unit_price_minor=0).nature is Nature.SALE
    assert replace(SOLD, unit_price_minor=0, customer="").nature is Nature.ADJUSTMENT


def test_a_discount_that_was_cancelled_is_still_no_goods() -> None:
    assert replace(SOLD, code="D", invoice="C536379", quantity=-1).nature is Nature.NOT_GOODS


def test_the_sales_are_worth_what_the_file_says_to_the_penny() -> None:
    assert sum(line.amount_minor for line in of_nature(SALES, Nature.SALE)) == 18_031_618


@pytest.mark.parametrize(
    ("pounds", "expected"), [("2.55", 255), ("0.1", 10), ("165", 16500), ("0", 0), ("1.15", 115)]
)
def test_pounds_are_read_exactly(pounds: str, expected: int) -> None:
    assert pence(pounds) == expected


def test_half_a_penny_is_refused() -> None:
    with pytest.raises(ValueError, match=r"0\.125"):
        pence("0.125")


def test_ten_returns_have_an_earlier_sale_and_88_have_none() -> None:
    matched = match_returns(SALES)
    assert len(matched) == 10
    assert len(of_nature(SALES, Nature.RETURN)) - len(matched) == 88


def test_a_matched_return_is_of_the_same_code_and_customer_and_later() -> None:
    by_number = {line.number: line for line in SALES}
    for number, sale in match_returns(SALES).items():
        returned = by_number[number]
        assert (returned.code, returned.customer) == (sale.code, sale.customer)
        assert sale.nature is Nature.SALE
        assert sale.number < number


def test_22_returns_match_a_sale_by_customer_and_code_whenever_it_was() -> None:
    bought = {(line.customer, line.code) for line in of_nature(SALES, Nature.SALE)}
    returns = of_nature(SALES, Nature.RETURN)
    assert sum((line.customer, line.code) in bought for line in returns) == 22


def test_a_return_is_matched_with_the_latest_sale_that_has_enough_units_out() -> None:
    lines = [
        SOLD,
        replace(SOLD, number=2, quantity=2),
        replace(SOLD, number=3, invoice="C1", quantity=-2),
        replace(SOLD, number=4, invoice="C2", quantity=-5),
        replace(SOLD, number=5, invoice="C3", quantity=-2),
    ]
    assert match_returns(lines) == {3: lines[1], 4: lines[0]}


@pytest.mark.parametrize("other", [{"customer": "1"}, {"code": "85123a"}, {"quantity": -7}])
def test_a_return_of_something_else_is_not_matched(other: dict[str, object]) -> None:
    back = replace(SOLD, number=2, invoice="C1", quantity=-1)
    assert match_returns([SOLD, replace(back, **other)]) == {}  # type: ignore[arg-type]  # one field each


def test_a_guest_cannot_be_matched() -> None:
    guest = replace(SOLD, customer="")
    assert match_returns([guest, replace(guest, number=2, invoice="C1", quantity=-1)]) == {}


def test_every_code_that_is_goods_has_a_title() -> None:
    found = titles(SALES)
    assert len(found) == 2_009
    assert all(found.values())
    assert found["85123A"] == "WHITE HANGING HEART T-LIGHT HOLDER"
    assert sum(code == title for code, title in found.items()) == 15
    # "?" and "amazon" are notes of staff.
    assert not {"?", "amazon"} & set(found.values())


def test_27_pairs_of_codes_differ_by_case_only() -> None:
    codes = titles(SALES)
    assert len(codes) - len({code.casefold() for code in codes}) == 27
