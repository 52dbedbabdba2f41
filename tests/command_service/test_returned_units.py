"""Units go back to the shelves that they came from, whatever the order still holds elsewhere."""

import pytest

from command_service.checkout.fulfill_order_lines import FulfillOrderLines
from command_service.checkout.return_order_lines import ReturnedUnits, ReturnOrderLines
from tests.command_service.checkout.order_shop import OrderShop


@pytest.fixture
def shop() -> OrderShop:
    """A paid order for three socks: one is held at the annex, two at the depot."""
    shop = OrderShop()
    shop.sell("sock", 100)
    for location_id, on_hand in (("annex", 1), ("depot", 2)):
        shop.open_location(location_id)
        shop.stock("sock", on_hand, location_id)
    shop.pay(shop.place(sock=3))
    return shop


def returned(shop: OrderShop, quantity: int) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """The counters at the annex and at the depot after that."""
    units = ReturnedUnits("sock", quantity, restock=True, location_id="")
    shop.carry_out(ReturnOrderLines("o1", (units,)))
    return shop.counters("sock", "annex"), shop.counters("sock", "depot")


def test_a_location_gets_no_more_back_than_it_shipped_however_often_units_leave(
    shop: OrderShop,
) -> None:
    shop.carry_out(FulfillOrderLines("o1", location_id="depot"))
    assert returned(shop, 1) == ((1, 0, 1), (1, 0, 0))
    shop.carry_out(FulfillOrderLines("o1", location_id="annex"))
    assert returned(shop, 2) == ((1, 0, 0), (2, 0, 0))


def test_units_put_elsewhere_are_away_from_where_they_came_no_longer(shop: OrderShop) -> None:
    shop.carry_out(FulfillOrderLines("o1"))
    elsewhere = ReturnedUnits("sock", 1, restock=True, location_id="depot")
    shop.carry_out(ReturnOrderLines("o1", (elsewhere,)))
    assert returned(shop, 2) == ((1, 0, 0), (2, 0, 0))


def test_a_location_that_has_not_shipped_yet_gets_nothing_back(shop: OrderShop) -> None:
    shop.carry_out(FulfillOrderLines("o1", location_id="depot"))
    assert returned(shop, 2) == ((1, 0, 1), (2, 0, 0))
