"""Creating carts and editing their lines."""

from datetime import timedelta
from typing import Any

import pytest

from command_service.cart.commands import ExpireCart
from command_service.cart.domain import LINE_COUNT_MAX, LINE_QUANTITY_MAX, CartState
from command_service.cart.events import CartChanged, CartClosed, CartCreated
from command_service.checkout.pricing_of_cart import priced
from command_service.errors import (
    AmountTooLarge,
    CartAlreadyExists,
    CartFull,
    CartLineNotFound,
    CartLineSkuFixed,
    CartNotExpired,
    CartNotFound,
    CartNotOpen,
    CartOfAnotherCustomer,
    CurrencyMismatch,
    PriceListForAnotherGroup,
    PriceListNotFound,
    PriceNotFound,
    QuantityTooLarge,
    Refusal,
    SkuNotFound,
    SkuNotOnSale,
)
from command_service.errors import CartChanged as CartChangedSince
from command_service.money import AMOUNT_MINOR_MAX, Money
from command_service.pricing.domain import AmountOff
from command_service.world import Command
from event_log.codec import to_message
from shopkeeper.cart.v1 import cart_pb2
from tests.command_service.checkout.shop_in_memory import (
    CART_IDLE,
    OPENING,
    ShopInMemory,
    add,
    create,
    refused,
    reprice,
    set_quantity,
)
from tests.command_service.counted_steps import steps_of


@pytest.fixture
def shop() -> ShopInMemory:
    """A mug at 2.55, a lamp at 10.00, and an empty cart c1."""
    shop = ShopInMemory()
    shop.sell("mug", 255)
    shop.sell("lamp", 1_000)
    shop.carry_out(create())
    shop.events.clear()
    return shop


# --- creating ----------------------------------------------------------------------------------


def test_a_new_cart_is_empty_and_open() -> None:
    shop = ShopInMemory()

    cart = shop.carry_out(create("c9", "JPY", customer_id="ann", customer_group="trade"))

    assert (cart.state, cart.etag, cart.lines) == (CartState.OPEN, "1", ())
    assert cart.total == Money("JPY", 0)
    assert (cart.customer_id, cart.customer_group) == ("ann", "trade")
    assert cart.create_time == cart.update_time == cart.priced_time == OPENING
    assert cart.expire_time == OPENING + CART_IDLE
    assert shop.events == [CartCreated(cart)]


def test_a_cart_is_not_created_twice(shop: ShopInMemory) -> None:
    assert refused(shop, create(), CartAlreadyExists) == {"cart_id": "c1"}


def test_a_closed_cart_is_not_created_again(shop: ShopInMemory) -> None:
    shop.pass_time(CART_IDLE)
    shop.carry_out(ExpireCart("c1"))

    refused(shop, create(), CartAlreadyExists)


def test_a_cart_may_name_its_price_list(shop: ShopInMemory) -> None:
    shop.keep_list("staff", tax_inclusive=False, named_only=True)
    shop.sell("mug", 200, price_list_id="staff")
    shop.carry_out(create("c2", price_list_id="staff"))

    cart = shop.carry_out(add("mug", cart_id="c2"))

    assert cart.lines[0].price_list_id == "staff"
    assert not cart.tax_inclusive


def test_a_cart_of_a_named_list_says_at_once_whether_prices_include_tax(shop: ShopInMemory) -> None:
    shop.keep_list("staff", tax_inclusive=True)

    assert shop.carry_out(create("c2", price_list_id="staff")).tax_inclusive


def test_a_price_list_that_does_not_exist_is_refused(shop: ShopInMemory) -> None:
    facts = refused(shop, create("c2", price_list_id="none"), PriceListNotFound)

    assert facts == {"price_list_id": "none"}


def test_a_price_list_in_another_currency_is_refused(shop: ShopInMemory) -> None:
    facts = refused(shop, create("c2", "EUR", price_list_id="retail"), CurrencyMismatch)

    assert facts == {"actual_currency_code": "EUR", "expected_currency_code": "GBP"}


def test_a_price_list_for_another_customer_group_is_refused(shop: ShopInMemory) -> None:
    shop.keep_list("trade", customer_group="trade", named_only=True)
    facts = refused(shop, create("c2", price_list_id="trade"), PriceListForAnotherGroup)

    assert facts == {"price_list_id": "trade", "customer_group": "trade"}
    shop.carry_out(create("c2", price_list_id="trade", customer_group="trade"))


# --- adding ------------------------------------------------------------------------------------


