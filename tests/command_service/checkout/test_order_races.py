"""Two processes at the same orders and the same few units."""

import asyncio
from collections import Counter
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from command_service.checkout.record_refund import RecordRefund
from command_service.errors import OutOfStock, RefundExceedsPayments
from command_service.inventory.domain import Demand
from command_service.inventory.reservation_commands import ReserveStock
from command_service.money import Money
from command_service.session import Session
from command_service.world import Command
from tests.command_service.checkout.orders_on_postgresql import (
    counters,
    fill_cart,
    open_stocked_shop,
    payment,
    place,
)
from tests.command_service.conftest import CarryOut
from tests.eventually import eventually

HOUR = timedelta(hours=1)


def reserve(number: int) -> ReserveStock:
    return ReserveStock(f"ebay-{number}", "ebay", (Demand("sku1", 1),), HOUR)


async def test_orders_and_outside_reservations_share_the_last_units_exactly(
    carry_out: CarryOut, database_url: str
) -> None:
    """Whoever asks, and by whichever way in: a counter is guarded where it is kept."""
    await open_stocked_shop(carry_out, on_hand=10)
    orders = [await fill_cart(carry_out, f"c{n}", sku1=1) for n in range(16)]
    session = Session(database_url, "the other")
    await session.connect()
    there = CarryOut(database_url, session)
    commands: list[Command[Any]] = [
        command for pair in zip(orders, map(reserve, range(16)), strict=True) for command in pair
    ]

    async def attempt(process: CarryOut, command: Command[Any]) -> str:
        [answer] = await process.together([command])
        return type(answer).__name__

    async def one_by_one(process: CarryOut, own: list[Command[Any]]) -> list[str]:
        return [await attempt(process, command) for command in own]

    here_names, there_names = await asyncio.gather(
        one_by_one(carry_out, commands[: len(commands) // 2]),
        one_by_one(there, commands[len(commands) // 2 :][::-1]),
    )
    await session.close()
    outcomes = Counter([*here_names, *there_names])
    assert outcomes[OutOfStock.__name__] == 22
    assert outcomes["Order"] + outcomes["Reservation"] == 10
    assert await counters(carry_out, "sku1") == (10, 10, 0)


@pytest.mark.breaks_invariants
async def test_a_refund_sees_what_was_given_back_while_it_waited_for_the_order(
    carry_out: CarryOut,
) -> None:
    await open_stocked_shop(carry_out)
    order = await place(carry_out, "c1", sku1=1)
    await carry_out(payment(order, "pay-1"))
    async with await psycopg.AsyncConnection.connect(carry_out.database_url) as other:
        await other.execute("UPDATE orders SET refunded_minor = 100")
        refund = RecordRefund(order.order_id, "refund-1", Money("GBP", 2), ())
        waiting = asyncio.create_task(carry_out(refund))
        await eventually(lambda: is_waiting(carry_out))
    with pytest.raises(RefundExceedsPayments):
        await waiting
    assert await carry_out.fetch("SELECT refunded_minor FROM orders") == [(100,)]


async def is_waiting(process: CarryOut) -> bool:
    [(count,)] = await process.fetch(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    return bool(count)
