"""FulfillOrderLines and ReturnOrderLines: units leave and come back."""

import pytest

from command_service.checkout.cancel_order import CancelOrder
from command_service.checkout.cancel_order_lines import CancelOrderLines
from command_service.checkout.fulfill_order_lines import FulfillOrderLines
from command_service.checkout.return_order_lines import ReturnedUnits, ReturnOrderLines
from command_service.errors import (
    LocationNotFound,
    NothingToShip,
    OrderAlreadyShipped,
    OrderLineNotFound,
    OrderNotPaid,
    OutOfStock,
    TooManyUnits,
    UnitsNotHeld,
)
from command_service.inventory.domain import ReservationState
from command_service.ordering.domain import OrderState
from command_service.ordering.lines import Units
from tests.command_service.checkout.order_shop import OrderShop
from tests.command_service.checkout.shop_in_memory import add, create, refused


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
        "shortages": "mug: 3 to ship, 2 on hand",
        "short_count": "1",
    }
    assert (
        shop.carry_out(FulfillOrderLines("o1", (Units("mug", 2),))).state
        is OrderState.PARTIALLY_FULFILLED
    )


def test_units_refunded_before_they_were_shipped_are_not_shipped(shop: OrderShop) -> None:
    order = shop.pay(shop.place(mug=3, lamp=1))
    shop.carry_out(shop.refund_of_units(order, Units("mug", 2), Units("lamp", 1)))
    facts = refused(shop, FulfillOrderLines("o1", (Units("mug", 2),)), TooManyUnits)
    assert facts == {"line_id": "mug", "quantity_max": "1", "quantity": "2"}
    shipped = shop.carry_out(FulfillOrderLines("o1"))
    assert [line.fulfilled_quantity for line in shipped.lines] == [1, 0]
    assert shipped.state is OrderState.PARTIALLY_FULFILLED
    refused(shop, FulfillOrderLines("o1"), NothingToShip)
    rest = (Units("mug", 2), Units("lamp", 1))
    assert shop.carry_out(CancelOrderLines("o1", rest)).state is OrderState.FULFILLED
    assert (shop.counters("mug"), shop.counters("lamp")) == ((9, 0, 0), (10, 0, 0))


def test_an_order_that_was_refunded_whole_ships_nothing(shop: OrderShop) -> None:
    order = shop.pay(shop.place(mug=2))
    shop.carry_out(shop.refund_of_units(order, Units("mug", 2)))
    refused(shop, FulfillOrderLines("o1"), NothingToShip)
    assert shop.carry_out(CancelOrder("o1")).refund_due_minor == 0


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


# --- several locations ----------------------------------------------------------------------------


@pytest.fixture
def split_order(shop: OrderShop) -> OrderShop:
    """A shop with a paid order for three socks: one is held at the annex, two at the depot."""
    shop.sell("sock", 100)
    for location_id, on_hand in (("annex", 1), ("depot", 2)):
        shop.open_location(location_id)
        shop.stock("sock", on_hand, location_id)
    shop.pay(shop.place(sock=3, mug=1))
    return shop


def on_hand(shop: OrderShop) -> tuple[int, int]:
    """Socks at the annex and at the depot."""
    return shop.level("sock", "annex").on_hand, shop.level("sock", "depot").on_hand


def test_the_location_that_ships_is_the_one_that_loses_the_units(split_order: OrderShop) -> None:
    split_order.carry_out(FulfillOrderLines("o1", (Units("sock", 1),), "depot"))
    assert on_hand(split_order) == (1, 1)
    split_order.carry_out(FulfillOrderLines("o1", (Units("sock", 1),), "annex"))
    assert on_hand(split_order) == (0, 1)


def test_a_location_ships_all_that_it_holds_of_the_order(split_order: OrderShop) -> None:
    order = split_order.carry_out(FulfillOrderLines("o1", location_id="depot"))
    assert [line.fulfilled_quantity for line in order.lines] == [2, 0]
    assert on_hand(split_order) == (1, 0)
    order = split_order.carry_out(FulfillOrderLines("o1"))
    assert order.state is OrderState.FULFILLED
    assert on_hand(split_order) == (0, 0)


def test_a_location_ships_nothing_that_it_does_not_hold_for_the_order(split_order: OrderShop) -> None:
    split_order.stock("sock", 5, "annex")
    two = FulfillOrderLines("o1", (Units("sock", 2),), "annex")
    assert refused(split_order, two, UnitsNotHeld) == {
        "sku_id": "sock",
        "location_id": "annex",
        "quantity": "2",
        "held_quantity": "1",
    }
    for location_id in ("main", "nowhere"):
        socks = FulfillOrderLines("o1", (Units("sock", 1),), location_id)
        assert refused(split_order, socks, UnitsNotHeld)["held_quantity"] == "0"
    assert refused(split_order, FulfillOrderLines("o1", (), "nowhere"), UnitsNotHeld)["quantity"] == "1"


def test_two_lines_of_one_sku_share_what_a_location_holds(shop: OrderShop) -> None:
    shop.open_location("annex")
    shop.stock("mug", 2, "annex")
    shop.carry_out(create())
    shop.carry_out(add("mug", 9, line_id="plain"))
    shop.carry_out(add("mug", 3, line_id="engraved"))
    shop.pay(shop.carry_out(shop.placing()))
    order = shop.carry_out(FulfillOrderLines("o1", location_id="main"))
    assert [line.fulfilled_quantity for line in order.lines] == [9, 1]
    assert shop.counters("mug") == (0, 0, 0)
    assert shop.counters("mug", "annex") == (2, 0, 2)


def test_units_return_to_each_location_up_to_what_it_shipped(split_order: OrderShop) -> None:
    split_order.carry_out(FulfillOrderLines("o1"))
    split_order.carry_out(returning("sock", 3))
    assert on_hand(split_order) == (1, 2)


def test_units_that_return_one_by_one_go_where_each_came_from(split_order: OrderShop) -> None:
    split_order.carry_out(FulfillOrderLines("o1"))
    split_order.carry_out(returning("sock", 1))
    assert on_hand(split_order) == (1, 0)
    split_order.carry_out(returning("sock", 1))
    assert on_hand(split_order) == (1, 1)
    split_order.carry_out(returning("sock", 1))
    assert on_hand(split_order) == (1, 2)


def test_a_broken_unit_takes_the_place_of_one_that_would_have_returned(split_order: OrderShop) -> None:
    split_order.carry_out(FulfillOrderLines("o1"))
    command = ReturnOrderLines(
        "o1",
        (
            ReturnedUnits("sock", 1, restock=False, location_id=""),
            ReturnedUnits("sock", 1, restock=True, location_id="main"),
            ReturnedUnits("sock", 1, restock=True, location_id=""),
        ),
    )
    split_order.carry_out(command)
    assert on_hand(split_order) == (0, 1)
    assert split_order.level("sock", "main").on_hand == 1
