"""The workers that give back what is due and show what has come into force."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
import pytest_asyncio

from command_service.cart.commands import ExpireCart
from command_service.checkout.expire_order import ExpireOrder
from command_service.checkout.expiry import ExpiryWorker
from command_service.checkout.lookouts import ExpiryLookout
from command_service.checkout.price_windows import PriceWindowWorker
from command_service.committer import Committer, Lane, Limits
from command_service.errors import Internal
from command_service.inventory.domain import Demand
from command_service.inventory.reservation_commands import ReserveStock
from command_service.lone_worker import LoneWorker, Patience, WorkerLock, submit
from command_service.ordering.domain import OrderState
from command_service.pipeline import Row, Statement
from command_service.postgresql import PostgresqlUnitOfWork
from command_service.pricing.commands import PriceRow, UpsertPriceLists, UpsertPrices
from command_service.pricing.domain import PriceTier
from command_service.session import Session
from command_service.submission import Answer, Submission
from tests.command_service.checkout.orders_on_postgresql import (
    counters,
    fill_cart,
    open_stocked_shop,
    payment,
    place,
)
from tests.command_service.checkout.shop_in_memory import create
from tests.command_service.conftest import CarryOut
from tests.command_service.pricing.shop import price_list
from tests.eventually import eventually

MOMENT = timedelta(milliseconds=1)
SOON = timedelta(milliseconds=400)
SALE = price_list("sale", title="Sale", priority=10)


@pytest_asyncio.fixture
async def shop(carry_out: CarryOut) -> CarryOut:
    await open_stocked_shop(carry_out)
    return carry_out


@pytest_asyncio.fixture
async def committer(shop: CarryOut, database_url: str) -> AsyncIterator[Committer]:
    sessions = {name: Session(database_url, name) for name in ("short", "bulk")}
    committer = Committer(
        *(
            Lane(name, PostgresqlUnitOfWork(session, shop.storage), Limits())
            for name, session in sessions.items()
        )
    )
    await committer.start()
    yield committer
    await committer.drain()
    for session in sessions.values():
        await session.close()


@asynccontextmanager
async def working(worker: ExpiryWorker | PriceWindowWorker | LoneWorker[Session]) -> AsyncIterator[None]:
    await worker.start()
    try:
        yield
    finally:
        await worker.drain()


async def states(shop: CarryOut, table: str) -> list[int]:
    rows = await shop.fetch(f"SELECT state FROM {table} ORDER BY state")
    return [state for (state,) in rows]


async def test_everything_due_is_expired_within_a_second(
    shop: CarryOut, committer: Committer, database_url: str
) -> None:
    await place(shop, "c1", hold=SOON, sku1=3)
    await shop(ReserveStock("r1", "repair", (Demand("sku2", 2),), SOON))
    await shop(replace(create("c2"), cart_idle=SOON))
    async with working(ExpiryWorker(ExpiryLookout(database_url, "expiry"), committer)):
        assert await states(shop, "orders") == [1]

        async def is_all_expired() -> bool:
            carts = await states(shop, "carts WHERE cart_id = 'c2'") == [4]
            return (
                carts
                and await states(shop, "orders") == [7]
                and await states(shop, "reservations") == [4, 4]
            )

        await eventually(is_all_expired, seconds=SOON.total_seconds() + 1)
    assert await counters(shop, "sku1") == (100, 0, 0)
    assert await counters(shop, "sku2") == (100, 0, 0)
    actors = await shop.fetch(
        "SELECT actor FROM events WHERE type LIKE '%%OrderExpired' OR type LIKE '%%CartClosed'"
        " ORDER BY position DESC LIMIT 2"
    )
    assert actors == [("expiry worker",)] * 2


async def test_what_is_paid_or_not_yet_due_is_left_alone(
    shop: CarryOut, committer: Committer, database_url: str
) -> None:
    paid = await place(shop, "c1", hold=SOON, sku1=3)
    await shop(payment(paid, "pay-1"))
    await place(shop, "c2", sku1=3)
    await place(shop, "c3", hold=SOON, sku1=3)
    async with working(ExpiryWorker(ExpiryLookout(database_url, "expiry"), committer)):

        async def is_the_third_expired() -> bool:
            return 7 in await states(shop, "orders")

        await eventually(is_the_third_expired)
    assert await states(shop, "orders") == [1, 3, 7]
    assert await counters(shop, "sku1") == (100, 3, 3)


async def test_two_workers_expire_an_order_once(
    shop: CarryOut, committer: Committer, database_url: str
) -> None:
    for number in range(20):
        await place(shop, f"c{number}", hold=MOMENT, sku1=1)
    sessions = [ExpiryLookout(database_url, f"looker {number}") for number in range(2)]
    for session in sessions:
        await session.connect()
    # Both at once, as if there were no lock: whoever comes second is refused.
    await asyncio.gather(*(ExpiryWorker(session, committer).expire_due(session) for session in sessions))
    for session in sessions:
        await session.close()
    expired = await shop.fetch("SELECT count(*) FROM events WHERE type LIKE '%%OrderExpired'")
    assert expired == [(20,)]
    assert await counters(shop, "sku1") == (100, 0, 0)


async def test_no_buyer_can_use_the_request_id_of_the_expiry_first(
    shop: CarryOut, committer: Committer, database_url: str
) -> None:
    """Whoever may choose request ids would keep what nobody paid for from ever being given back."""
    order = await place(shop, "c1", hold=MOMENT, sku1=3)
    session = ExpiryLookout(database_url, "looker")
    await session.connect()
    seen = Broken()
    await ExpiryWorker(session, seen).expire_due(session)
    for submission in seen.asked:
        await submit(committer, ExpireCart("none"), request_id=submission.request_id, actor="a buyer")
    await ExpiryWorker(session, committer).expire_due(session)
    await session.close()
    assert [submission.command for submission in seen.asked] == [ExpireOrder(order.order_id)]
    assert await is_expired(shop)
    assert await counters(shop, "sku1") == (100, 0, 0)


class Broken(Committer):
    """Answers every command with an error of ours."""

    def __init__(self) -> None:
        self.asked: list[Submission] = []

    async def submit(self, submission: Submission) -> object:  # type: ignore[override]  # never answers
        self.asked.append(submission)
        raise Internal(error_id="e1")


async def three_rounds(database_url: str, broken: Broken) -> None:
    session = ExpiryLookout(database_url, "looker")
    worker = ExpiryWorker(session, broken)
    await session.connect()
    for _ in range(3):
        await worker.expire_due(session)
    await session.close()


async def test_a_command_that_hits_an_error_is_left_alone_for_a_while(
    shop: CarryOut, database_url: str
) -> None:
    order = await place(shop, "c1", hold=MOMENT, sku1=1)
    broken = Broken()
    await three_rounds(database_url, broken)
    assert [submission.command for submission in broken.asked] == [ExpireOrder(order.order_id)]


async def test_what_fails_does_not_keep_the_rest_from_expiring(
    shop: CarryOut, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("command_service.checkout.expiry.DUE_COUNT_MAX", 2)
    orders = [await place(shop, f"c{number}", hold=MOMENT, sku1=1) for number in range(5)]
    broken = Broken()
    await three_rounds(database_url, broken)
    asked = [submission.command for submission in broken.asked]
    assert sorted(asked, key=repr) == sorted((ExpireOrder(o.order_id) for o in orders), key=repr)


async def test_buyers_do_not_wait_for_carts_that_expire(shop: CarryOut, database_url: str) -> None:
    await place(shop, "c1", hold=MOMENT, sku1=1)
    await fill_cart(shop, "abandoned", sku1=1)
    await shop.fetch("UPDATE carts SET expire_time = now() WHERE cart_id = 'abandoned'")
    broken = Broken()
    session = ExpiryLookout(database_url, "looker")
    await session.connect()
    await ExpiryWorker(session, broken).expire_due(session)
    await session.close()
    urgent = {type(submission.command): submission.is_urgent for submission in broken.asked}
    assert urgent == {ExpireOrder: True, ExpireCart: False}


# --- one at a time --------------------------------------------------------------------------------


class Rounds:
    """A worker's work that only counts."""

    def __init__(self, database_url: str, name: str) -> None:
        self.count = 0
        self.session = Session(database_url, name)
        self.worker = LoneWorker(WorkerLock.EXPIRY, self.session, self.do_round, pause_seconds=0.01)

    async def do_round(self, session: Session) -> None:
        self.count += 1
        await session.run([Statement("SELECT 1")])

    async def has_worked(self) -> bool:
        return self.count > 0


