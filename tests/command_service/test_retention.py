"""Answers and closed carts are kept as long as promised, and no longer."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from uuid import uuid4

import psycopg
import pytest

from command_service.cart.commands import ExpireCart, ForgetCart
from command_service.committer import Committer, Lane, Limits
from command_service.errors import CartAlreadyExists, CartNotForgettable, CartNotFound, CartNotOpen
from command_service.lone_worker import submit
from command_service.postgresql import PostgresqlUnitOfWork
from command_service.retention import Kept, RetentionWorker
from command_service.session import Session
from command_service.storage import storage
from command_service.submission import SUCCESS, Answer
from tests.command_service.checkout.shop_in_memory import add, create, merge
from tests.command_service.checkout.shop_on_postgresql import open_shop
from tests.command_service.conftest import CarryOut
from tests.eventually import eventually

STORE = """
INSERT INTO requests (request_id, method, fingerprint, code, response, position, create_time)
VALUES (gen_random_uuid(), %s, '', 0, '', 0, clock_timestamp() - %s::interval)
"""

KEPT = Kept(requests=timedelta(days=7), carts=timedelta(days=30))

WAITING = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND wait_event_type = 'Lock'
"""


@asynccontextmanager
async def committing(database_url: str) -> AsyncIterator[Committer]:
    """A committer at work."""
    sessions = [Session(database_url, f"tests {number}") for number in range(2)]
    lanes = [Lane("tests", PostgresqlUnitOfWork(each, storage()), Limits(10, 100)) for each in sessions]
    committer = Committer(*lanes)
    await committer.start()
    yield committer
    await committer.drain()
    for session in sessions:
        await session.close()


async def forget_old(carry_out: CarryOut, kept: Kept = KEPT) -> None:
    """One round of the worker."""
    async with committing(carry_out.database_url) as committer:
        worker = RetentionWorker(carry_out.database_url, committer, kept)
        await worker.forget_old(carry_out.session)


async def close(carry_out: CarryOut, cart_id: str, ago: str, state: int = 4) -> None:
    """Has the cart closed, as if some time ago."""
    await carry_out.fetch(
        "UPDATE carts SET state = %s, update_time = clock_timestamp() - %s::interval WHERE cart_id = %s",
        *(state, ago, cart_id),
    )


@pytest.fixture
async def shop(carry_out: CarryOut) -> CarryOut:
    """Two carts with a line each."""
    await open_shop(carry_out)
    for cart_id in ("c1", "c2"):
        await carry_out(create(cart_id))
        await carry_out(add("sku5", 2, cart_id=cart_id))
    return carry_out


async def test_answers_older_than_a_week_are_forgotten_and_younger_ones_kept(
    carry_out: CarryOut,
) -> None:
    await carry_out.fetch(STORE, "old", "7 days 1 second")
    await carry_out.fetch(STORE, "young", "6 days 23 hours")
    await forget_old(carry_out)
    assert await carry_out.fetch("SELECT method FROM requests") == [("young",)]


async def test_how_long_answers_are_kept_is_a_setting_that_the_invariants_know(
    carry_out: CarryOut,
) -> None:
    await carry_out.fetch(STORE, "old", "61 seconds")
    await carry_out.fetch(STORE, "young", "40 seconds")
    await forget_old(carry_out, Kept(requests=timedelta(minutes=1), carts=timedelta(minutes=2)))
    assert await carry_out.fetch("SELECT method FROM requests") == [("young",)]
    [kept] = await carry_out.fetch(
        "SELECT requests_kept, carts_kept, now() - requests_forgotten_before FROM retention"
    )
    assert kept[:2] == (timedelta(minutes=1), timedelta(minutes=2))
    assert timedelta(seconds=61) <= kept[2] < timedelta(seconds=121)


async def test_milliseconds_of_it_count(carry_out: CarryOut) -> None:
    await carry_out.fetch(STORE, "old", "1 second")
    await forget_old(carry_out, Kept(requests=timedelta(milliseconds=999), carts=timedelta(days=1)))
    assert await carry_out.fetch("SELECT method FROM requests") == []
    [(kept,)] = await carry_out.fetch("SELECT requests_kept FROM retention")
    assert kept == timedelta(milliseconds=999)


async def test_a_worker_at_work_forgets_by_itself(carry_out: CarryOut) -> None:
    await carry_out.fetch(STORE, "old", "8 days")
    async with committing(carry_out.database_url) as committer:
        worker = RetentionWorker(carry_out.database_url, committer, KEPT)
        await worker.start()

        async def is_forgotten() -> bool:
            return await carry_out.fetch("SELECT method FROM requests") == []

        await eventually(is_forgotten)
        await worker.drain()


