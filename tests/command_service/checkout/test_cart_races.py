"""Two processes at the same carts."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any

import pytest_asyncio

from command_service.checkout.merge_carts import MergedCarts
from command_service.errors import CartAlreadyExists, CartNotOpen
from command_service.session import Session
from command_service.world import Command
from tests.command_service.checkout.shop_in_memory import add, create, merge
from tests.command_service.checkout.shop_on_postgresql import SKU_COUNT, open_shop
from tests.command_service.conftest import CarryOut


@pytest_asyncio.fixture
async def two(carry_out: CarryOut, database_url: str) -> AsyncIterator[tuple[CarryOut, CarryOut]]:
    """Two processes of one shop."""
    await open_shop(carry_out)
    session = Session(database_url, "the other")
    await session.connect()
    yield carry_out, CarryOut(database_url, session)
    await session.close()


async def one_by_one(process: CarryOut, commands: Iterable[Command[Any]]) -> list[Any]:
    """Each in a transaction of its own."""
    return [answer for command in commands for answer in await process.together([command])]


async def test_two_processes_adding_to_one_cart_lose_no_line(two: tuple[CarryOut, CarryOut]) -> None:
    first, second = two
    await first(create())

    await asyncio.gather(
        one_by_one(first, [add(f"sku{n}") for n in range(0, 40, 2)]),
        one_by_one(second, [add(f"sku{n}") for n in range(1, 40, 2)]),
    )

    assert await first.fetch("SELECT version FROM carts") == [(41,)]
    stored = await first.fetch("SELECT sku_id FROM cart_lines")
    assert {sku_id for (sku_id,) in stored} == {f"sku{n}" for n in range(40)}
    ordinals = await first.fetch("SELECT ordinal FROM cart_lines ORDER BY ordinal")
    assert ordinals == [(n,) for n in range(1, 41)]


async def test_two_processes_adding_to_one_line_lose_no_unit(two: tuple[CarryOut, CarryOut]) -> None:
    first, second = two
    await first(create())

    await asyncio.gather(one_by_one(first, [add("sku1")] * 25), one_by_one(second, [add("sku1")] * 25))

    assert await first.fetch("SELECT quantity FROM cart_lines") == [(50,)]


async def test_mirrored_merges_neither_deadlock_nor_lose_a_line(
    two: tuple[CarryOut, CarryOut],
) -> None:
    first, second = two
    pairs = [(f"a{n}", f"b{n}") for n in range(15)]
    await first.together([create(cart_id) for pair in pairs for cart_id in pair])
    await first.together(
        [add(f"sku{n}", cart_id=cart_id) for pair in pairs for n, cart_id in enumerate(pair)]
    )

    there, back = await asyncio.gather(
        one_by_one(first, [merge(a, b) for a, b in pairs]),
        one_by_one(second, [merge(b, a) for a, b in pairs]),
    )

    for one, other in zip(there, back, strict=True):
        assert {type(one), type(other)} == {MergedCarts, CartNotOpen}
    stored = await first.fetch(
        "SELECT count(*) FROM cart_lines JOIN carts USING (cart_id) WHERE state = 1 GROUP BY cart_id"
    )
    assert stored == [(2,)] * 15


async def test_a_cart_that_two_processes_create_is_created_once(
    two: tuple[CarryOut, CarryOut],
) -> None:
    first, second = two
    cart_ids = [f"c{n}" for n in range(SKU_COUNT)]

    here, there = await asyncio.gather(
        first.together([create(cart_id) for cart_id in cart_ids]),
        second.together([create(cart_id) for cart_id in reversed(cart_ids)]),
    )

    refused = [isinstance(answer, CartAlreadyExists) for answer in [*here, *there]]
    assert sum(refused) == SKU_COUNT
    assert await first.fetch("SELECT count(*) FROM carts WHERE version = 1") == [(SKU_COUNT,)]
