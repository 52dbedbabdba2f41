"""Buyers who fill carts, place orders and pay, and staff who call them off or ship them."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from functools import cache
from random import Random
from typing import Any, NamedTuple

from command_service.cart.domain import CART
from command_service.checkout.cancel_order import CancelOrder
from command_service.checkout.cancel_order_lines import CancelOrderLines
from command_service.checkout.expire_order import ExpireOrder
from command_service.checkout.extend_order_hold import ExtendOrderHold
from command_service.checkout.fulfill_order_lines import FulfillOrderLines
from command_service.checkout.merge_carts import MergeCarts
from command_service.checkout.place_order import PlaceOrder
from command_service.checkout.record_payment import RecordPayment
from command_service.checkout.record_refund import RecordRefund
from command_service.checkout.refund_payment import RefundPayment
from command_service.checkout.return_order_lines import ReturnedUnits, ReturnOrderLines
from command_service.checkout.set_cart_line_quantity import SetCartLineQuantity
from command_service.checkout.start_payment import StartPayment
from command_service.inventory.commands import ReceiveStock
from command_service.inventory.domain import LOCATION, STOCK
from command_service.inventory.movements import StockRow
from command_service.money import Money
from command_service.ordering.domain import Order, PaymentMode
from command_service.ordering.lines import Units
from command_service.payment.payments import CaptureMode, Payment, Wish
from command_service.world import Command
from payment_providers.port import Flow
from tests.command_service.checkout.shop_in_memory import CART_IDLE, ShopInMemory, add, apply, create
from tests.simulation.database import KEY_ROW, Place
from tests.simulation.offers import offering, put_on_offer
from tests.simulation.shop import Client, Shop, Workload
from tests.simulation.workloads import LOCATIONS, LONG, stock_of

CART_COUNT = 4
PRICES_MINOR = {"mug": 250, "pot": 1_275}


class Template(NamedTuple):
    """A shop at its opening: rows, and the etag and total of each cart."""

    rows: dict[Place, Any]
    carts: dict[str, tuple[str, Money]]


@cache
def template() -> Template:
    """Four carts of mugs and pots; the even ones have a coupon, of the same customer."""
    shop = ShopInMemory()
    for sku_id, price_minor in PRICES_MINOR.items():
        shop.sell(sku_id, price_minor)
    shop.promote("tenth")
    shop.give_coupon("XMAS", "tenth", usage_limit=1, usage_limit_per_customer=1)
    carts = {}
    for number in range(CART_COUNT):
        cart_id = f"c{number}"
        shop.carry_out(create(cart_id, customer_id="ada" if number < 3 else "bob"))
        shop.carry_out(add("mug", 1 + number % 2, cart_id=cart_id))
        if number != 1:
            shop.carry_out(add("pot", cart_id=cart_id))
        if number % 2 == 0:
            shop.carry_out(apply("XMAS", cart_id=cart_id))
        cart = shop.cart(cart_id)
        carts[cart_id] = (cart.etag, Money("GBP", cart.subtotal_minor + cart.discount_minor))
    world = shop.world
    rows = {
        (rank, key): row
        for rank in world._loaded
        for key, row in {**world._loaded[rank], **world._current.get(rank, {})}.items()
        if row is not None
    }
    rows |= {(LOCATION.rank, key): location for key, location in LOCATIONS.items()}
    return Template(rows, carts)


def order_workload(
    chance: Random, *, is_paid_at_provider: bool = False, is_offering: bool = False
) -> Workload:
    """Buyers of the same few units, who are charged in the shop or at a provider.

    is_offering: some of what they buy is new, and for a while there is a sale.
    """
    draw = chance.random
    rows = dict(template().rows)
    rows[STOCK.rank, "mug"] = stock_of("mug", 1 + int(draw() * 3), int(draw() * 2))
    rows[STOCK.rank, "pot"] = stock_of("pot", 1 + int(draw() * 3))
    if is_offering:
        put_on_offer(chance, rows)
    expires = draw() < (0.6 if is_paid_at_provider else 0.3)
    buyer_count = 2 + int(draw() * (1.3 if is_paid_at_provider else 2))

    def client(number: int) -> Client:
        async def act(shop: Shop) -> None:
            if is_offering:
                for command in offering(chance, rows, f"c{number}"):
                    await shop.carry_out(shop.request(command))
            await _buy(shop, number, expires=expires, is_paid_at_provider=is_paid_at_provider)

        return act

    return Workload(
        rows,
        [client(number) for number in range(buyer_count)],
        expires=expires,
        is_paid_at_provider=is_paid_at_provider,
    )


async def _buy(shop: Shop, number: int, *, expires: bool, is_paid_at_provider: bool) -> None:
    """One buyer: some edit of the cart, an order, and what comes of it, two things at a time."""
    draw = shop.chance.random
    cart_id = f"c{number if draw() < 0.75 else int(draw() * CART_COUNT)}"
    if draw() < 0.15:
        await shop.carry_out(shop.request(_edit(shop.chance, cart_id)))
    hold = timedelta(seconds=0.3 + draw() * 3) if expires and draw() < 0.6 else LONG
    order = await _place(shop, number, cart_id, hold)
    if order is None:
        return
    if is_paid_at_provider:
        await _pay_at_provider(shop, order)
        if draw() < 0.3:
            await shop.carry_out(shop.request(CancelOrder(order.order_id)))
        return
    commands = list(_after(shop.chance, order))
    while commands:
        count = 1 + int(draw() * 2)
        together, commands = commands[:count], commands[count:]
        tasks = [
            asyncio.ensure_future(shop.carry_out(shop.request(each, is_doubled=draw() < 0.1)))
            for each in together
        ]
        for task in tasks:
            await task


def _edit(chance: Random, cart_id: str) -> Command[Any]:
    if chance.random() < 0.3:
        return MergeCarts(cart_id, f"c{int(chance.random() * CART_COUNT)}", CART_IDLE)
    return SetCartLineQuantity(cart_id, None, "mug", 1 + int(chance.random() * 3), CART_IDLE)


async def _place(shop: Shop, number: int, cart_id: str, hold: timedelta) -> Order | None:
    """The order; the cart as it was at first, or as it is now when somebody has edited it."""
    draw = shop.chance.random
    etag, total = template().carts[cart_id]
    if draw() < 0.5:
        cart = shop.database.rows[CART.rank, cart_id]
        if cart is not KEY_ROW:
            etag, total = cart.etag, Money("GBP", cart.subtotal_minor + cart.discount_minor)
    command = PlaceOrder(
        order_id=f"o{number}",
        order_number=f"n{number}",
        cart_id=cart_id,
        etag=etag,
        expected_total=total,
        customer_id="",
        contact=None,
        payment_mode=PaymentMode.ONLINE if draw() < 0.8 else PaymentMode.IN_STORE,
        hold_duration=hold,
    )
    request = shop.request(command, is_doubled=draw() < 0.15, is_hurried=draw() < 0.05)
    await shop.carry_out(request)
    if not request.is_done:
        return None
    order: Order = request.answer
    return order


def _after(chance: Random, order: Order) -> Iterator[Command[Any]]:
    draw = chance.random
    reference = order.order_id if draw() < 0.9 else "somebody's"
    pay = RecordPayment(order.order_id, reference, order.total)
    if draw() < 0.85:
        yield pay
    for _ in range(int(draw() * 3.5)):
        line = order.lines[int(draw() * len(order.lines))]
        kind = int(draw() * 10)
        if kind < 2:
            yield CancelOrder(order.order_id)
        elif kind == 2:
            yield (
                pay if draw() < 0.5 else RecordPayment(order.order_id, f"{reference} again", order.total)
            )
        elif kind == 3:
            yield RecordPayment(order.order_id, f"{reference} part", Money("GBP", 1 + int(draw() * 300)))
        elif kind < 6:
            yield FulfillOrderLines(order.order_id)
        elif kind == 6:
            yield CancelOrderLines(order.order_id, (Units(line.line_id, 1),))
        elif kind == 7:
            returned = ReturnedUnits(line.line_id, 1, restock=True, location_id="main")
            yield ReturnOrderLines(order.order_id, (returned,))
        elif kind == 8:
            amount = Money("GBP", 1 + int(draw() * 300))
            yield RecordRefund(order.order_id, f"back {int(draw() * 3)} {order.order_id}", amount, ())
        elif draw() < 0.3:
            yield ExtendOrderHold(order.order_id, timedelta(seconds=draw() * 3))
        elif draw() < 0.5:
            yield ExpireOrder(order.order_id)
        else:
            yield ReceiveStock((StockRow(line.sku_id, "main", 1),), "delivery")


async def _pay_at_provider(shop: Shop, order: Order) -> None:
    """As the servicer does: the intent, then the call; or that is left to whoever finds the errand."""
    draw = shop.chance.random
    parts: list[Money | None] = [None] * (1 + int(draw() * 1.3))
    is_split = draw() < 0.2
    if is_split:
        parts = [Money("GBP", 1 + int(draw() * (order.total_minor - 1))), None]
    for number, part in enumerate(parts):
        mode = CaptureMode.AT_ONCE if draw() < 0.3 else CaptureMode.WHEN_HELD
        command = StartPayment(order.order_id, "stripe", Flow.EMBEDDED, mode, part, Wish())
        request = shop.request(command)
        await shop.carry_out(request)
        if not request.is_done:
            return
        payment: Payment = request.answer
        if draw() < 0.9:
            await shop.drive(request)
        await shop.database.loop.pause(draw() * 2)
        if draw() < 0.85:
            shop.provider.pay(payment.payment_id)
        # What two payments gave back together is rare enough, and of that one part is to fail.
        is_of_two = is_split and number == 1
        if draw() < (0.8 if is_of_two else 0.4):
            await shop.database.loop.pause(draw() * 4)
            await _give_back(shop, order, is_whole=is_of_two)
            if draw() < (0.8 if is_of_two else 0.5):
                await shop.database.loop.pause(draw() * 4)
                shop.provider.bounce()


async def _give_back(shop: Shop, order: Order, *, is_whole: bool) -> None:
    draw = shop.chance.random
    amount: Money | None = None
    units: tuple[Units, ...] = ()
    kind = 1.0 if is_whole else draw()
    if kind < 0.5:
        amount = Money("GBP", 1 + int(draw() * 200))
    elif kind < 0.7:
        line = order.lines[int(draw() * len(order.lines))]
        units = (Units(line.line_id, 1 + int(draw() * line.quantity)),)
    else:
        units = tuple(Units(line.line_id, line.quantity) for line in order.lines)
    request = shop.request(RefundPayment(order.order_id, "", amount, units))
    await shop.carry_out(request)
    recording = asyncio.ensure_future(_record_by_hand(shop, order)) if draw() < 0.5 else None
    if request.is_done and draw() < 0.9:
        await shop.drive_refunds(request)
    if recording is not None:
        await recording


async def _record_by_hand(shop: Shop, order: Order) -> None:
    """Somebody sees refunds in the provider's tools, maybe before we know of them, and records them."""
    draw = shop.chance.random
    await shop.database.loop.pause(0.1 + draw())
    for refund in list(shop.provider.refunds):
        if refund.payment_id.startswith(f"{order.order_id}."):
            amount = Money("GBP", refund.amount_minor if draw() < 0.8 else 1 + int(draw() * 50))
            command = RecordRefund(order.order_id, refund.provider_reference, amount, ())
            await shop.carry_out(shop.request(command, is_doubled=draw() < 0.1))
