"""CancelOrder and ExpireOrder: what was held goes back."""

from dataclasses import replace
from datetime import timedelta

import pytest

from command_service.checkout.cancel_order import CancelOrder
from command_service.checkout.expire_order import ExpireOrder
from command_service.checkout.fulfill_order_lines import FulfillOrderLines
from command_service.errors import (
    OrderAlreadyClosed,
    OrderAlreadyPaid,
    OrderAlreadyShipped,
    OrderChanged,
    OrderNotExpired,
    OrderNotFound,
)
from command_service.inventory.domain import ReservationState
from command_service.inventory.events import StockMoved
from command_service.ordering.domain import OrderState
from command_service.ordering.lines import Units
from tests.command_service.checkout.order_shop import HOLD, OrderShop, shop_with_coupon
from tests.command_service.checkout.shop_in_memory import apply, refused


@pytest.fixture
def shop() -> OrderShop:
    return OrderShop()


def last_movement(shop: OrderShop) -> str:
    return [event.kind.name for event in shop.events if isinstance(event, StockMoved)][-1]


def test_cancelling_an_unpaid_order_releases_its_stock(shop: OrderShop) -> None:
    shop.place(mug=3)
    order = shop.carry_out(CancelOrder("o1"))
    assert (order.state, order.refund_due_minor) == (OrderState.CANCELLED, 0)
    assert shop.counters("mug") == (10, 0, 0)
    assert last_movement(shop) == "RELEASED"
    assert shop.reservation().state is ReservationState.RELEASED


def test_cancelling_a_paid_order_gives_its_stock_back_and_owes_its_money(shop: OrderShop) -> None:
    shop.pay(shop.place(mug=3))
    order = shop.carry_out(CancelOrder("o1"))
    assert (order.state, order.refund_due_minor) == (OrderState.CANCELLED, 750)
    assert shop.counters("mug") == (10, 0, 0)
    assert last_movement(shop) == "DEALLOCATED"


def test_cancelling_a_partly_paid_order_owes_what_was_paid(shop: OrderShop) -> None:
    shop.pay(shop.place(mug=3), 100)
    assert shop.carry_out(CancelOrder("o1")).refund_due_minor == 100


def test_cancelling_a_shipped_order_is_refused(shop: OrderShop) -> None:
    shop.pay(shop.place(mug=3))
    shop.carry_out(FulfillOrderLines("o1", (Units("mug", 1),)))
    facts = refused(shop, CancelOrder("o1"), OrderAlreadyShipped)
    assert facts == {"order_id": "o1", "state": "PARTIALLY_FULFILLED"}


def test_cancelling_twice_is_refused(shop: OrderShop) -> None:
    shop.place(mug=3)
    shop.carry_out(CancelOrder("o1"))
    refused(shop, CancelOrder("o1"), OrderAlreadyClosed)


def test_cancelling_what_somebody_changed_is_refused(shop: OrderShop) -> None:
    seen = shop.place(mug=3)
    shop.pay(seen, 100)
    assert refused(shop, CancelOrder("o1", seen.etag), OrderChanged) == {"order_id": "o1", "etag": "2"}
    assert shop.carry_out(CancelOrder("o1", "2")).state is OrderState.CANCELLED


@pytest.mark.parametrize("command", [CancelOrder("o9"), ExpireOrder("o9"), FulfillOrderLines("o9")])
def test_an_unknown_order_is_refused(shop: OrderShop, command: CancelOrder) -> None:
    assert refused(shop, command, OrderNotFound) == {"order_id": "o9"}


def test_an_unpaid_order_expires_at_its_time(shop: OrderShop) -> None:
    shop.place(mug=3)
    shop.pass_time(HOLD - timedelta(microseconds=1))
    refused(shop, ExpireOrder("o1"), OrderNotExpired)
    shop.pass_time(timedelta(microseconds=1))
    assert shop.carry_out(ExpireOrder("o1")).state is OrderState.EXPIRED
    assert shop.counters("mug") == (10, 0, 0)
    assert last_movement(shop) == "EXPIRED"
    assert shop.reservation().state is ReservationState.EXPIRED
    refused(shop, ExpireOrder("o1"), OrderAlreadyClosed)


def test_a_partly_paid_order_expires_and_owes_what_was_paid(shop: OrderShop) -> None:
    shop.pay(shop.place(mug=3), 100)
    shop.pass_time(HOLD)
    order = shop.carry_out(ExpireOrder("o1"))
    assert (order.state, order.refund_due_minor) == (OrderState.EXPIRED, 100)


def test_a_paid_order_never_expires(shop: OrderShop) -> None:
    shop.pay(shop.place(mug=3))
    shop.pass_time(HOLD)
    refused(shop, ExpireOrder("o1"), OrderAlreadyPaid)


def test_every_location_gets_its_own_units_back(shop: OrderShop) -> None:
    shop.open_location("annex")
    shop.stock("mug", 4, "annex")
    shop.place(mug=14)
    shop.carry_out(CancelOrder("o1"))
    assert shop.counters("mug", "main") == (10, 0, 0)
    assert shop.counters("mug", "annex") == (4, 0, 0)


@pytest.mark.parametrize("customer_id", ["ada", ""])
@pytest.mark.parametrize("ending", ["cancelled unpaid", "cancelled paid", "expired"])
def test_the_coupon_use_goes_back_and_can_be_had_again(ending: str, customer_id: str) -> None:
    shop = shop_with_coupon(usage_limit=1)
    shop.fill_cart("c1", customer_id, mug=1)
    shop.carry_out(apply("TENTH"))
    order = shop.carry_out(shop.placing())
    if ending == "cancelled paid":
        shop.pay(order)
    if ending == "expired":
        shop.pass_time(HOLD)
        shop.carry_out(ExpireOrder("o1"))
    else:
        shop.carry_out(CancelOrder("o1"))
    assert shop.coupon_uses("TENTH") == shop.coupon_uses_of("TENTH", customer_id or "ada") == 0
    shop.fill_cart("c2", customer_id, mug=1)
    shop.carry_out(apply("TENTH", cart_id="c2"))
    again = shop.carry_out(shop.placing("c2"))
    assert replace(again, order_id="o1").coupon_codes == ("TENTH",)
    assert shop.coupon_uses("TENTH") == 1
