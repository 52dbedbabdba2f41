from collections import Counter

from ops.demo.errands import plan
from ops.demo.price_lists import LINES_PER_CART_MAX, baskets, price_lists
from ops.demo.sales import Nature, of_nature, read_sales

LINES = of_nature(read_sales(), Nature.SALE)
BASKETS = baskets(LINES)
LISTS = price_lists(BASKETS)


def test_every_sale_is_in_one_basket() -> None:
    numbers = Counter(line.number for basket in BASKETS for line in basket.lines)
    assert numbers == Counter(line.number for line in LINES)


def test_423_invoices_become_426_orders() -> None:
    assert len({line.invoice for line in LINES}) == 423
    assert len(BASKETS) == 426
    assert {basket.invoice for basket in BASKETS if basket.ordinal == 2} == {
        "536544",
        "536592",
        "536876",
    }


def test_a_basket_has_one_price_of_a_code_and_fits_a_cart() -> None:
    for basket in BASKETS:
        assert all(basket.prices_minor[line.code] == line.unit_price_minor for line in basket.lines)
        assert len(basket.lines) <= LINES_PER_CART_MAX
        assert {line.invoice for line in basket.lines} == {basket.invoice}


def test_each_cart_finds_each_of_its_prices_in_its_list() -> None:
    for basket in BASKETS:
        prices_minor = LISTS.prices_minor[LISTS.list_of_cart[basket.cart_id]]
        for line in basket.lines:
            assert prices_minor[line.code] == line.unit_price_minor


def test_twelve_lists_are_enough() -> None:
    assert len(LISTS.prices_minor) == 12
    assert sum(map(len, LISTS.prices_minor.values())) == 4_948


def test_the_lists_have_no_price_that_nobody_was_asked() -> None:
    asked = {(line.code, line.unit_price_minor) for line in LINES}
    listed = {price for prices in LISTS.prices_minor.values() for price in prices.items()}
    assert listed == asked


def test_the_same_file_makes_the_same_plan() -> None:
    assert plan(read_sales()) == plan(read_sales())
