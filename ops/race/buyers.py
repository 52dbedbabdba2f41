"""The buyers: each fills a cart with one unit; then all of them order at the same moment."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from time import perf_counter
from uuid import uuid4

from google.protobuf.duration_pb2 import Duration

from ops.progress import OnProgress
from ops.race.shop import Shop
from ops.race.stake import Stake
from ops.wire.calls import Refused
from ops.wire.rpcs import ADD_CART_LINE, CREATE_CART, PLACE_ORDER
from shopkeeper.cart.v1.cart_command_service_pb2 import AddCartLineRequest, CreateCartRequest
from shopkeeper.cart.v1.cart_pb2 import Cart
from shopkeeper.ordering.v1.ordering_command_service_pb2 import PlaceOrderRequest
from shopkeeper.ordering.v1.ordering_pb2 import Order

HOLD_SECONDS = 300
"""How long a won order holds its unit if nobody calls it off: whatever happens to the race, the shop has
its units back soon."""

CARTS_AT_ONCE = 32
"""Filling carts is no race, and the shop may have other customers."""

SOLD_OUT = "OUT_OF_STOCK"


@dataclass(frozen=True, slots=True)
class Finish:
    """How one buyer's race ended; seconds since the start. order: None for one who lost."""

    buyer: int
    cart: Cart
    sent_seconds: float
    answered_seconds: float
    order: Order | None
    reason: str


@dataclass(frozen=True, slots=True)
class Finishes:
    """How it ended for all."""

    each: Sequence[Finish]

    @property
    def winners(self) -> list[Finish]:
        """Those who have an order, in the order of their answers."""
        won = [finish for finish in self.each if finish.order is not None]
        return sorted(won, key=lambda finish: finish.answered_seconds)

    @property
    def losers(self) -> list[Finish]:
        """Those who were refused."""
        return [finish for finish in self.each if finish.order is None]

    @property
    def order_ids(self) -> list[str]:
        """Of all that were won."""
        return [finish.order.order_id for finish in self.each if finish.order is not None]

    @property
    def reasons(self) -> Counter[str]:
        """Why buyers lost, and how many of them."""
        return Counter(finish.reason for finish in self.losers)

    @property
    def sent_seconds(self) -> float:
        """By when all orders were on their way."""
        return max(finish.sent_seconds for finish in self.each)

    @property
    def answered_seconds(self) -> float:
        """When the last of them had an answer."""
        return max(finish.answered_seconds for finish in self.each)

    @property
    def at_once_count(self) -> int:
        """How many orders were on their way when the first answer came."""
        first_seconds = min(finish.answered_seconds for finish in self.each)
        return sum(finish.sent_seconds < first_seconds for finish in self.each)


async def fill_carts(shop: Shop, stake: Stake, buyer_count: int, on_progress: OnProgress) -> list[Cart]:
    """A cart with one unit for each buyer.

    Raises:
        Refused: the SKU cannot be bought.
        Problem: the shop gives no answer.
    """
    turnstile, done = asyncio.Semaphore(CARTS_AT_ONCE), count(1)

    async def fill(buyer: int) -> Cart:
        async with turnstile:
            cart = await _filled_cart(shop, stake, buyer)
        on_progress("buyers with a cart", next(done), buyer_count)
        return cart

    # The first alone: what is refused to one is refused to all, and need not be asked for each.
    first = await fill(0)
    return [first, *await asyncio.gather(*map(fill, range(1, buyer_count)))]


async def race(shop: Shop, carts: Sequence[Cart]) -> Finishes:
    """All order at once. Raises Problem: the shop gives no answer."""
    start = asyncio.Event()
    runs = [asyncio.create_task(_run(shop, start, i, cart)) for i, cart in enumerate(carts)]
    # Each has come to the line when this goes on.
    await asyncio.sleep(0)
    begun_seconds = perf_counter()
    start.set()
    finishes = await asyncio.gather(*runs)
    return Finishes([_since(finish, begun_seconds) for finish in finishes])


async def _filled_cart(shop: Shop, stake: Stake, buyer: int) -> Cart:
    create = CreateCartRequest(
        cart_id=f"race-{uuid4()}",
        currency_code=stake.currency_code,
        price_list_id=stake.price_list_id,
    )
    cart = (await shop.command(CREATE_CART, create, connection=buyer)).cart
    add = AddCartLineRequest(cart_id=cart.cart_id, sku_id=stake.sku_id, quantity=1)
    return (await shop.command(ADD_CART_LINE, add, connection=buyer)).cart


async def _run(shop: Shop, start: asyncio.Event, buyer: int, cart: Cart) -> Finish:
    request = PlaceOrderRequest(
        cart_id=cart.cart_id,
        etag=cart.etag,
        expected_total=cart.total,
        hold_duration=Duration(seconds=HOLD_SECONDS),
        notes="shopkeeper race",
    )
    await start.wait()
    sent_seconds = perf_counter()
    order, reason = None, ""
    try:
        order = (await shop.command(PLACE_ORDER, request, connection=buyer)).order
    except Refused as refusal:
        reason = refusal.reason
    return Finish(buyer + 1, cart, sent_seconds, perf_counter(), order, reason)


def _since(finish: Finish, begun_seconds: float) -> Finish:
    return Finish(
        finish.buyer,
        finish.cart,
        finish.sent_seconds - begun_seconds,
        finish.answered_seconds - begun_seconds,
        finish.order,
        finish.reason,
    )