async def test_only_one_worker_works_and_another_takes_over(database_url: str) -> None:
    first, second = Rounds(database_url, "first"), Rounds(database_url, "second")
    async with working(first.worker):
        await eventually(first.has_worked)
        async with working(second.worker):
            async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as other:
                await eventually(lambda: is_connected(other, "second"))
                assert second.count == 0
                await other.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE application_name = 'first'"
                )
            await eventually(second.has_worked)


async def is_connected(connection: psycopg.AsyncConnection[Row], application_name: str) -> bool:
    cursor = await connection.execute(
        "SELECT 1 FROM pg_stat_activity WHERE application_name = %s", (application_name,)
    )
    return await cursor.fetchone() is not None


async def test_a_round_that_fails_is_not_the_last_one(
    database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    rounds = Rounds(database_url, "failing")

    async def fail_once(session: Session) -> None:
        rounds.count += 1
        if rounds.count == 1:
            raise RuntimeError("a bug")

    rounds.worker = LoneWorker(WorkerLock.EXPIRY, rounds.session, fail_once, pause_seconds=0.01)

    async def has_gone_on() -> bool:
        return rounds.count > 2

    async with working(rounds.worker):
        await eventually(has_gone_on)


async def test_a_worker_waits_for_a_database_that_is_away(database_url: str) -> None:
    rounds = Rounds("postgresql://127.0.0.1:1/nowhere", "early")
    async with working(rounds.worker):
        await asyncio.sleep(0.05)
    assert rounds.count == 0


# --- price windows --------------------------------------------------------------------------------


async def test_a_price_list_that_comes_into_force_is_shown(
    shop: CarryOut, committer: Committer, database_url: str
) -> None:
    sale = replace(SALE, start_time=datetime.now(UTC) + timedelta(milliseconds=500))
    await shop(UpsertPriceLists((sale,)))
    await shop(UpsertPrices("sale", (PriceRow("sku1", (PriceTier(1, 50),)),)))
    before = await told_price_count(shop)
    async with working(PriceWindowWorker(database_url, committer)):

        async def is_told() -> bool:
            return await told_price_count(shop) > before

        await eventually(is_told)
    assert await told_price_count(shop) == before + 1


async def test_a_large_price_list_holds_up_no_other(
    shop: CarryOut, committer: Committer, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its SKUs are told over several rounds, and it is due until the last of them."""
    monkeypatch.setattr("command_service.checkout.price_windows.CHUNK_SIZE", 1)
    monkeypatch.setattr("command_service.checkout.price_windows.ROUND_SECONDS_MAX", 0.0)
    skus = ("sku1", "sku2", "sku3")
    for name in ("a", "b"):
        await shop(UpsertPriceLists((replace(SALE, price_list_id=name),)))
        rows = tuple(PriceRow(sku_id, (PriceTier(1, 50),)) for sku_id in skus)
        await shop(UpsertPrices(name, rows[: 3 if name == "a" else 1]))
    await shop.fetch("UPDATE price_lists SET shown_time = NULL WHERE price_list_id IN ('a', 'b')")
    session = Session(database_url, "looker")
    await session.connect()
    worker = PriceWindowWorker(database_url, committer)
    due = "SELECT price_list_id FROM price_lists WHERE shown_time IS NULL ORDER BY 1"
    still_due = []
    for _ in range(4):
        await worker.show_due(session)
        still_due.append([name for (name,) in await shop.fetch(due)])
    await session.close()
    # A chunk that is not full is the last one: behind one SKU stands one more look.
    assert still_due == [["a", "b"], ["a"], ["a"], []]


async def test_a_large_price_list_is_shown_to_its_end_while_prices_are_added(
    shop: CarryOut, committer: Committer, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each makes another version of it, which only the next pass over its SKUs can mark as shown."""
    monkeypatch.setattr("command_service.checkout.price_windows.CHUNK_SIZE", 1)
    monkeypatch.setattr("command_service.checkout.price_windows.ROUND_SECONDS_MAX", 0.0)
    added = [PriceRow(f"sku{number}", (PriceTier(1, 50),)) for number in range(8)]
    await shop(UpsertPriceLists((SALE,)))
    await shop(UpsertPrices("sale", tuple(added[5:])))
    await shop.fetch("UPDATE price_lists SET shown_time = NULL WHERE price_list_id = 'sale'")
    of_list = "sku_id IN ('sku5', 'sku6', 'sku7')"
    await shop.fetch(f"UPDATE sku_price_roots SET shown_digest = '' WHERE {of_list}")
    session = Session(database_url, "looker")
    await session.connect()
    worker = PriceWindowWorker(database_url, committer)
    hidden = f"SELECT sku_id FROM sku_price_roots WHERE shown_digest = '' AND {of_list}"
    due = "SELECT price_list_id FROM price_lists WHERE shown_time IS NULL"
    for row in added[:4]:
        await worker.show_due(session)
        await shop(UpsertPrices("sale", (row,)))
    assert await shop.fetch(hidden) == []
    assert await shop.fetch(due) == [("sale",)], "what was added behind its back was not looked at"
    for _ in range(len(added)):
        await worker.show_due(session)
    await session.close()
    assert await shop.fetch(due) == []


async def told_price_count(shop: CarryOut) -> int:
    [(told,)] = await shop.fetch("SELECT count(*) FROM events WHERE type LIKE '%%SkuPricesChanged'")
    return int(told)


class ClockGoneBack(Committer):
    """Finds nothing due, the first time; the refusal is stored under that request's id."""

    def __init__(self, committer: Committer) -> None:
        self._committer = committer
        self.asked: list[Submission] = []

    async def submit(self, submission: Submission) -> Answer:
        self.asked.append(submission)
        if len(self.asked) == 1:
            return await self._committer.submit(replace(submission, command=ExpireOrder("none")))
        return await self._committer.submit(submission)


async def test_what_a_clock_gone_back_refused_to_expire_is_expired_later(
    shop: CarryOut, committer: Committer, database_url: str
) -> None:
    """A refusal is kept for a week: whoever asked again under its id would hear it again."""
    await place(shop, "c1", hold=SOON, sku1=3)
    refusing = ClockGoneBack(committer)
    patience = Patience(rest_seconds=0.1)
    async with working(ExpiryWorker(ExpiryLookout(database_url, "expiry"), refusing, patience)):
        await eventually(lambda: is_expired(shop))
    assert len(refusing.asked) == 2
    assert await counters(shop, "sku1") == (100, 0, 0)


async def is_expired(shop: CarryOut) -> bool:
    return await states(shop, "orders") == [OrderState.EXPIRED]