def test_an_added_line_is_priced(shop: ShopInMemory) -> None:
    cart = shop.carry_out(add("mug", 3))

    [line] = cart.lines
    assert (line.line_id, line.sku_id, line.title, line.quantity) == ("mug", "mug", "a mug", 3)
    assert (line.unit_price_minor, line.subtotal_minor, line.total_minor) == (255, 765, 765)
    assert (line.price_list_id, line.price_tier_min_quantity) == ("retail", 1)
    assert cart.total == Money("GBP", 765)
    assert (cart.etag, cart.tax_inclusive) == ("2", True)


def test_units_add_up_on_the_line_that_is_there(shop: ShopInMemory) -> None:
    shop.carry_out(add("mug", 3))

    cart = shop.carry_out(add("mug", 4))

    assert [(line.line_id, line.quantity) for line in cart.lines] == [("mug", 7)]


def test_a_sku_may_stand_on_several_lines(shop: ShopInMemory) -> None:
    shop.carry_out(add("mug", 1, line_id="for ann"))

    cart = shop.carry_out(add("mug", 2, line_id="for bob"))

    assert [(line.line_id, line.quantity) for line in cart.lines] == [("for ann", 1), ("for bob", 2)]
    assert cart.subtotal_minor == 3 * 255


def test_lines_keep_the_order_in_which_they_were_added(shop: ShopInMemory) -> None:
    shop.carry_out(add("mug"))
    shop.carry_out(add("lamp"))
    shop.carry_out(set_quantity("mug", 0))

    cart = shop.carry_out(add("mug"))

    assert [line.line_id for line in cart.lines] == ["lamp", "mug"]
    assert [line.ordinal for line in cart.lines] == [2, 3]


def test_a_line_is_for_one_sku(shop: ShopInMemory) -> None:
    shop.carry_out(add("mug", line_id="gift"))

    facts = refused(shop, add("lamp", line_id="gift"), CartLineSkuFixed)

    assert facts == {"cart_id": "c1", "line_id": "gift", "sku_id": "mug"}


def test_an_unknown_sku_is_refused(shop: ShopInMemory) -> None:
    assert refused(shop, add("nothing"), SkuNotFound) == {"sku_id": "nothing"}


def test_a_sku_that_is_not_on_sale_is_refused(shop: ShopInMemory) -> None:
    shop.pause("mug")

    assert refused(shop, add("mug"), SkuNotOnSale) == {"sku_id": "mug"}


def test_a_sku_without_a_price_is_refused(shop: ShopInMemory) -> None:
    shop.unprice("mug")

    assert refused(shop, add("mug"), PriceNotFound) == {"sku_id": "mug", "currency_code": "GBP"}


def test_a_line_takes_as_many_units_as_allowed_and_not_one_more(shop: ShopInMemory) -> None:
    shop.carry_out(add("mug", LINE_QUANTITY_MAX))

    facts = refused(shop, add("mug", 1), QuantityTooLarge)

    assert facts["quantity_max"] == "1000000"


def test_a_cart_takes_as_many_lines_as_allowed_and_not_one_more(shop: ShopInMemory) -> None:
    for number in range(LINE_COUNT_MAX):
        shop.carry_out(add("mug", line_id=f"{number}"))

    facts = refused(shop, add("mug", line_id="one more"), CartFull)

    assert facts == {"cart_id": "c1", "line_count_max": "500"}
    assert shop.carry_out(add("mug", line_id="0")).lines[0].quantity == 2


def test_a_cart_is_worth_at_most_what_an_amount_can_be(shop: ShopInMemory) -> None:
    shop.sell("palace", AMOUNT_MINOR_MAX)
    shop.carry_out(add("palace"))

    refused(shop, add("mug"), AmountTooLarge)


# --- quantities --------------------------------------------------------------------------------


def test_a_quantity_is_set(shop: ShopInMemory) -> None:
    shop.carry_out(add("mug", 3))

    cart = shop.carry_out(set_quantity("mug", 2))

    assert (cart.lines[0].quantity, cart.subtotal_minor) == (2, 510)


def test_a_quantity_of_zero_removes_the_line(shop: ShopInMemory) -> None:
    shop.carry_out(add("mug", 3))

    cart = shop.carry_out(set_quantity("mug", 0))

    assert cart.lines == ()
    assert cart.total == Money("GBP", 0)
    assert cart.tax_inclusive


@pytest.mark.parametrize("quantity", [0, 1])
def test_a_line_that_is_not_there_cannot_be_set(shop: ShopInMemory, quantity: int) -> None:
    facts = refused(shop, set_quantity("lamp", quantity), CartLineNotFound)

    assert facts == {"cart_id": "c1", "line_id": "lamp"}


