"""What clients ask for: requests as bytes, made before any clock runs. Pure, but for the ids.

Each function stands for a kind of load and is named by it where one is described: see load.Load.
"""

from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from random import Random
from uuid import uuid4

from google.protobuf.duration_pb2 import Duration

from shopkeeper.cart.v1 import cart_command_service_pb2 as cart_command
from shopkeeper.cart.v1 import cart_query_service_pb2 as cart_query
from shopkeeper.inventory.v1 import inventory_command_service_pb2 as inventory_command
from shopkeeper.inventory.v1 import inventory_query_service_pb2 as inventory_query
from shopkeeper.inventory.v1.inventory_pb2 import ReservationLine
from shopkeeper.ordering.v1 import ordering_command_service_pb2 as ordering_command
from shopkeeper.types.v1.money_pb2 import Money

CURRENCY = "GBP"
PRICE_MINOR = 250
HOLD_SECONDS = 7 * 24 * 60 * 60
"""Nothing that a benchmark reserves expires while it runs."""

SKU_STRIDE = 7919
"""A prime: the lines of carts that follow each other are of SKUs that do not."""


def new_id() -> str:
    """A request id, or any other."""
    return str(uuid4())


def sku_id(number: int) -> str:
    """The SKU of that number; 0 is the hot one."""
    return f"SKU-{number:06}"


def product_id(number: int) -> str:
    """The product of that SKU, which has no other: a view of a product tells all its SKUs."""
    return f"PRO-{number:06}"


def cart_id(prefix: str, number: int) -> str:
    """The cart of that number of a series."""
    return f"{prefix}-{number:08}"


def _any_of(seed: int, count: int) -> Iterable[int]:
    chance = Random(seed)
    while True:
        yield chance.randrange(count)


def stock_lookups(*, request_count: int, sku_count: int, seed: int) -> list[bytes]:
    """Each of one SKU, drawn by chance."""
    return [
        inventory_query.GetStockRequest(sku_id=sku_id(number)).SerializeToString()
        for number in islice(_any_of(seed, sku_count), request_count)
    ]


def stock_batches(*, request_count: int, sku_count: int, batch_size: int, seed: int) -> list[bytes]:
    """Each of many SKUs, drawn by chance."""
    numbers = iter(_any_of(seed, sku_count))
    return [
        inventory_query.BatchGetStockRequest(
            sku_ids=[sku_id(number) for number in islice(numbers, batch_size)]
        ).SerializeToString()
        for _ in range(request_count)
    ]


def cart_lookups(*, request_count: int, prefix: str, cart_count: int, seed: int) -> list[bytes]:
    """Each of one cart, drawn by chance."""
    return [
        cart_query.GetCartRequest(cart_id=cart_id(prefix, number)).SerializeToString()
        for number in islice(_any_of(seed, cart_count), request_count)
    ]


def reservations(*, request_count: int, sku_count: int, seed: int) -> list[bytes]:
    """Each of one unit of one SKU, drawn by chance; of the hot one if `sku_count` is 1."""
    hold = Duration(seconds=HOLD_SECONDS)
    return [
        inventory_command.ReserveStockRequest(
            request_id=new_id(),
            reservation_id=new_id(),
            reference="benchmark",
            lines=[ReservationLine(sku_id=sku_id(number), quantity=1)],
            hold_duration=hold,
        ).SerializeToString()
        for number in islice(_any_of(seed, sku_count), request_count)
    ]


def cart_lines(*, request_count: int, prefix: str, first: int, sku_number: int) -> list[bytes]:
    """One more line for carts of a series."""
    return [
        cart_command.AddCartLineRequest(
            request_id=new_id(),
            cart_id=cart_id(prefix, number),
            sku_id=sku_id(sku_number),
            quantity=1,
        ).SerializeToString()
        for number in range(first, first + request_count)
    ]


def orders(*, request_count: int, prefix: str, first: int, line_count: int) -> list[bytes]:
    """Carts of a series, of `line_count` lines of one unit each, ordered."""
    total = Money(currency_code=CURRENCY, amount_minor=line_count * PRICE_MINOR)
    return [
        ordering_command.PlaceOrderRequest(
            request_id=new_id(),
            cart_id=cart_id(prefix, number),
            etag=str(1 + line_count),
            expected_total=total,
            hold_duration=Duration(seconds=HOLD_SECONDS),
        ).SerializeToString()
        for number in range(first, first + request_count)
    ]


KINDS: Mapping[str, Callable[..., list[bytes]]] = {
    function.__name__: function
    for function in (
        stock_lookups,
        stock_batches,
        cart_lookups,
        reservations,
        cart_lines,
        orders,
    )
}
