"""A guest's cart into a customer's: LESSONS 19, a login must never lose a cart."""

from datetime import timedelta

import pytest

from command_service.cart.domain import LINE_QUANTITY_MAX, CartState
from command_service.cart.events import CartChanged, CartClosed
from command_service.errors import (
    CartFull,
    CartNotFound,
    CartNotOpen,
    CartOfAnotherCustomer,
    CartsNotMergeable,
    QuantityTooLarge,
    Refusal,
)
from tests.command_service.checkout.shop_in_memory import (
    CART_IDLE,
    ShopInMemory,
    add,
    create,
    merge,
)


@pytest.fixture
def shop() -> ShopInMemory:
    """Mugs, lamps and vases; a guest's empty cart, and ann's."""
    shop = ShopInMemory()
    for sku_id, unit_price_minor in (("mug", 255), ("lamp", 1_000), ("vase", 700)):
        shop.sell(sku_id, unit_price_minor)
    shop.carry_out(create("guest"))
    shop.carry_out(create("ann's", customer_id="ann"))
    return shop


def quantities(shop: ShopInMemory, cart_id: str) -> dict[str, int]:
    return {line.line_id: line.quantity for line in shop.cart(cart_id).lines}


def refuse(shop: ShopInMemory, from_id: str, into_id: str, refusal: type[Refusal]) -> str:
    """The refusal's message, once it is certain that nothing has changed."""
    before = shop.snapshot()
    with pytest.raises(refusal) as caught:
        shop.carry_out(merge(from_id, into_id))
    assert shop.snapshot() == before
    return caught.value.message


def test_lines_move_and_units_add_up(shop: ShopInMemory) -> None:
    shop.carry_out(add("mug", 2, cart_id="guest"))
    shop.carry_out(add("lamp", 1, cart_id="guest"))
    shop.carry_out(add("vase", 3, cart_id="ann's"))
    shop.carry_out(add("mug", 4, cart_id="ann's"))

    merged = shop.carry_out(merge("guest", "ann's"))

    assert quantities(shop, "ann's") == {"vase": 3, "mug": 6, "lamp": 1}
    assert merged.cart == shop.cart("ann's")
    assert merged.cart.subtotal_minor == 3 * 700 + 6 * 255 + 1_000
    assert merged.cart.customer_id == "ann"
    assert merged.dropped_lines == []


def test_the_first_cart_is_closed_and_names_its_successor(shop: ShopInMemory) -> None:
    shop.carry_out(add("mug", cart_id="guest"))

    shop.carry_out(merge("guest", "ann's"))

    assert shop.cart("guest").state is CartState.MERGED
    changed, closed = shop.events[-2:]
    assert isinstance(changed, CartChanged)
    assert [line.line_id for line in changed.changed_lines] == ["mug"]
    assert closed == CartClosed("guest", "3", CartState.MERGED, "ann's", shop.now)


def test_a_cart_of_65_lines_moves_whole(shop: ShopInMemory) -> None:
    expected = {}
    for number in range(65):
        shop.sell(f"sku {number}", 100 + number)
        shop.carry_out(add(f"sku {number}", number + 1, cart_id="guest"))
        expected[f"sku {number}"] = number + 1
    before = shop.cart("guest")

    merged = shop.carry_out(merge("guest", "ann's"))

    assert quantities(shop, "ann's") == expected
    assert merged.cart.total == before.total
    assert list(quantities(shop, "ann's")) == [line.line_id for line in before.lines]


def test_an_empty_cart_merges(shop: ShopInMemory) -> None:
    shop.carry_out(add("mug", cart_id="ann's"))

    assert len(shop.carry_out(merge("guest", "ann's")).cart.lines) == 1


def test_lines_of_one_sku_stay_apart_when_their_ids_differ(shop: ShopInMemory) -> None:
    shop.carry_out(add("mug", 1, cart_id="guest", line_id="engraved"))
    shop.carry_out(add("mug", 2, cart_id="ann's"))

    shop.carry_out(merge("guest", "ann's"))

    assert quantities(shop, "ann's") == {"mug": 2, "engraved": 1}


def test_a_line_whose_id_stands_for_another_sku_moves_under_its_skus_id(shop: ShopInMemory) -> None:
    shop.carry_out(add("mug", 1, cart_id="guest", line_id="gift"))
    shop.carry_out(add("lamp", 2, cart_id="ann's", line_id="gift"))

    shop.carry_out(merge("guest", "ann's"))

    assert {line.line_id: line.sku_id for line in shop.cart("ann's").lines} == {
        "gift": "lamp",
        "mug": "mug",
    }