# --- lines that can no longer be bought --------------------------------------------------------


@pytest.fixture(params=["paused", "without a price"])
def lapsed(shop: ShopInMemory, request: pytest.FixtureRequest) -> ShopInMemory:
    """Two mugs and a lamp in the cart, then mugs cannot be bought and lamps cost 12.00."""
    shop.carry_out(add("mug", 2))
    shop.carry_out(add("lamp"))
    shop.sell("lamp", 1_200)
    if request.param == "paused":
        shop.pause("mug")
    else:
        shop.unprice("mug")
    return shop


def test_other_lines_can_be_edited(lapsed: ShopInMemory) -> None:
    cart = lapsed.carry_out(set_quantity("lamp", 3))

    assert [(line.quantity, line.unit_price_minor) for line in cart.lines] == [(2, 255), (3, 1_200)]


def test_other_lines_can_be_added_and_removed(lapsed: ShopInMemory) -> None:
    lapsed.sell("vase", 700)

    lapsed.carry_out(add("vase"))
    cart = lapsed.carry_out(set_quantity("lamp", 0))

    assert [(line.line_id, line.total_minor) for line in cart.lines] == [("mug", 510), ("vase", 700)]


def test_the_line_itself_can_be_removed(lapsed: ShopInMemory) -> None:
    cart = lapsed.carry_out(set_quantity("mug", 0))

    assert [line.line_id for line in cart.lines] == ["lamp"]


def test_the_line_itself_takes_no_other_quantity(lapsed: ShopInMemory) -> None:
    refused(lapsed, set_quantity("mug", 1), Refusal)
    refused(lapsed, add("mug"), Refusal)


def test_the_line_keeps_its_price_when_the_cart_is_priced_anew(lapsed: ShopInMemory) -> None:
    cart = lapsed.carry_out(reprice())

    assert [line.unit_price_minor for line in cart.lines] == [255, 1_200]


def test_a_promotion_gives_no_more_when_a_line_can_no_longer_be_bought(shop: ShopInMemory) -> None:
    shop.promote("ten off", AmountOff("GBP", 300), coupon_required=False)
    shop.carry_out(add("mug", 2))
    cart = shop.carry_out(add("lamp"))
    assert cart.discount_minor == -300
    assert all(line.adjustments for line in cart.lines)
    shop.pause("mug")
    cart = shop.carry_out(set_quantity("lamp", 2))
    mug, lamp = cart.lines
    assert (mug.unit_price_minor, mug.discount_minor, mug.adjustments) == (255, 0, ())
    assert (lamp.discount_minor, cart.discount_minor) == (-300, -300)


def test_pricing_for_an_order_asks_for_every_line(lapsed: ShopInMemory) -> None:
    with pytest.raises((SkuNotOnSale, PriceNotFound)) as caught:
        priced(lapsed.cart(), lapsed.world, lapsed.now)

    assert caught.value.facts["sku_id"] == "mug"


# --- versions ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command", [add("mug", etag="1"), set_quantity("mug", 2, etag="1")], ids=["add", "set"]
)
def test_a_stale_etag_is_refused(shop: ShopInMemory, command: Command[Any]) -> None:
    shop.carry_out(add("mug"))

    facts = refused(shop, command, CartChangedSince)

    assert facts == {"cart_id": "c1", "etag": "2"}


def test_the_etag_that_was_seen_is_accepted(shop: ShopInMemory) -> None:
    seen = shop.carry_out(add("mug"))

    assert shop.carry_out(add("mug", etag=seen.etag)).etag == "3"


def test_a_cart_that_does_not_exist_cannot_be_edited(shop: ShopInMemory) -> None:
    assert refused(shop, add("mug", cart_id="c2"), CartNotFound) == {"cart_id": "c2"}


def test_every_edit_makes_the_cart_live_longer(shop: ShopInMemory) -> None:
    shop.pass_time(timedelta(minutes=90))

    cart = shop.carry_out(add("mug"))

    assert cart.update_time == cart.priced_time == shop.now
    assert cart.expire_time == shop.now + CART_IDLE


# --- expiry ------------------------------------------------------------------------------------


def test_a_cart_expires_at_its_time_and_not_before(shop: ShopInMemory) -> None:
    shop.pass_time(CART_IDLE - timedelta(microseconds=1))
    refused(shop, ExpireCart("c1"), CartNotExpired)

    shop.pass_time(timedelta(microseconds=1))
    cart = shop.carry_out(ExpireCart("c1"))

    assert cart.state is CartState.EXPIRED
    assert shop.events == [CartClosed("c1", "2", CartState.EXPIRED, "", shop.now)]


