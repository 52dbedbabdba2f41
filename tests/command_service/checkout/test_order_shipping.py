"""FulfillOrderLines and ReturnOrderLines: units leave and come back."""

import pytest

from command_service.checkout.fulfill_order_lines import FulfillOrderLines
from command_service.checkout.return_order_lines import ReturnedUnits, ReturnOrderLines
from command_service.errors import (
    LocationNotFound,
    OrderAlreadyShipped,
    OrderLineNotFound,
    OrderNotPaid,
    OutOfStock,
    TooManyUnits,
)
from command_service.inventory.domain import ReservationState
from command_service.ordering.domain import OrderState, Units
from tests.command_service.checkout.order_shop import OrderShop, refused
from tests.command_service.checkout.shop_in_memory import add, create


@pytest.fixture
def shop() -> OrderShop:
    return OrderShop()


def returning(
    line_id: str, quantity: int, *, restock: bool = True, location_id: str = ""
) -> ReturnOrderLines:
    return ReturnOrderLines("o1", (ReturnedUnits(line_id, quantity, restock, location_id),))


def test_shipping_all_takes_the_units_off_the_shelf(shop: OrderShop) -> None:
    shop.pay(shop.place(mug=3, lamp=1))
    order = shop.carry_out(FulfillOrderLines("o1"))
    assert order.state is OrderState.FULFILLED
    assert shop.counters("mug") == (7, 0, 0)
    assert shop.counters("lamp") == (9, 0, 0)
    assert shop.reservation().state is ReservationState.SHIPPED


def test_shipping_some_leaves_the_rest_allocated(shop: OrderShop) -> None:
    shop.pay(shop.place(mug=3))
    order = shop.carry_out(FulfillOrderLines("o1", (Units("mug", 2),)))
    assert order.state is OrderState.PARTIALLY_FULFILLED
    assert order.lines[0].fulfilled_quantity == 2
    assert shop.counters("mug") == (8, 0, 1)
    assert shop.reservation().state is ReservationState.COMMITTED
    assert shop.carry_out(FulfillOrderLines("o1")).state is OrderState.FULFILLED
    assert shop.counters("mug") == (7, 0, 0)


def test_an_unpaid_order_is_not_shipped(shop: OrderShop) -> None:
    shop.place(mug=3)
    facts = refused(shop, FulfillOrderLines("o1"), OrderNotPaid)
    assert facts == {"order_id": "o1", "state": "AWAITING_PAYMENT"}


def test_nothing_is_shipped_twice(shop: OrderShop) -> None:
    shop.pay(shop.place(mug=3))
    shop.carry_out(FulfillOrderLines("o1"))
    refused(shop, FulfillOrderLines("o1"), OrderAlreadyShipped)


@pytest.mark.parametrize(
    ("units", "refusal"), [(Units("mug", 4), TooManyUnits), (Units("cup", 1), OrderLineNotFound)]
)
def test_what_was_not_ordered_is_not_shipped(
    shop: OrderShop, units: Units, refusal: type[TooManyUnits]
) -> None:
    shop.pay(shop.place(mug=3))
    refused(shop, FulfillOrderLines("o1", (units,)), refusal)


def test_units_that_a_count_did_not_find_are_not_shipped(shop: OrderShop) -> None:
    shop.pay(shop.place(mug=3))
    shop.stock("mug", 2)
    assert refused(shop, FulfillOrderLines("o1"), OutOfStock) == {
        "shortages": "mug: 3 to ship, 2 on hand"
    }
    assert (
        shop.carry_out(FulfillOrderLines("o1", (Units("mug", 2),))).state
        is OrderState.PARTIALLY_FULFILLED
    )


def test_two_lines_of_one_sku_ship_and_return_apart(shop: OrderShop) -> None:
    shop.carry_out(create())
    shop.carry_out(add("mug", 2, line_id="plain"))
    shop.carry_out(add("mug", 3, line_id="engraved"))
    order = shop.carry_out(shop.placing())
    shop.pay(order)
    shop.carry_out(FulfillOrderLines("o1", (Units("engraved", 1), Units("plain", 2))))
    assert shop.counters("mug") == (7, 0, 2)
    assert refused(shop, returning("engraved", 2), TooManyUnits)["quantity_max"] == "1"
    after = shop.carry_out(returning("plain", 2))
    assert [line.returned_quantity for line in after.lines] == [2, 0]
    assert shop.counters("mug") == (9, 0, 2)


def test_returned_units_go_back_to_the_shelf_and_their_price_is_due(shop: OrderShop) -> None:
    shop.pay(shop.place(mug=3))
    shop.carry_out(FulfillOrderLines("o1"))
    order = shop.carry_out(returning("mug", 2))
    assert (order.state, order.refund_due_minor) == (OrderState.FULFILLED, 500)
    assert shop.counters("mug") == (9, 0, 0)
    refund = shop.carry_out(shop.refund_of_units(order, Units("mug", 2)))
    assert (refund.amount.amount_minor, refund.order.refund_due_minor) == (500, 0)


def test_broken_units_come_back_but_not_to_the_shelf(shop: OrderShop) -> None:
    shop.pay(shop.place(mug=3))
    shop.carry_out(FulfillOrderLines("o1"))
    order = shop.carry_out(returning("mug", 2, restock=False))
    assert order.lines[0].returned_quantity == 2
    assert shop.counters("mug") == (7, 0, 0)


def test_units_come_back_once(shop: OrderShop) -> None:
    shop.pay(shop.place(mug=3))
    shop.carry_out(FulfillOrderLines("o1", (Units("mug", 2),)))
    shop.carry_out(returning("mug", 1))
    facts = refused(shop, returning("mug", 2), TooManyUnits)
    assert facts == {"line_id": "mug", "quantity_max": "1", "quantity": "2"}


def test_what_was_never_shipped_does_not_come_back(shop: OrderShop) -> None:
    shop.pay(shop.place(mug=3))
    refused(shop, returning("mug", 1), TooManyUnits)
    refused(shop, returning("cup", 1), OrderLineNotFound)


def test_units_may_come_back_to_another_location(shop: OrderShop) -> None:
    shop.open_location("returns")
    shop.open_location("closed", active=False)
    shop.pay(shop.place(mug=3))
    shop.carry_out(FulfillOrderLines("o1"))
    for location_id in ("nowhere", "closed"):
        command = returning("mug", 1, location_id=location_id)
        assert refused(shop, command, LocationNotFound) == {"location_id": location_id}
    shop.carry_out(returning("mug", 1, location_id="returns"))
    assert shop.counters("mug", "returns") == (1, 0, 0)
    assert shop.counters("mug", "main") == (7, 0, 0)


def test_units_come_back_to_where_they_were_shipped_from(shop: OrderShop) -> None:
    shop.open_location("annex")
    shop.stock("lamp", 4, "annex")
    shop.stock("lamp", 0, "main")
    shop.pay(shop.place(lamp=2))
    shop.carry_out(FulfillOrderLines("o1"))
    shop.carry_out(returning("lamp", 1))
    assert shop.counters("lamp", "annex") == (3, 0, 0)
