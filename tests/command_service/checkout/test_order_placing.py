"""PlaceOrder: one atomic decision."""

from dataclasses import replace
from datetime import timedelta

import pytest

from command_service.cart.domain import CartState
from command_service.cart.events import CartClosed
from command_service.catalog.domain import SKU
from command_service.errors import (
    CartChanged,
    CartEmpty,
    CartNotFound,
    CartNotOpen,
    CartOfAnotherCustomer,
    CouponNeedsCustomer,
    CouponUsedUp,
    CurrencyMismatch,
    OutOfStock,
    PriceChanged,
    SkuNotOnSale,
)
from command_service.inventory.domain import ReservationState
from command_service.money import Money
from command_service.ordering.domain import OrderState, PaymentMode
from command_service.ordering.events import OrderPlaced
from command_service.pricing.domain import AmountOff, FreeShipping
from tests.command_service.checkout.order_shop import CONTACT, HOLD, OrderShop, shop_with_coupon
from tests.command_service.checkout.shop_in_memory import add, apply, create, refused


@pytest.fixture
def shop() -> OrderShop:
    return OrderShop()


def test_a_cart_becomes_an_order_that_holds_its_stock(shop: OrderShop) -> None:
    shop.fill_cart("c1", "ada", mug=2, lamp=1)
    order = shop.carry_out(shop.placing("c1", contact=CONTACT))
    assert order.state is OrderState.AWAITING_PAYMENT
    assert order.total == Money("GBP", 1_501)
    assert [(line.line_id, line.sku_id, line.quantity) for line in order.lines] == [
        ("mug", "mug", 2),
        ("lamp", "lamp", 1),
    ]
    assert (order.customer_id, order.cart_id, order.etag) == ("ada", "c1", "1")
    assert order.placed_time == shop.now
    assert order.expire_time == shop.reservation().expire_time == shop.now + HOLD
    assert shop.reservation().state is ReservationState.HELD
    assert shop.reservation().is_of_order
    assert shop.counters("mug") == (10, 2, 0)
    assert shop.counters("lamp") == (10, 1, 0)
    assert shop.cart("c1").state is CartState.ORDERED


def test_the_facts_are_told_in_one_go(shop: OrderShop) -> None:
    order = shop.place(mug=1)
    assert [type(event).__name__ for event in shop.events[-3:]] == [
        "OrderPlaced",
        "StockMoved",
        "CartClosed",
    ]
    placed, _, closed = shop.events[-3:]
    assert isinstance(placed, OrderPlaced)
    assert placed.order == order
    assert isinstance(closed, CartClosed)
    assert closed.successor_id == order.order_id


def test_an_order_paid_at_the_counter_awaits_it_there(shop: OrderShop) -> None:
    shop.fill_cart(mug=1)
    order = shop.carry_out(shop.placing(payment_mode=PaymentMode.IN_STORE))
    assert order.state is OrderState.AWAITING_INSTORE_PAYMENT


def test_a_guests_cart_may_become_anybodys_order(shop: OrderShop) -> None:
    shop.fill_cart("c1", mug=1)
    assert shop.carry_out(shop.placing(customer_id="grace")).customer_id == "grace"


def test_a_customers_cart_becomes_nobody_elses_order(shop: OrderShop) -> None:
    shop.fill_cart("c1", "ada", mug=1)
    seen = shop.placing(customer_id="grace")
    assert refused(shop, seen, CartOfAnotherCustomer) == {"cart_id": "c1"}
    assert shop.carry_out(shop.placing(customer_id="ada")).customer_id == "ada"


def test_an_order_that_costs_nothing_is_paid_at_once(shop: OrderShop) -> None:
    shop.sell("leaflet", 0)
    shop.stock("leaflet", 5)
    order = shop.place(leaflet=2)
    assert order.state is OrderState.PAID
    assert shop.counters("leaflet") == (5, 0, 2)
    assert shop.reservation().state is ReservationState.COMMITTED


