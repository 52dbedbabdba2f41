"""Whatever is done to carts, in whatever order, their numbers add up."""

from collections import Counter
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from command_service.cart.domain import Cart, CartLine, CartState
from command_service.cart.events import CartChanged, CartClosed, CartCreated
from command_service.errors import Refusal
from command_service.pricing.domain import AmountOff, BuyXGetY, PercentageOff
from command_service.world import Command
from event_log.events import Event
from tests.command_service.checkout.shop_in_memory import (
    ShopInMemory,
    add,
    apply,
    create,
    merge,
    reprice,
    set_quantity,
    take_off,
)

PRICES_MINOR = {"mug": 255, "lamp": 1_000, "vase": 333, "pin": 1}
CART_IDS = ("one", "two", "three")
COUPONS = ("TENTH", "GIFT", "THREE", "NONE")

carts = st.sampled_from(CART_IDS)
skus = st.sampled_from(sorted(PRICES_MINOR))
lines = st.sampled_from([*sorted(PRICES_MINOR), "gift"])
coupons = st.sampled_from(COUPONS)

commands = st.one_of(
    st.builds(
        lambda sku_id, quantity, cart_id, line_id: add(
            sku_id, quantity, cart_id=cart_id, line_id=line_id
        ),
        skus,
        st.integers(1, 40),
        carts,
        st.sampled_from(["", "gift"]),
    ),
    st.builds(
        lambda line_id, n, cart_id: set_quantity(line_id, n, cart_id=cart_id),
        lines,
        st.integers(0, 40),
        carts,
    ),
    st.builds(lambda code, cart_id: apply(code, cart_id=cart_id), coupons, carts),
    st.builds(lambda code, cart_id: take_off(code, cart_id=cart_id), coupons, carts),
    st.builds(lambda cart_id: reprice(cart_id=cart_id), carts),
    st.builds(merge, carts, carts),
)


def open_shop() -> ShopInMemory:
    shop = ShopInMemory()
    for sku_id, unit_price_minor in PRICES_MINOR.items():
        shop.sell(sku_id, unit_price_minor)
    shop.promote("a tenth", PercentageOff(1_000))
    shop.promote("a gift", AmountOff("GBP", 777))
    shop.promote("three for two", BuyXGetY(2, 1))
    shop.give_coupon("TENTH", "a tenth")
    shop.give_coupon("GIFT", "a gift")
    shop.give_coupon("THREE", "three for two")
    for cart_id in CART_IDS:
        shop.carry_out(create(cart_id))
    return shop


def check_sums(cart: Cart) -> None:
    """Naively, from the list prices and the adjustments alone."""
    subtotal_minor = sum(PRICES_MINOR[line.sku_id] * line.quantity for line in cart.lines)
    discount_minor = sum(a.amount_minor for line in cart.lines for a in line.adjustments)
    assert (cart.subtotal_minor, cart.discount_minor) == (subtotal_minor, discount_minor)
    assert cart.total.amount_minor == subtotal_minor + discount_minor >= 0
    assert all(line.quantity > 0 and line.total_minor >= 0 for line in cart.lines)
    ordinals = [line.ordinal for line in cart.lines]
    assert ordinals == sorted(set(ordinals))


class Retold:
    """A cart as one who only hears the events knows it."""

    def __init__(self) -> None:
        self.lines: dict[str, CartLine] = {}
        self.etag = ""
        self.state = CartState.OPEN
        self.total_minor = 0

    def hear(self, event: Event) -> None:
        match event:
            case CartCreated(cart):
                self.etag = cart.etag
            case CartChanged():
                self.etag, self.total_minor = event.etag, event.total.amount_minor
                for line_id in event.removed_line_ids:
                    del self.lines[line_id]
                self.lines.update({line.line_id: line for line in event.changed_lines})
            case CartClosed():
                self.etag, self.state = event.etag, event.state


@given(st.lists(commands, max_size=40))
def test_totals_equal_a_naive_sum_and_events_retell_the_carts(sequence: list[Command[Any]]) -> None:
    shop = open_shop()
    for command in sequence:
        try:
            shop.carry_out(command)
        except Refusal:
            continue
    retold = {cart_id: Retold() for cart_id in CART_IDS}
    for event in shop.events:
        retold[event.key].hear(event)
    for cart_id in CART_IDS:
        cart = shop.cart(cart_id)
        check_sums(cart)
        heard = retold[cart_id]
        assert list(heard.lines.items()) == list(cart.lines_by_id.items())
        assert (heard.etag, heard.state) == (cart.etag, cart.state)
        assert heard.total_minor == cart.total.amount_minor


@given(st.lists(st.tuples(skus, st.integers(1, 9)), max_size=30))
def test_units_are_neither_lost_nor_made_by_merging(added: list[tuple[str, int]]) -> None:
    shop = open_shop()
    expected: Counter[str] = Counter()
    for number, (sku_id, quantity) in enumerate(added):
        shop.carry_out(add(sku_id, quantity, cart_id=CART_IDS[number % 2]))
        expected[sku_id] += quantity

    cart = shop.carry_out(merge("one", "two")).cart

    assert {line.sku_id: line.quantity for line in cart.lines} == expected
