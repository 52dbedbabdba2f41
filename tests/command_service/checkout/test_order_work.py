"""What the commands of an order cost, by how many lines it has: the decisions alone, in memory."""

from collections.abc import Iterator
from typing import Any

from command_service.checkout.cancel_order import CancelOrder
from command_service.checkout.cancel_order_lines import CancelOrderLines
from command_service.checkout.fulfill_order_lines import FulfillOrderLines
from command_service.checkout.return_order_lines import ReturnedUnits, ReturnOrderLines
from command_service.ordering.lines import Units
from command_service.world import Command
from tests.command_service.checkout.order_shop import OrderShop
from tests.command_service.counted_steps import steps_of

LINES = 24


def life(shop: OrderShop, sku_ids: list[str]) -> Iterator[Command[Any]]:
    """Two units of each SKU are ordered and paid; some ship and come back, the rest is called off."""
    shop.fill_cart("c1", **dict.fromkeys(sku_ids, 2))
    yield shop.placing("c1")
    order = shop.order()
    yield shop.payment(order)
    one_each = tuple(Units(sku_id, 1) for sku_id in sku_ids)
    half = tuple(Units(sku_id, 1) for sku_id in sku_ids[::2])
    yield FulfillOrderLines(order.order_id, half)
    yield CancelOrderLines(order.order_id, half)
    yield FulfillOrderLines(order.order_id, (), "main")
    yield ReturnOrderLines(
        order.order_id,
        tuple(ReturnedUnits(sku_id, 1, restock=True, location_id="") for sku_id in sku_ids),
    )
    yield shop.refund_of_units(order, *one_each)
    shop.fill_cart("c2", **dict.fromkeys(sku_ids, 2))
    yield shop.placing("c2")
    yield CancelOrder("o2")


def steps_by_command(line_count: int) -> list[tuple[str, int]]:
    shop = OrderShop()
    sku_ids = [f"sku{number:03}" for number in range(line_count)]
    for sku_id in sku_ids:
        shop.sell(sku_id, 100)
        shop.stock(sku_id, 10)

    def steps(command: Command[Any]) -> int:
        return steps_of(lambda: shop.carry_out(command))

    return [(type(command).__name__, steps(command)) for command in life(shop, sku_ids)]


def test_no_command_of_four_times_the_lines_is_more_than_four_times_the_work() -> None:
    few, many = steps_by_command(LINES), steps_by_command(4 * LINES)
    growth = [(name, of_many / of_few) for (name, of_few), (_, of_many) in zip(few, many, strict=True)]
    assert [(name, times) for name, times in growth if times > 4.4] == []
