"""Coupons on carts."""

from datetime import timedelta

import pytest

from command_service.cart.domain import COUPON_COUNT_MAX
from command_service.errors import (
    CartChanged,
    CartCouponsFull,
    CouponNeedsCustomer,
    CouponNotApplied,
    CouponNotFound,
    CouponNotValid,
    CouponUsedUp,
)
from command_service.pricing.domain import COUPON, AmountOff, FreeShipping, PercentageOff
from tests.command_service.checkout.shop_in_memory import (
    ShopInMemory,
    add,
    apply,
    create,
    merge,
    refused,
    reprice,
    set_quantity,
    take_off,
)


@pytest.fixture
def shop() -> ShopInMemory:
    """Two lamps at 10.00 in ann's cart c1; TENTH takes 10 % off until an hour from now."""
    shop = ShopInMemory()
    shop.sell("lamp", 1_000)
    shop.promote("a tenth", PercentageOff(1_000), end_time=shop.now + timedelta(hours=1))
    shop.give_coupon("TENTH", "a tenth")
    shop.carry_out(create(customer_id="ann"))
    shop.carry_out(add("lamp", 2))
    return shop


def test_a_coupon_gives_its_discount(shop: ShopInMemory) -> None:
    cart = shop.carry_out(apply("TENTH"))

    assert cart.coupon_codes == ("TENTH",)
    assert (cart.subtotal_minor, cart.discount_minor, cart.total.amount_minor) == (2_000, -200, 1_800)
    assert [a.coupon_code for a in cart.lines[0].adjustments] == ["TENTH"]


def test_applying_a_coupon_takes_no_use(shop: ShopInMemory) -> None:
    shop.give_coupon("LAST", "a tenth", usage_limit=1)

    shop.carry_out(apply("LAST"))

    coupon = shop.world.get(COUPON, "LAST")
    assert coupon is not None
    assert coupon.used_count == 0


def test_applying_a_coupon_again_changes_nothing(shop: ShopInMemory) -> None:
    once = shop.carry_out(apply("TENTH"))
    event_count = len(shop.events)

    assert shop.carry_out(apply("TENTH")) is once
    assert len(shop.events) == event_count


def test_an_unknown_coupon_is_refused(shop: ShopInMemory) -> None:
    assert refused(shop, apply("NONE"), CouponNotFound) == {"coupon_code": "NONE"}


def test_a_coupon_whose_promotion_has_ended_is_refused(shop: ShopInMemory) -> None:
    shop.pass_time(timedelta(hours=1))

    refused(shop, apply("TENTH"), CouponNotValid)


def test_a_coupon_that_is_used_up_is_refused(shop: ShopInMemory) -> None:
    shop.give_coupon("FIVE", "a tenth", usage_limit=5, used_count=5)

    assert refused(shop, apply("FIVE"), CouponUsedUp) == {"coupon_code": "FIVE"}


def test_a_coupon_that_the_customer_has_used_up_is_refused(shop: ShopInMemory) -> None:
    shop.give_coupon("ONCE", "a tenth", usage_limit_per_customer=1)
    shop.count_use("ONCE", "ann")

    refused(shop, apply("ONCE"), CouponUsedUp)


def test_a_coupon_limited_per_customer_needs_one(shop: ShopInMemory) -> None:
    shop.give_coupon("ONCE", "a tenth", usage_limit_per_customer=1)
    shop.carry_out(create("guest"))

    refused(shop, apply("ONCE", cart_id="guest"), CouponNeedsCustomer)

    shop.carry_out(reprice(cart_id="guest", customer_id="bob"))
    assert shop.carry_out(apply("ONCE", cart_id="guest")).coupon_codes == ("ONCE",)


def test_a_stale_etag_is_refused(shop: ShopInMemory) -> None:
    assert refused(shop, apply("TENTH", etag="1"), CartChanged) == {"cart_id": "c1", "etag": "2"}


def test_a_cart_takes_as_many_coupons_as_allowed_and_not_one_more(shop: ShopInMemory) -> None:
    for number in range(COUPON_COUNT_MAX + 1):
        shop.give_coupon(f"C{number}", "a tenth")
    for number in range(COUPON_COUNT_MAX):
        shop.carry_out(apply(f"C{number}"))

    facts = refused(shop, apply(f"C{COUPON_COUNT_MAX}"), CartCouponsFull)

    assert facts == {"cart_id": "c1", "coupon_count_max": "20"}