@pytest.mark.breaks_invariants("inv_cart_history")
async def test_a_cart_that_expired_long_ago_is_forgotten_and_its_id_is_free(shop: CarryOut) -> None:
    await close(shop, "c1", "30 days 1 second")
    await close(shop, "c2", "29 days 23 hours")
    await forget_old(shop)
    assert await shop.fetch("SELECT cart_id FROM carts") == [("c2",)]
    assert await shop.fetch("SELECT cart_id FROM cart_lines") == [("c2",)]
    assert await shop.fetch("SELECT key, actor FROM events WHERE type LIKE '%%.CartForgotten'") == [
        ("c1", "retention worker")
    ]
    assert (await shop(create("c1"))).version == 1


async def test_a_batch_that_forgets_a_cart_may_make_another_of_its_id(shop: CarryOut) -> None:
    await shop(merge("c1", "c2"))
    _, made, filled = await shop.together(
        [ForgetCart("c1", timedelta()), create("c1"), add("sku6", cart_id="c1")]
    )
    assert (made.version, filled.version) == (1, 2)
    assert await shop.fetch("SELECT version, state FROM carts WHERE cart_id = 'c1'") == [(2, 1)]
    assert await shop.fetch("SELECT sku_id FROM cart_lines WHERE cart_id = 'c1'") == [("sku6",)]


@pytest.mark.breaks_invariants("inv_cart_history", "inv_cart_orders")
async def test_a_batch_that_forgets_an_ordered_cart_makes_no_other_of_its_id(shop: CarryOut) -> None:
    await close(shop, "c1", "31 days", state=2)
    _, refused = await shop.together([ForgetCart("c1", timedelta()), create("c1")])
    assert isinstance(refused, CartAlreadyExists)


@pytest.mark.breaks_invariants("inv_cart_history", "inv_cart_orders")
async def test_of_a_cart_that_was_ordered_the_id_stays_since_its_order_bears_it(shop: CarryOut) -> None:
    await close(shop, "c1", "31 days", state=2)
    await forget_old(shop)
    assert await shop.fetch(
        "SELECT state, subtotal_minor, is_forgotten FROM carts WHERE cart_id = 'c1'"
    ) == [(2, 0, True)]
    assert await shop.fetch("SELECT cart_id FROM cart_lines") == [("c2",)]
    with pytest.raises(CartAlreadyExists):
        await shop(create("c1"))
    with pytest.raises(CartNotOpen):
        await shop(add("sku5", cart_id="c1"))
    with pytest.raises(CartNotFound):
        await shop(ForgetCart("c1", timedelta()))


@pytest.mark.breaks_invariants("inv_cart_history", "inv_cart_orders")
async def test_a_cart_is_forgotten_once(shop: CarryOut) -> None:
    await close(shop, "c1", "31 days", state=2)
    for _ in range(2):
        await forget_old(shop)
    [(count,)] = await shop.fetch("SELECT count(*) FROM events WHERE type LIKE '%%.CartForgotten'")
    assert count == 1


async def test_a_cart_that_is_open_or_was_closed_lately_is_kept(shop: CarryOut) -> None:
    with pytest.raises(CartNotForgettable):
        await shop(ForgetCart("c1", timedelta()))
    await shop.fetch("UPDATE carts SET expire_time = now() WHERE cart_id = 'c1'")
    await shop(ExpireCart("c1"))
    with pytest.raises(CartNotForgettable):
        await shop(ForgetCart("c1", timedelta(minutes=1)))
    await shop(ForgetCart("c1", timedelta()))
    with pytest.raises(CartNotFound):
        await shop(ForgetCart("c1", timedelta()))


@pytest.mark.breaks_invariants("inv_cart_history")
async def test_a_cart_made_while_the_one_before_is_deleted_is_not_lost(shop: CarryOut) -> None:
    await close(shop, "c1", "31 days", state=4)
    async with committing(shop.database_url) as committer:
        async with await psycopg.AsyncConnection.connect(shop.database_url) as deleting:
            await deleting.execute("SELECT FROM carts WHERE cart_id = 'c1' FOR NO KEY UPDATE")
            making = asyncio.create_task(
                submit(committer, create("c1"), request_id=uuid4(), actor="tester")
            )

            async def waits() -> bool:
                return await shop.fetch(WAITING) == [(1,)]

            await eventually(waits)
            await deleting.execute("DELETE FROM cart_lines WHERE cart_id = 'c1'")
            await deleting.execute("DELETE FROM carts WHERE cart_id = 'c1'")
        answer = await making
    assert isinstance(answer, Answer)
    assert answer.code == SUCCESS
    assert await shop.fetch("SELECT version, state FROM carts WHERE cart_id = 'c1'") == [(1, 1)]
