"""Orders in one batch with whatever else happens to their carts, coupons and stock."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import psycopg
import pytest
import pytest_asyncio

from command_service.errors import CartChanged, CartNotOpen, CouponUsedUp
from command_service.money import Money
from command_service.ordering.domain import Order
from command_service.pricing.commands import UpsertCoupons
from command_service.pricing.domain import Coupon
from command_service.session import Session
from tests.command_service.checkout.orders_on_postgresql import (
    counters,
    fill_cart,
    open_stocked_shop,
    placing,
)
from tests.command_service.checkout.shop_in_memory import add, apply
from tests.command_service.conftest import CarryOut
from tests.eventually import eventually


@pytest_asyncio.fixture
async def two(carry_out: CarryOut, database_url: str) -> AsyncIterator[tuple[CarryOut, CarryOut]]:
    """Two processes of one stocked shop, of which all invariants still hold at the end."""
    await open_stocked_shop(carry_out)
    session = Session(database_url, "the other")
    await session.connect()
    yield carry_out, CarryOut(database_url, session)
    await session.close()


@asynccontextmanager
async def locked(shop: CarryOut, sku_id: str) -> AsyncIterator[None]:
    """Holds a SKU's stock: whoever needs it waits, with all that it has read before."""
    async with await psycopg.AsyncConnection.connect(shop.database_url) as connection:
        await connection.execute("SELECT FROM stock_items WHERE sku_id = %s FOR UPDATE", (sku_id,))
        yield


async def somebody_waits(shop: CarryOut) -> bool:
    [(count,)] = await shop.fetch(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    return bool(count)


async def test_an_order_never_counts_a_coupon_that_its_batch_only_read(
    two: tuple[CarryOut, CarryOut],
) -> None:
    """An edit in the same batch reads the coupon without a lock; a use needs one."""
    here, there = two
    await here(UpsertCoupons((Coupon("LAST", "tenth", 1, None, active=True, used_count=0),)))
    for_stock = await fill_cart(here, "c1", sku1=1)
    await fill_cart(here, "c2", "ada", sku1=1)
    await here(apply("LAST", cart_id="c2"))
    rival = await fill_cart(here, "c3", "bob", sku2=1)
    await here(apply("LAST", cart_id="c3"))
    edited = placing("c2", etag="4", total_minor=182)
    async with locked(here, "sku1"):
        batch = asyncio.create_task(here.together([for_stock, add("sku1", cart_id="c2"), edited]))
        await eventually(lambda: somebody_waits(here))
        won = await there(replace(rival, etag="3", expected_total=Money("GBP", 92)))
    placed, _, late = await batch
    assert isinstance(placed, Order)
    assert isinstance(won, Order)
    assert isinstance(late, CouponUsedUp)
    assert await here.fetch("SELECT used_count FROM coupons WHERE coupon_code = 'LAST'") == [(1,)]
    assert await counters(here, "sku1") == (100, 1, 0)


async def test_an_order_sees_the_edits_of_its_cart_that_stand_before_it_in_its_batch(
    two: tuple[CarryOut, CarryOut],
) -> None:
    shop, _ = two
    seen = await fill_cart(shop, "c1", sku1=1)
    edited = placing("c1", etag="3", total_minor=202)
    answers = await shop.together([seen, add("sku1"), edited])
    assert isinstance(answers[0], Order)
    assert isinstance(answers[1], CartNotOpen)
    assert isinstance(answers[2], CartChanged | CartNotOpen)
    await fill_cart(shop, "c2", sku1=1)
    edited = placing("c2", etag="3", total_minor=202)
    cart, order = await shop.together([add("sku1", cart_id="c2"), edited])
    assert (cart.etag, order.lines[0].quantity) == ("3", 2)
    assert await counters(shop, "sku1") == (100, 3, 0)


async def test_a_cart_ordered_twice_in_one_batch_becomes_one_order(
    two: tuple[CarryOut, CarryOut],
) -> None:
    shop, _ = two
    command = await fill_cart(shop, "c1", sku1=1)
    second = replace(command, order_id="another", order_number="another")
    placed, refused = await shop.together([command, second])
    assert isinstance(placed, Order)
    assert isinstance(refused, CartNotOpen)
    assert await shop.fetch("SELECT order_id FROM orders") == [(placed.order_id,)]
    assert await counters(shop, "sku1") == (100, 1, 0)


async def test_orders_of_too_many_lines_for_one_batch_go_into_the_next_in_turn(
    two: tuple[CarryOut, CarryOut], monkeypatch: pytest.MonkeyPatch
) -> None:
    shop, _ = two
    monkeypatch.setattr("command_service.transaction.NEED_COUNT_MAX", 20)
    commands = [await fill_cart(shop, f"c{n}", sku1=1, sku2=1) for n in range(6)]
    answers = await shop.together(commands)
    assert [answer.order_id for answer in answers] == [command.order_id for command in commands]
    batches = await shop.fetch(
        "SELECT array_agg(key ORDER BY position) FROM events"
        " WHERE type LIKE '%%.OrderPlaced' GROUP BY recorded_time ORDER BY recorded_time"
    )
    # Seven keys an order: the price book, and of each SKU its catalogue row, its prices, its stock.
    pairs = [[f"order of c{n}", f"order of c{n + 1}"] for n in (0, 2, 4)]
    assert [keys for (keys,) in batches] == pairs
