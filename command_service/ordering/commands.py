"""What a command asks of an order before anything else. Pure."""

from command_service.errors import CurrencyMismatch, OrderNotFound
from command_service.money import Money
from command_service.ordering.domain import ORDER, Order
from command_service.world import World


def order_of(world: World, order_id: str) -> Order:
    """The order.

    Raises:
        OrderNotFound: there is none.
    """
    order = world.get(ORDER, order_id)
    if order is None:
        raise OrderNotFound(order_id=order_id)
    return order


def check_currency(order: Order, amount: Money) -> None:
    """Refuses money in another currency than the order's."""
    if amount.currency_code != order.currency_code:
        raise CurrencyMismatch(
            actual_currency_code=amount.currency_code, expected_currency_code=order.currency_code
        )