def test_a_line_finds_a_free_id_when_its_skus_id_is_taken_too(shop: ShopInMemory) -> None:
    shop.carry_out(add("mug", 5, cart_id="guest", line_id="gift"))
    shop.carry_out(add("lamp", 1, cart_id="ann's", line_id="gift"))
    shop.carry_out(add("vase", 1, cart_id="ann's", line_id="mug"))

    shop.carry_out(merge("guest", "ann's"))

    assert quantities(shop, "ann's") == {"gift": 1, "mug": 1, "mug-2": 5}


def test_lines_that_can_no_longer_be_bought_are_dropped_and_told(shop: ShopInMemory) -> None:
    shop.carry_out(add("mug", 2, cart_id="guest"))
    shop.carry_out(add("lamp", 1, cart_id="guest"))
    shop.carry_out(add("vase", 1, cart_id="guest"))
    shop.pause("mug")
    shop.unprice("vase")

    merged = shop.carry_out(merge("guest", "ann's"))

    assert [(line.line_id, line.quantity) for line in merged.dropped_lines] == [("mug", 2), ("vase", 1)]
    assert quantities(shop, "ann's") == {"lamp": 1}


def test_what_the_customer_has_stays_even_if_it_can_no_longer_be_bought(shop: ShopInMemory) -> None:
    shop.carry_out(add("mug", 2, cart_id="guest"))
    shop.carry_out(add("lamp", 1, cart_id="guest"))
    shop.carry_out(add("mug", 4, cart_id="ann's"))
    shop.pause("mug")

    merged = shop.carry_out(merge("guest", "ann's"))

    assert quantities(shop, "ann's") == {"mug": 4, "lamp": 1}
    assert [line.line_id for line in merged.dropped_lines] == ["mug"]
    assert merged.cart.subtotal_minor == 4 * 255 + 1_000


def test_what_the_customers_list_does_not_price_is_dropped(shop: ShopInMemory) -> None:
    shop.keep_list("staff", named_only=True)
    shop.carry_out(create("staff's", price_list_id="staff"))
    shop.carry_out(add("mug", cart_id="guest"))

    merged = shop.carry_out(merge("guest", "staff's"))

    assert merged.cart.lines == ()
    assert [line.line_id for line in merged.dropped_lines] == ["mug"]


def test_a_cart_is_not_merged_with_itself(shop: ShopInMemory) -> None:
    message = refuse(shop, "guest", "guest", CartsNotMergeable)

    assert message == "Carts guest and guest cannot be merged: they are the same cart."


def test_the_cart_of_one_customer_is_not_merged_into_anothers(shop: ShopInMemory) -> None:
    shop.carry_out(create("bob's", customer_id="bob"))
    refuse(shop, "bob's", "ann's", CartOfAnotherCustomer)
    refuse(shop, "ann's", "guest", CartOfAnotherCustomer)
    shop.carry_out(create("ann's other", customer_id="ann"))
    shop.carry_out(merge("ann's other", "ann's"))


def test_carts_in_two_currencies_are_not_merged(shop: ShopInMemory) -> None:
    shop.carry_out(create("yen", "JPY"))

    message = refuse(shop, "yen", "ann's", CartsNotMergeable)

    assert message == "Carts yen and ann's cannot be merged: one is in JPY, the other in GBP."


def test_more_lines_than_a_cart_may_have_are_not_merged(shop: ShopInMemory) -> None:
    for number in range(251):
        shop.carry_out(add("mug", cart_id="guest", line_id=f"guest {number}"))
        shop.carry_out(add("mug", cart_id="ann's", line_id=f"ann {number}"))

    refuse(shop, "guest", "ann's", CartFull)


def test_more_units_than_a_line_may_have_are_not_merged(shop: ShopInMemory) -> None:
    shop.carry_out(add("mug", LINE_QUANTITY_MAX, cart_id="guest"))
    shop.carry_out(add("mug", 1, cart_id="ann's"))

    refuse(shop, "guest", "ann's", QuantityTooLarge)


@pytest.mark.parametrize(("from_id", "into_id"), [("none", "ann's"), ("guest", "none")])
def test_carts_that_do_not_exist_are_not_merged(shop: ShopInMemory, from_id: str, into_id: str) -> None:
    assert refuse(shop, from_id, into_id, CartNotFound) == "There is no cart none."


def test_a_cart_is_merged_once(shop: ShopInMemory) -> None:
    shop.carry_out(merge("guest", "ann's"))

    assert refuse(shop, "guest", "ann's", CartNotOpen) == "Cart guest is MERGED."


def test_a_cart_whose_time_is_up_is_not_merged(shop: ShopInMemory) -> None:
    shop.pass_time(CART_IDLE - timedelta(seconds=1))
    shop.carry_out(add("mug", cart_id="ann's"))
    shop.pass_time(timedelta(seconds=1))

    assert refuse(shop, "guest", "ann's", CartNotOpen) == "Cart guest is EXPIRED."