def test_two_lines_of_one_sku_are_added_up_before_stock_is_looked_at(shop: OrderShop) -> None:
    shop.carry_out(create())
    shop.carry_out(add("mug", 6, line_id="plain"))
    shop.carry_out(add("mug", 5, line_id="engraved"))
    facts = refused(shop, shop.placing(), OutOfStock)
    assert facts == {"shortages": "mug: 11 wanted, 10 available", "short_count": "1"}
    shop.stock("mug", 11)
    order = shop.carry_out(shop.placing())
    assert [line.quantity for line in order.lines] == [6, 5]
    assert shop.counters("mug") == (11, 11, 0)


def test_every_short_sku_is_named_and_none_is_held(shop: OrderShop) -> None:
    shop.fill_cart(mug=11, lamp=12)
    facts = refused(shop, shop.placing(), OutOfStock)
    assert facts == {
        "shortages": "lamp: 12 wanted, 10 available; mug: 11 wanted, 10 available",
        "short_count": "2",
    }


def test_what_never_had_stock_is_out_of_stock(shop: OrderShop) -> None:
    shop.sell("ghost", 100)
    shop.fill_cart(ghost=1)
    refused(shop, shop.placing(), OutOfStock)


def test_one_order_may_be_filled_from_several_locations(shop: OrderShop) -> None:
    shop.open_location("annex")
    shop.stock("mug", 4, "annex")
    shop.place(mug=14)
    assert shop.counters("mug", "main") == (10, 10, 0)
    assert shop.counters("mug", "annex") == (4, 4, 0)


def test_a_cart_that_was_changed_since_is_refused(shop: OrderShop) -> None:
    shop.fill_cart(mug=1)
    seen = shop.placing()
    shop.carry_out(add("lamp"))
    assert refused(shop, seen, CartChanged) == {"cart_id": "c1", "etag": shop.cart().etag}


def test_a_price_that_changed_since_is_refused_with_the_new_total(shop: OrderShop) -> None:
    shop.fill_cart(mug=2)
    seen = shop.placing()
    shop.sell("mug", 300)
    assert refused(shop, seen, PriceChanged) == {
        "total_minor": "600",
        "currency_code": "GBP",
        "terms": "with tax",
        "expected_total_minor": "500",
        "expected_terms": "with tax",
    }


def test_the_same_total_without_tax_is_another_price(shop: OrderShop) -> None:
    shop.fill_cart(mug=2)
    seen = shop.placing()
    shop.keep_list("retail", tax_inclusive=False)
    assert refused(shop, seen, PriceChanged) == {
        "total_minor": "500",
        "currency_code": "GBP",
        "terms": "without tax",
        "expected_total_minor": "500",
        "expected_terms": "with tax",
    }


def test_the_same_total_without_free_shipping_is_another_price(shop: OrderShop) -> None:
    closing = timedelta(minutes=5)
    shop.promote("free", FreeShipping(), coupon_required=False, end_time=shop.now + closing)
    shop.fill_cart(mug=2)
    seen = shop.placing()
    shop.pass_time(closing)
    facts = refused(shop, seen, PriceChanged)
    assert (facts["terms"], facts["expected_terms"]) == ("with tax", "with tax, free shipping")


def test_the_same_total_with_more_in_it_is_the_same_price(shop: OrderShop) -> None:
    shop.keep_list("retail", tax_inclusive=False)
    shop.fill_cart(mug=2)
    seen = shop.placing()
    shop.keep_list("retail", tax_inclusive=True)
    shop.promote("free", FreeShipping(), coupon_required=False)
    order = shop.carry_out(seen)
    assert (order.total_minor, order.tax_inclusive, order.free_shipping) == (500, True, True)


def test_a_total_in_another_currency_is_refused(shop: OrderShop) -> None:
    shop.fill_cart(mug=2)
    assert refused(shop, shop.placing(expected_total=Money("EUR", 500)), CurrencyMismatch) == {
        "actual_currency_code": "EUR",
        "expected_currency_code": "GBP",
    }


def test_a_paused_sku_is_refused(shop: OrderShop) -> None:
    shop.fill_cart(mug=1)
    shop.pause("mug")
    assert shop.world.get(SKU, "mug") is not None
    assert refused(shop, shop.placing(), SkuNotOnSale) == {"sku_id": "mug"}


def test_an_empty_cart_is_refused(shop: OrderShop) -> None:
    shop.carry_out(create())
    refused(shop, shop.placing(), CartEmpty)


