"""Orders of units that are not on the shelf yet, where a location may promise them."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from command_service.checkout.fulfill_order_lines import FulfillOrderLines
from command_service.errors import OutOfStock
from command_service.inventory.commands import SetStockPolicy
from command_service.ordering.domain import OrderState, PaymentOutcome
from command_service.ordering.lines import Units
from tests.command_service.checkout.orders_on_postgresql import (
    counters,
    open_stocked_shop,
    payment,
    place,
    receive,
)
from tests.command_service.conftest import CarryOut


@pytest_asyncio.fixture
async def shop(carry_out: CarryOut) -> AsyncIterator[CarryOut]:
    """One unit of each SKU, and three more may be promised of sku1."""
    await open_stocked_shop(carry_out, on_hand=1)
    await carry_out(SetStockPolicy("sku1", "main", safety_stock=0, backorder_limit=3))
    yield carry_out


async def test_an_order_of_units_to_come_is_paid_and_shipped_once_they_are_there(
    shop: CarryOut,
) -> None:
    order = await place(shop, "c1", sku1=4)
    assert await counters(shop, "sku1") == (1, 4, 0)
    paid = await shop(payment(order, "pay-1"))
    assert (paid.outcome, paid.order.state) == (PaymentOutcome.PAID, OrderState.PAID)
    assert await counters(shop, "sku1") == (1, 0, 4)

    everything = FulfillOrderLines(order.order_id, (Units("sku1", 4),))
    with pytest.raises(OutOfStock):
        await shop(everything)
    assert await counters(shop, "sku1") == (1, 0, 4)
    await receive(shop, "main", sku1=3)
    shipped = await shop(everything)
    assert shipped.state is OrderState.FULFILLED
    assert await counters(shop, "sku1") == (0, 0, 0)


async def test_no_more_is_sold_than_may_be_promised(shop: CarryOut) -> None:
    with pytest.raises(OutOfStock):
        await place(shop, "c1", sku1=5)
    await shop(payment(await place(shop, "c2", sku1=3), "pay-2"))
    with pytest.raises(OutOfStock):
        await place(shop, "c3", sku1=2)
    await shop(payment(await place(shop, "c4", sku1=1), "pay-4"))
    assert await counters(shop, "sku1") == (1, 0, 4)
    assert await shop.fetch("SELECT sum(shortage) FROM stock_levels") == [(0,)]
