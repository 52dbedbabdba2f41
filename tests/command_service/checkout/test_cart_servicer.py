"""The RPCs of CartCommandService, without a network and a database."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import pytest

from command_service.checkout.cart_servicer import CartServicer
from command_service.errors import CartChanged, CartNotExpired
from command_service.servicing import Door
from command_service.world import AnswerT, Command
from serving.interceptor import ServicerContext
from shopkeeper.cart.v1 import cart_command_service_pb2 as service
from shopkeeper.cart.v1 import cart_pb2
from tests.command_service.checkout.shop_in_memory import CART_IDLE, ShopInMemory

ResponseT = TypeVar("ResponseT")

CONTEXT = cast("ServicerContext", None)


class DoorInMemory:
    """Carries commands out in memory."""

    def __init__(self, shop: ShopInMemory) -> None:
        self.shop = shop

    async def carry_out(
        self,
        request: Any,
        context: ServicerContext,
        command: Command[AnswerT],
        respond: Callable[[AnswerT], ResponseT],
    ) -> ResponseT:
        return respond(self.shop.carry_out(command))


@pytest.fixture
def shop() -> ShopInMemory:
    """Mugs at 2.55, lamps at 10.00; TENTH takes 10 % off."""
    shop = ShopInMemory()
    shop.sell("mug", 255)
    shop.sell("lamp", 1_000)
    shop.promote("a tenth")
    shop.give_coupon("TENTH", "a tenth")
    return shop


@pytest.fixture
def servicer(shop: ShopInMemory) -> CartServicer:
    return CartServicer(cast("Door", DoorInMemory(shop)), CART_IDLE)


async def create(servicer: CartServicer, cart_id: str, customer_id: str = "") -> cart_pb2.Cart:
    request = service.CreateCartRequest(
        cart_id=cart_id, customer_id=customer_id, currency_code="GBP", customer_group="trade"
    )
    return (await servicer.CreateCart(request, CONTEXT)).cart


async def add(servicer: CartServicer, cart_id: str, sku_id: str, **other: Any) -> cart_pb2.Cart:
    request = service.AddCartLineRequest(cart_id=cart_id, sku_id=sku_id, quantity=10, **other)
    return (await servicer.AddCartLine(request, CONTEXT)).cart


def lines(cart: cart_pb2.Cart) -> dict[str, int]:
    return {line.line_id: line.quantity for line in cart.lines}


async def test_a_cart_is_made(servicer: CartServicer) -> None:
    cart = await create(servicer, "c1", "ann")

    assert (cart.cart_id, cart.customer_id, cart.customer_group) == ("c1", "ann", "trade")
    assert (cart.currency_code, cart.etag, cart.state) == ("GBP", "1", cart_pb2.CART_STATE_OPEN)
    assert cart.expire_time.ToDatetime() - cart.create_time.ToDatetime() == CART_IDLE


async def test_a_line_is_named_after_its_sku_unless_it_has_a_name(servicer: CartServicer) -> None:
    await create(servicer, "c1")
    await add(servicer, "c1", "mug")

    assert lines(await add(servicer, "c1", "mug", line_id="gift")) == {"mug": 10, "gift": 10}


async def test_an_etag_counts_when_it_is_given(servicer: CartServicer) -> None:
    seen = await create(servicer, "c1")
    await add(servicer, "c1", "mug")

    with pytest.raises(CartChanged):
        await add(servicer, "c1", "lamp", etag=seen.etag)


async def test_lines_are_set_and_removed(servicer: CartServicer) -> None:
    await create(servicer, "c1")
    await add(servicer, "c1", "mug")
    await add(servicer, "c1", "lamp")

    set_request = service.SetCartLineQuantityRequest(cart_id="c1", line_id="mug", quantity=3)
    assert lines((await servicer.SetCartLineQuantity(set_request, CONTEXT)).cart) == {
        "mug": 3,
        "lamp": 10,
    }
    remove_request = service.RemoveCartLineRequest(cart_id="c1", line_id="mug")
    assert lines((await servicer.RemoveCartLine(remove_request, CONTEXT)).cart) == {"lamp": 10}


async def test_coupons_go_on_and_off_in_any_case_of_letters(servicer: CartServicer) -> None:
    await create(servicer, "c1")
    await add(servicer, "c1", "lamp")

    apply_request = service.ApplyCouponRequest(cart_id="c1", coupon_code="tenth")
    cart = (await servicer.ApplyCoupon(apply_request, CONTEXT)).cart
    assert (list(cart.coupon_codes), cart.discount_minor) == (["TENTH"], -1_000)
    remove_request = service.RemoveCouponRequest(cart_id="c1", coupon_code="Tenth")
    cart = (await servicer.RemoveCoupon(remove_request, CONTEXT)).cart
    assert (list(cart.coupon_codes), cart.discount_minor) == ([], 0)


async def test_carts_are_merged_and_what_was_dropped_is_told(
    servicer: CartServicer, shop: ShopInMemory
) -> None:
    await create(servicer, "guest")
    await create(servicer, "ann's", "ann")
    await add(servicer, "guest", "mug")
    await add(servicer, "guest", "lamp")
    shop.pause("mug")

    request = service.MergeCartsRequest(from_cart_id="guest", into_cart_id="ann's")
    merged = await servicer.MergeCarts(request, CONTEXT)

    assert (merged.cart.cart_id, lines(merged.cart)) == ("ann's", {"lamp": 10})
    [dropped] = merged.dropped_lines
    assert (dropped.line_id, dropped.quantity, dropped.subtotal_minor) == ("mug", 10, 2_550)


async def test_a_cart_is_priced_anew_and_keeps_its_customer_unless_one_is_named(
    servicer: CartServicer, shop: ShopInMemory
) -> None:
    await create(servicer, "c1")
    await add(servicer, "c1", "mug")
    request = service.RepriceCartRequest(cart_id="c1", customer_id="ann")
    assert (await servicer.RepriceCart(request, CONTEXT)).cart.customer_id == "ann"
    shop.sell("mug", 200)

    cart = (await servicer.RepriceCart(service.RepriceCartRequest(cart_id="c1"), CONTEXT)).cart
    assert (cart.customer_id, cart.total.amount_minor) == ("ann", 2_000)


async def test_a_cart_is_expired_when_its_time_is_up(servicer: CartServicer, shop: ShopInMemory) -> None:
    await create(servicer, "c1")
    request = service.ExpireCartRequest(cart_id="c1")
    with pytest.raises(CartNotExpired):
        await servicer.ExpireCart(request, CONTEXT)

    shop.pass_time(CART_IDLE)

    assert (await servicer.ExpireCart(request, CONTEXT)).cart.state == cart_pb2.CART_STATE_EXPIRED
