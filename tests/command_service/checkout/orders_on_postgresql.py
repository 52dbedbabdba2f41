"""Orders of a shop in PostgreSQL."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import count

from command_service.checkout.place_order import PlaceOrder
from command_service.checkout.record_payment import RecordPayment
from command_service.inventory.commands import ReceiveStock, UpsertLocations
from command_service.inventory.domain import Location
from command_service.inventory.movements import StockRow
from command_service.money import Money
from command_service.ordering.domain import ORDER, Order, PaymentMode
from command_service.ordering.order_numbers import order_number
from command_service.world import Command, Decision, Touch, World
from tests.command_service.checkout.shop_in_memory import add, create
from tests.command_service.checkout.shop_on_postgresql import open_shop
from tests.command_service.conftest import CarryOut

_serials = count(1)


@dataclass(frozen=True, slots=True)
class LookAtOrder(Command[Order | None]):
    """Answers the order as it is stored."""

    order_id: str

    def touches(self) -> Iterable[Touch]:
        return [ORDER.read(self.order_id)]

    def decide(self, world: World, now: datetime) -> Decision[Order | None]:
        return Decision(world.get(ORDER, self.order_id))


async def open_stocked_shop(carry_out: CarryOut, on_hand: int = 100) -> None:
    """Main has `on_hand` of sku0 to sku9, the annex has none of them yet."""
    await open_shop(carry_out)
    locations = (Location("main", "Main", 0, True), Location("annex", "Annex", 1, True))
    await carry_out(UpsertLocations(locations))
    await receive(carry_out, "main", **{f"sku{number}": on_hand for number in range(10)})


async def receive(carry_out: CarryOut, location_id: str, **quantities: int) -> None:
    rows = tuple(StockRow(sku_id, location_id, quantity) for sku_id, quantity in quantities.items())
    await carry_out(ReceiveStock(rows, "delivery"))


async def fill_cart(
    carry_out: CarryOut, cart_id: str, customer_id: str = "", /, **quantities: int
) -> PlaceOrder:
    """Fills a cart and returns the command that orders it."""
    await carry_out(create(cart_id, customer_id=customer_id))
    for sku_id, quantity in quantities.items():
        await carry_out(add(sku_id, quantity, cart_id=cart_id))
    return placing(cart_id, etag=str(1 + len(quantities)), total_minor=_total_minor(quantities))


def placing(cart_id: str, *, etag: str, total_minor: int) -> PlaceOrder:
    return PlaceOrder(
        order_id=f"order of {cart_id}",
        order_number=order_number(next(_serials)),
        cart_id=cart_id,
        etag=etag,
        expected_total=Money("GBP", total_minor),
        customer_id="",
        contact=None,
        payment_mode=PaymentMode.ONLINE,
        hold_duration=timedelta(minutes=15),
    )


async def place(
    carry_out: CarryOut, cart_id: str, hold: timedelta | None = None, **quantities: int
) -> Order:
    command = await fill_cart(carry_out, cart_id, **quantities)
    return await carry_out(replace(command, hold_duration=hold or command.hold_duration))


def payment(order: Order, reference: str, amount_minor: int | None = None) -> RecordPayment:
    return RecordPayment(order.order_id, reference, Money("GBP", amount_minor or order.total_minor))


def _total_minor(quantities: dict[str, int]) -> int:
    """As shop_on_postgresql prices them: sku7 is 1.07."""
    return sum(
        (100 + int(sku_id.removeprefix("sku"))) * quantity for sku_id, quantity in quantities.items()
    )


async def counters(carry_out: CarryOut, sku_id: str, location_id: str = "main") -> tuple[int, int, int]:
    """(on_hand, reserved, allocated) as stored."""
    [row] = await carry_out.fetch(
        "SELECT on_hand, reserved, allocated FROM stock_levels WHERE sku_id = %s AND location_id = %s",
        sku_id,
        location_id,
    )
    return row
