from collections import Counter
from datetime import datetime

import pytest

from ops.demo.accounts import Accounts, Bucket, LineSettledTwice
from ops.demo.sales import Line


def line(number: int) -> Line:
    return Line(
        number=number,
        invoice="536365",
        code="85123A",
        description="HEART",
        quantity=number,
        invoiced_time=datetime(2010, 12, 1, 8, 26),  # noqa: DTZ001 as in the file
        unit_price_minor=255,
        customer="17850",
        country="United Kingdom",
    )


def test_each_line_is_counted_once_in_its_bucket() -> None:
    accounts = Accounts()
    accounts.settle(line(1), Bucket.ORDERED)
    accounts.settle(line(2), Bucket.REFUSED, "OUT_OF_STOCK")
    accounts.settle(line(3), Bucket.ORDERED)
    assert accounts.accounted == 3
    assert accounts.counts() == {Bucket.ORDERED: 2, Bucket.REFUSED: 1}
    assert accounts.refusals() == Counter({"OUT_OF_STOCK": 1})


def test_a_line_cannot_end_twice() -> None:
    accounts = Accounts()
    accounts.settle(line(1), Bucket.ORDERED)
    with pytest.raises(LineSettledTwice):
        accounts.settle(line(1), Bucket.REFUSED, "OUT_OF_STOCK")
    assert accounts.counts() == {Bucket.ORDERED: 1}


def test_only_what_was_ordered_is_revenue() -> None:
    accounts = Accounts()
    accounts.settle(line(1), Bucket.ORDERED)
    accounts.settle(line(2), Bucket.REFUSED, "OUT_OF_STOCK")
    accounts.settle(line(3), Bucket.ORDERED)
    assert accounts.revenue_minor == 4 * 255


def test_only_a_difference_is_a_mismatch() -> None:
    accounts = Accounts()
    accounts.expect_equal("one", 1, 1)
    assert accounts.mismatches == []
    accounts.expect_equal("one", 2, 1)
    assert accounts.mismatches == ["one is 2, expected 1"]


def test_only_what_was_not_seen_is_stale() -> None:
    accounts = Accounts()
    accounts.expect_seen("cart 1", seen=True)
    assert accounts.stale_reads == []
    accounts.expect_seen("cart 2", seen=False)
    assert accounts.stale_reads == ["cart 2"]