def test_a_cart_whose_time_is_up_is_expired_before_the_worker_comes(shop: ShopInMemory) -> None:
    shop.pass_time(CART_IDLE)

    assert refused(shop, add("mug"), CartNotOpen) == {"cart_id": "c1", "state": "EXPIRED"}


def test_a_cart_expires_once(shop: ShopInMemory) -> None:
    shop.pass_time(CART_IDLE)
    shop.carry_out(ExpireCart("c1"))

    refused(shop, ExpireCart("c1"), CartNotOpen)


def test_what_does_not_exist_does_not_expire(shop: ShopInMemory) -> None:
    refused(shop, ExpireCart("c2"), CartNotFound)


# --- what is told ------------------------------------------------------------------------------


def test_only_lines_that_differ_are_told(shop: ShopInMemory) -> None:
    shop.carry_out(add("mug"))
    cart = shop.carry_out(add("lamp"))

    event = shop.events[-1]
    assert isinstance(event, CartChanged)
    assert event.changed_lines == (cart.lines[1],)
    assert event.removed_line_ids == ()
    assert (event.etag, event.total) == ("3", Money("GBP", 1_255))


def test_a_removed_line_is_told_by_its_id(shop: ShopInMemory) -> None:
    shop.carry_out(add("mug"))
    shop.carry_out(set_quantity("mug", 0))

    event = shop.events[-1]
    assert isinstance(event, CartChanged)
    assert (event.changed_lines, event.removed_line_ids) == ((), ("mug",))


def test_a_line_whose_price_has_changed_is_told(shop: ShopInMemory) -> None:
    shop.carry_out(add("mug"))
    shop.carry_out(add("lamp"))
    shop.sell("mug", 199)

    shop.carry_out(reprice())

    event = shop.events[-1]
    assert isinstance(event, CartChanged)
    assert [(line.line_id, line.unit_price_minor) for line in event.changed_lines] == [("mug", 199)]


def test_a_guests_cart_may_become_a_customers_and_then_nobody_elses(shop: ShopInMemory) -> None:
    shop.carry_out(create("guest"))
    shop.carry_out(reprice(cart_id="guest", customer_id="bob"))
    assert shop.carry_out(reprice(cart_id="guest", customer_id="bob")).customer_id == "bob"
    assert shop.carry_out(reprice(cart_id="guest")).customer_id == "bob"
    for customer_id in ("ann", ""):
        with pytest.raises(CartOfAnotherCustomer):
            shop.carry_out(reprice(cart_id="guest", customer_id=customer_id))


def test_prices_say_how_long_they_hold(shop: ShopInMemory) -> None:
    end_time = shop.now + timedelta(minutes=10)
    shop.promote("sale", coupon_required=False, end_time=end_time)

    assert shop.carry_out(add("mug")).prices_valid_until == end_time


def test_a_cart_answers_as_a_message(shop: ShopInMemory) -> None:
    shop.promote("sale", coupon_required=False)
    cart = shop.carry_out(add("mug", 3))

    message = to_message(cart, cart_pb2.Cart)

    assert (message.cart_id, message.etag, message.state) == ("c1", "2", cart_pb2.CART_STATE_OPEN)
    assert (message.subtotal_minor, message.discount_minor) == (765, -77)
    assert (message.total.currency_code, message.total.amount_minor) == ("GBP", 688)
    [line] = message.lines
    assert (line.subtotal_minor, line.discount_minor, line.total_minor) == (765, -77, 688)
    [adjustment] = line.adjustments
    assert (adjustment.promotion_id, adjustment.amount_minor) == ("sale", -77)
    assert adjustment.exact_amount_minor == "-153/2"
    assert not message.HasField("prices_valid_until")


# --- what it costs --------------------------------------------------------------------------------


@pytest.mark.parametrize("promotion_count", [0, 3])
def test_one_more_line_in_a_cart_four_times_as_full_is_at_most_four_times_the_work(
    promotion_count: int,
) -> None:
    """The whole cart is priced anew, for a promotion may look at all of it; each line once."""

    def steps(line_count: int) -> int:
        shop = ShopInMemory()
        for number in range(promotion_count):
            shop.promote(f"p{number}", coupon_required=False)
        for number in range(line_count + 1):
            shop.sell(f"sku{number}", 100)
        shop.carry_out(create())
        for number in range(line_count):
            shop.carry_out(add(f"sku{number}"))
        return steps_of(lambda: shop.carry_out(add(f"sku{line_count}")))

    assert steps(96) < 4.4 * steps(24)