def test_a_coupon_that_stops_being_valid_gives_nothing_and_stays(shop: ShopInMemory) -> None:
    shop.carry_out(apply("TENTH"))
    shop.pass_time(timedelta(hours=1))

    cart = shop.carry_out(set_quantity("lamp", 1))

    assert (cart.coupon_codes, cart.discount_minor) == (("TENTH",), 0)


def test_a_coupon_that_others_use_up_gives_nothing(shop: ShopInMemory) -> None:
    shop.give_coupon("LAST", "a tenth", usage_limit=1)
    shop.carry_out(apply("LAST"))
    shop.give_coupon("LAST", "a tenth", usage_limit=1, used_count=1)

    assert shop.carry_out(reprice()).discount_minor == 0


def test_a_guests_coupon_gives_nothing_to_a_customer_who_has_used_it_up(shop: ShopInMemory) -> None:
    shop.carry_out(create("guest"))
    shop.carry_out(add("lamp", 1, cart_id="guest"))
    shop.give_coupon("ONCE", "a tenth")
    shop.carry_out(apply("ONCE", cart_id="guest"))
    assert shop.cart("guest").discount_minor < 0
    shop.give_coupon("ONCE", "a tenth", usage_limit_per_customer=1)
    shop.count_use("ONCE", "bob")

    cart = shop.carry_out(reprice(cart_id="guest", customer_id="bob"))

    assert (cart.customer_id, cart.discount_minor) == ("bob", 0)


def test_a_coupon_is_taken_off(shop: ShopInMemory) -> None:
    shop.carry_out(apply("TENTH"))

    cart = shop.carry_out(take_off("TENTH"))

    assert (cart.coupon_codes, cart.discount_minor, cart.lines[0].adjustments) == ((), 0, ())


def test_a_coupon_that_is_not_on_the_cart_cannot_be_taken_off(shop: ShopInMemory) -> None:
    before = shop.cart()

    with pytest.raises(CouponNotApplied):
        shop.carry_out(take_off("TENTH"))

    assert shop.cart() is before


def test_a_coupon_may_make_shipping_free(shop: ShopInMemory) -> None:
    shop.promote("no postage", FreeShipping())
    shop.give_coupon("POST", "no postage")

    assert shop.carry_out(apply("POST")).free_shipping
    assert not shop.carry_out(take_off("POST")).free_shipping


def test_a_fixed_amount_never_takes_more_than_there_is(shop: ShopInMemory) -> None:
    shop.promote("a gift", AmountOff("GBP", 5_000))
    shop.give_coupon("GIFT", "a gift")

    cart = shop.carry_out(apply("GIFT"))

    assert (cart.discount_minor, cart.total.amount_minor) == (-2_000, 0)


# --- merging -----------------------------------------------------------------------------------


@pytest.fixture
def two_carts(shop: ShopInMemory) -> ShopInMemory:
    """Besides ann's cart, a guest's cart with one lamp and TENTH."""
    shop.carry_out(create("guest"))
    shop.carry_out(add("lamp", cart_id="guest"))
    shop.carry_out(apply("TENTH", cart_id="guest"))
    return shop


def test_coupons_come_along(two_carts: ShopInMemory) -> None:
    cart = two_carts.carry_out(merge("guest", "c1")).cart

    assert (cart.coupon_codes, cart.discount_minor) == (("TENTH",), -300)


def test_a_coupon_that_both_have_is_applied_once(two_carts: ShopInMemory) -> None:
    two_carts.carry_out(apply("TENTH"))

    assert two_carts.carry_out(merge("guest", "c1")).cart.coupon_codes == ("TENTH",)


def test_a_coupon_that_this_customer_has_used_up_stays_behind(two_carts: ShopInMemory) -> None:
    two_carts.give_coupon("TENTH", "a tenth", usage_limit_per_customer=1)
    two_carts.count_use("TENTH", "ann")

    cart = two_carts.carry_out(merge("guest", "c1")).cart

    assert (cart.coupon_codes, cart.total.amount_minor) == ((), 3_000)


def test_coupons_beyond_the_limit_stay_behind(two_carts: ShopInMemory) -> None:
    for number in range(COUPON_COUNT_MAX):
        two_carts.give_coupon(f"C{number}", "a tenth")
        two_carts.carry_out(apply(f"C{number}"))

    cart = two_carts.carry_out(merge("guest", "c1")).cart

    assert len(cart.coupon_codes) == COUPON_COUNT_MAX
    assert "TENTH" not in cart.coupon_codes
