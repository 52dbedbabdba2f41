"""After the race: the won orders are called off, the lost carts emptied, what was made is put away."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ops.race.buyers import CARTS_AT_ONCE, Finish, Finishes
from ops.race.shop import Shop
from ops.race.stake import TITLE, Stake, put_away
from ops.wire.calls import Refused
from ops.wire.rpcs import CANCEL_ORDER, REMOVE_CART_LINE
from shopkeeper.cart.v1.cart_command_service_pb2 import RemoveCartLineRequest
from shopkeeper.ordering.v1.ordering_command_service_pb2 import CancelOrderRequest


@dataclass(frozen=True, slots=True)
class Cleared:
    """What was done, a sentence each; and what could not be.

    is_put_away: the SKU was made for the race, and is gone with its stock.
    """

    done: Sequence[str]
    failed: Sequence[str]
    is_put_away: bool = False


async def clear(shop: Shop, stake: Stake, units: int, finishes: Finishes) -> Cleared:
    """Leaves the shop as the race found it. Raises Problem: the shop gives no answer.

    units: what a SKU that was made for the race has on its shelf.
    """
    orders = await _each(finishes.winners, lambda finish: _call_off(shop, finish))
    carts = await _each(finishes.losers, lambda finish: _empty(shop, finish))
    failed, is_put_away = [*orders, *carts], False
    done = [
        f"{len(finishes.winners) - len(orders):,} won called off: what they held can be ordered again",
        f"{len(finishes.losers) - len(carts):,} carts of losers emptied: they expire by themselves",
    ]
    if stake.is_ours:
        try:
            await put_away(shop, stake, units)
        except Refused as refusal:
            failed.append(f"SKU {stake.sku_id} was not put away: {refusal}")
        else:
            is_put_away = True
            done.append(
                f"SKU {stake.sku_id} taken out of use, with its stock, its location and its price"
            )
    return Cleared(done, failed, is_put_away=is_put_away)


async def _each(
    finishes: Iterable[Finish], do: Callable[[Finish], Coroutine[Any, Any, str]]
) -> list[str]:
    """Does it for each; what was refused."""
    turnstile = asyncio.Semaphore(CARTS_AT_ONCE)

    async def in_turn(finish: Finish) -> str:
        async with turnstile:
            return await do(finish)

    return [told for told in await asyncio.gather(*map(in_turn, finishes)) if told]


async def _call_off(shop: Shop, finish: Finish) -> str:
    assert finish.order is not None, "a winner has an order"
    request = CancelOrderRequest(order_id=finish.order.order_id, reason=TITLE)
    try:
        await shop.command(CANCEL_ORDER, request, connection=finish.buyer)
    except Refused as refusal:
        return f"order {finish.order.order_number} was not called off: {refusal}"
    return ""


async def _empty(shop: Shop, finish: Finish) -> str:
    [line] = finish.cart.lines
    request = RemoveCartLineRequest(cart_id=finish.cart.cart_id, line_id=line.line_id)
    try:
        await shop.command(REMOVE_CART_LINE, request, connection=finish.buyer)
    except Refused as refusal:
        return f"cart {finish.cart.cart_id} was not emptied: {refusal}"
    return ""
