"""What the demo calls stale, and what a mismatch: each claim can fail."""

from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest

from ops.demo.accounts import Accounts, Bucket
from ops.demo.audit import Units, expected_units
from ops.demo.errands import SHIPPING_ENDS, plan
from ops.demo.fresh_reads import FreshReads
from ops.demo.opening_stock import WAREHOUSE
from ops.demo.sales import Line
from ops.demo.shop import Shop
from shopkeeper.cart.v1.cart_pb2 import CART_STATE_OPEN, CART_STATE_ORDERED, Cart, CartLine
from shopkeeper.cart.v1.cart_query_service_pb2 import GetCartResponse
from shopkeeper.inventory.v1.inventory_pb2 import Stock, StockLevel
from shopkeeper.inventory.v1.inventory_query_service_pb2 import BatchGetStockResponse
from shopkeeper.ordering.v1.ordering_pb2 import Order, OrderLine
from shopkeeper.ordering.v1.ordering_query_service_pb2 import GetOrderResponse

LINE = Line(
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
CART_LINE = CartLine(
    line_id="line-1", sku_id="85123A", quantity=6, unit_price_minor=255, total_minor=1530
)
ORDER = Order(
    order_id="o",
    etag="1",
    lines=[
        OrderLine(line_id="line-1", sku_id="85123A", quantity=6),
        OrderLine(line_id="line-2", sku_id="85123A", quantity=2),
    ],
)


class ShopThatAnswers(Shop):
    """Answers every query with the same response."""

    def __init__(self, response: object) -> None:
        self.response = response

    async def query(self, rpc: Any, request: Any) -> Any:
        assert request.at_least_as_fresh == "token"
        return self.response


def reads(response: object) -> tuple[FreshReads, Accounts]:
    accounts = Accounts()
    return FreshReads(ShopThatAnswers(response), accounts), accounts


async def test_a_cart_as_it_was_written_is_right() -> None:
    cart = Cart(cart_id="c", etag="2", lines=[CART_LINE])
    fresh, accounts = reads(GetCartResponse(cart=cart))
    await fresh.expect_cart(cart, "token")
    await fresh.expect_cart_line("c", LINE, "token")
    assert (accounts.stale_reads, accounts.mismatches) == ([], [])


async def test_a_cart_with_another_etag_is_stale() -> None:
    fresh, accounts = reads(GetCartResponse(cart=Cart(cart_id="c", etag="1")))
    await fresh.expect_cart(Cart(cart_id="c", etag="2"), "token")
    assert (len(accounts.stale_reads), accounts.mismatches) == (1, [])


async def test_a_cart_that_differs_under_its_etag_is_a_mismatch() -> None:
    fresh, accounts = reads(GetCartResponse(cart=Cart(cart_id="c", etag="2", customer_id="x")))
    await fresh.expect_cart(Cart(cart_id="c", etag="2"), "token")
    assert (accounts.stale_reads, len(accounts.mismatches)) == ([], 1)


async def test_a_cart_without_the_line_is_stale() -> None:
    fresh, accounts = reads(GetCartResponse(cart=Cart(cart_id="c")))
    await fresh.expect_cart_line("c", LINE, "token")
    assert (len(accounts.stale_reads), accounts.mismatches) == (1, [])


async def test_a_line_at_another_price_than_in_the_file_is_a_mismatch() -> None:
    dearer = CartLine(
        line_id="line-1", sku_id="85123A", quantity=6, unit_price_minor=256, total_minor=1536
    )
    fresh, accounts = reads(GetCartResponse(cart=Cart(cart_id="c", lines=[dearer])))
    await fresh.expect_cart_line("c", LINE, "token")
    assert (accounts.stale_reads, len(accounts.mismatches)) == ([], 1)


async def test_a_cart_that_is_still_open_after_its_order_is_stale() -> None:
    fresh, accounts = reads(GetCartResponse(cart=Cart(cart_id="c", state=CART_STATE_OPEN)))
    await fresh.expect_cart_state("c", CART_STATE_ORDERED, "token")
    assert len(accounts.stale_reads) == 1


async def test_an_older_order_is_stale() -> None:
    fresh, accounts = reads(GetOrderResponse(order=Order(order_id="o", etag="0")))
    await fresh.expect_order(ORDER, "token")
    assert (len(accounts.stale_reads), accounts.mismatches) == (1, [])


@pytest.mark.parametrize(("reserved", "stale_count"), [(8, 0), (9, 0), (7, 1)])
async def test_stock_that_does_not_hold_what_all_lines_ordered_is_stale(
    reserved: int, stale_count: int
) -> None:
    levels = [
        StockLevel(location_id="a", reserved=5),
        StockLevel(location_id="b", reserved=reserved - 5),
    ]
    stock = Stock(sku_id="85123A", levels=levels)
    fresh, accounts = reads(BatchGetStockResponse(stock=[stock]))
    await fresh.expect_reserved(ORDER, "token")
    assert len(accounts.stale_reads) == stale_count


def test_units_beyond_the_supply_are_oversold() -> None:
    assert Units(supplied=5, sold=7, shipped=5).oversold == 2
    assert Units(supplied=7, sold=7, shipped=7).oversold == 0


def test_the_expected_counters_add_up_what_clients_were_told() -> None:
    lines = [
        LINE,
        replace(LINE, number=2, invoiced_time=SHIPPING_ENDS),
        replace(LINE, number=3, quantity=-1, unit_price_minor=0, customer=""),
        replace(LINE, number=4, quantity=-2, invoice="C1"),
        replace(LINE, number=6, quantity=-1, invoice="C2"),
    ]
    work, accounts = plan(lines), Accounts()
    buckets = (Bucket.ORDERED, Bucket.ORDERED, Bucket.ADJUSTMENT, Bucket.RETURNED, Bucket.RETURNED)
    for line, bucket in zip(lines, buckets, strict=True):
        accounts.settle(line, bucket)
    opening = work.opening_stock.units[LINE.code, WAREHOUSE]
    # One unit was written off, two came back whole and one (line 6) damaged.
    assert expected_units(work, accounts) == {
        LINE.code: Units(supplied=opening - 1 + 2, sold=12, shipped=6)
    }