def test_an_unknown_cart_is_refused(shop: OrderShop) -> None:
    shop.fill_cart(mug=1)
    refused(shop, replace(shop.placing(), cart_id="c2"), CartNotFound)


def test_a_cart_becomes_one_order_only(shop: OrderShop) -> None:
    shop.fill_cart(mug=1)
    again = shop.placing()
    shop.carry_out(shop.placing())
    refused(shop, again, CartNotOpen)
    assert shop.counters("mug") == (10, 1, 0)


def test_a_cart_whose_time_is_up_is_refused(shop: OrderShop) -> None:
    shop.fill_cart(mug=1)
    shop.pass_time(timedelta(days=1))
    refused(shop, shop.placing(), CartNotOpen)


# --- coupons --------------------------------------------------------------------------------------


def test_a_coupon_is_counted_and_its_discount_frozen() -> None:
    shop = shop_with_coupon(usage_limit=5, usage_limit_per_customer=1)
    shop.fill_cart("c1", "ada", mug=3)
    shop.carry_out(apply("TENTH"))
    order = shop.carry_out(shop.placing())
    assert order.coupon_codes == ("TENTH",)
    assert (order.subtotal_minor, order.discount_minor) == (750, -75)
    assert order.lines[0].adjustments[0].coupon_code == "TENTH"
    assert shop.coupon_uses("TENTH") == 1
    assert shop.coupon_uses_of("TENTH", "ada") == 1


def test_the_last_use_of_a_coupon_goes_to_one_order() -> None:
    shop = shop_with_coupon(usage_limit=1)
    for cart_id in ("c1", "c2"):
        shop.fill_cart(cart_id, mug=1)
        shop.carry_out(apply("TENTH", cart_id=cart_id))
    late = shop.placing("c2")
    shop.carry_out(shop.placing("c1"))
    assert refused(shop, late, CouponUsedUp) == {"coupon_code": "TENTH"}
    assert shop.coupon_uses("TENTH") == 1


def test_a_coupon_limited_per_customer_is_counted_for_whoever_orders() -> None:
    shop = shop_with_coupon(usage_limit_per_customer=1)
    for cart_id in ("c1", "c2"):
        shop.fill_cart(cart_id, "ada", mug=1)
        shop.carry_out(apply("TENTH", cart_id=cart_id))
    shop.fill_cart("c3", "grace", mug=1)
    shop.carry_out(apply("TENTH", cart_id="c3"))
    shop.carry_out(shop.placing("c1"))
    refused(shop, shop.placing("c2"), CouponUsedUp)
    shop.carry_out(shop.placing("c3"))
    assert shop.coupon_uses_of("TENTH", "ada") == shop.coupon_uses_of("TENTH", "grace") == 1


def test_a_guest_cannot_order_with_a_coupon_that_became_limited_per_customer() -> None:
    shop = shop_with_coupon()
    shop.fill_cart(mug=1)
    shop.carry_out(apply("TENTH"))
    shop.give_coupon("TENTH", "tenth", usage_limit_per_customer=1)
    refused(shop, shop.placing(), CouponNeedsCustomer)


def test_a_coupon_that_gives_nothing_is_not_used_up() -> None:
    shop = shop_with_coupon(usage_limit=1)
    shop.promote("tenth", AmountOff("EUR", 100))
    shop.fill_cart("c1", "ada", mug=1)
    shop.carry_out(apply("TENTH"))
    order = shop.carry_out(shop.placing())
    assert (order.coupon_codes, order.discount_minor) == ((), 0)
    assert shop.coupon_uses("TENTH") == 0


def test_of_two_coupons_of_one_promotion_one_is_used_up() -> None:
    shop = shop_with_coupon()
    shop.give_coupon("TENTH-TOO", "tenth")
    shop.fill_cart("c1", "ada", mug=1)
    for coupon_code in ("TENTH", "TENTH-TOO"):
        shop.carry_out(apply(coupon_code))
    assert shop.carry_out(shop.placing()).coupon_codes == ("TENTH",)
    assert (shop.coupon_uses("TENTH"), shop.coupon_uses("TENTH-TOO")) == (1, 0)
