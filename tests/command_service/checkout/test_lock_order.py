"""Every batch of every process locks in one order: the reason why no two of them deadlock.

A race shows a wrong order only when it is lucky. Here one row is held, and what a batch has locked by
the time it waits for that row is looked at.
"""

import asyncio
from dataclasses import replace

import psycopg
import pytest

from command_service import session
from tests.command_service.checkout.orders_on_postgresql import fill_cart, open_stocked_shop
from tests.command_service.checkout.shop_in_memory import apply
from tests.command_service.conftest import CarryOut
from tests.eventually import eventually

SKUS = [f"sku{number}" for number in range(10)]
CARTS = ["c1", "c2", "c3"]

WAITING = "SELECT count(*) FROM pg_locks WHERE NOT granted"


@pytest.fixture
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch waits for its locks until it was looked at, however slow the machine is."""
    monkeypatch.setattr(session, "TIMEOUTS", session.Timeouts(100, 100, 100, 100))


@pytest.fixture
async def shop(unhurried: None, carry_out: CarryOut) -> CarryOut:
    await open_stocked_shop(carry_out)
    return carry_out


async def locked_while_waiting_for(
    shop: CarryOut, table: str, column: str, key: str, look_at: tuple[str, str]
) -> set[str]:
    """Which rows a batch of orders has locked when it waits for `key`; then lets it go on.

    The batch names SKUs and carts from the last to the first.
    """
    orders = [
        await fill_cart(shop, cart_id, **dict.fromkeys(reversed(SKUS), 1)) for cart_id in reversed(CARTS)
    ]
    for cart_id in CARTS:
        await shop(apply("TENTH", cart_id=cart_id))
    orders = [replace(order, etag=str(2 + len(SKUS))) for order in orders]
    async with await psycopg.AsyncConnection.connect(shop.database_url) as holder:
        await holder.execute(f"SELECT FROM {table} WHERE {column} = %s FOR UPDATE".encode(), (key,))
        batch = asyncio.create_task(shop.together(orders))

        async def is_waiting() -> bool:
            return await shop.fetch(WAITING) == [(1,)]

        await eventually(is_waiting)
        looked_at, its_column = look_at
        everything = await shop.fetch(f"SELECT {its_column} FROM {looked_at}")
        free = await shop.fetch(f"SELECT {its_column} FROM {looked_at} FOR UPDATE SKIP LOCKED")
        await holder.rollback()
    assert len(await batch) == len(orders)
    return {row[0] for row in everything} - {row[0] for row in free}


async def test_stock_is_locked_by_rising_sku(shop: CarryOut) -> None:
    stock = ("stock_items", "sku_id")
    locked = await locked_while_waiting_for(shop, *stock, "sku4", look_at=stock)
    # The held row is locked as well, by the holder.
    assert locked == set(SKUS[:5])


async def test_carts_are_locked_by_rising_id(shop: CarryOut) -> None:
    carts = ("carts", "cart_id")
    locked = await locked_while_waiting_for(shop, *carts, "c2", look_at=carts)
    assert locked == {"c1", "c2"}


async def test_no_stock_is_locked_before_all_carts_are(shop: CarryOut) -> None:
    stock = ("stock_items", "sku_id")
    assert await locked_while_waiting_for(shop, "carts", "cart_id", "c3", look_at=stock) == set()


async def test_all_carts_stay_locked_while_stock_is_waited_for(shop: CarryOut) -> None:
    carts = ("carts", "cart_id")
    locked = await locked_while_waiting_for(shop, "stock_items", "sku_id", "sku0", look_at=carts)
    assert locked == set(CARTS)


async def test_no_stock_is_locked_before_all_coupons_are(shop: CarryOut) -> None:
    stock = ("stock_items", "sku_id")
    coupons = ("coupons", "coupon_code")
    assert await locked_while_waiting_for(shop, *coupons, "TENTH", look_at=stock) == set()
