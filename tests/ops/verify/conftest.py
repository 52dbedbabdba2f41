"""A shop that breaks no rule: an order in each state, open carts, coupons, prices."""

from collections.abc import Iterator

import pytest

from tests.history_service.stored_shop import (
    FULFILLED,
    PARTIALLY_FULFILLED,
    Line,
    StoredShop,
    adjustment,
)


@pytest.fixture
def shop(database_url: str) -> Iterator[StoredShop]:
    with StoredShop(database_url) as stored:
        fill(stored)
        yield stored


def fill(shop: StoredShop) -> None:
    shop.move("A", on_hand=20)
    shop.move("B", on_hand=5, location_id="annex")
    shop.insert("price_lists", price_list_id="retail", version=1, currency_code="GBP")
    shop.insert("sku_price_roots", sku_id="A")
    shop.insert("prices", price_list_id="retail", sku_id="A", min_quantity=1, unit_price_minor=255)
    shop.insert("promotions", promotion_id="winter", version=1, title="Winter sale")
    shop.insert("coupons", coupon_code="XMAS", version=1, promotion_id="winter", used_count=1)
    shop.insert("coupon_customers", coupon_code="XMAS", customer_id="ann", used_count=1)
    shop.cart("open", [Line("A", 2, 255, (adjustment(-10),))])
    shop.execute("INSERT INTO carts (cart_id) VALUES ('key-row')")
    shop.place(
        "awaiting",
        [Line("A", 2, 255, (adjustment(-51, coupon_code="XMAS"),))],
        customer_id="ann",
        coupon_codes=["XMAS"],
    )
    shop.place("paid", [Line("A", 1)])
    shop.pay("paid", 255)
    shop.place("partly-shipped", [Line("A", 3)])
    shop.pay("partly-shipped", 765)
    shop.fulfill("partly-shipped", "A", 1, PARTIALLY_FULFILLED)
    shop.place("shipped", [Line("A", 1)])
    shop.pay("shipped", 255)
    shop.fulfill("shipped", "A", 1, FULFILLED)
    shop.take_back("shipped", "A", 1)
    shop.refund("shipped", 255)
    shop.place("cancelled", [Line("A", 1)], customer_id="ann", coupon_codes=["XMAS"])
    shop.cancel("cancelled")
    shop.place("expired", [Line("A", 1)])
    shop.expire("expired")


@pytest.fixture
def lawless(shop: StoredShop) -> StoredShop:
    """The same shop with triggers and foreign keys off, so that its rows can be broken."""
    shop.execute("SET session_replication_role = replica")
    return shop
