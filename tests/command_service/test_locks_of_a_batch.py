"""What a batch does before, while and after it waits for a lock that somebody else holds."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

import psycopg
import pytest

from command_service.inventory.domain import LOCATION, STOCK
from command_service.session import Timeouts
from command_service.world import Command, Decision, Kind, Touch, World
from tests.command_service.checkout.shop_in_memory import create
from tests.command_service.conftest import CarryOut
from tests.eventually import eventually

Holder = psycopg.AsyncConnection[tuple[object, ...]]

WAITING = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND application_name = 'tests' AND wait_event_type = 'Lock'
"""


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch waits for as long as the test needs to look at it."""
    monkeypatch.setattr("command_service.session.TIMEOUTS", Timeouts(100, 100, 100, 100))


@asynccontextmanager
async def holder(carry_out: CarryOut) -> AsyncIterator[Holder]:
    """A transaction of somebody else's, rolled back at the end."""
    async with await psycopg.AsyncConnection.connect(carry_out.database_url) as connection:
        yield connection
        await connection.rollback()


async def until_it_waits(carry_out: CarryOut) -> None:
    async def waits() -> bool:
        return await carry_out.fetch(WAITING) == [(1,)]

    await eventually(waits, seconds=60)


@dataclass(frozen=True, slots=True)
class TellTheTime(Command[datetime]):
    """Locks a row and answers with the time of its decision."""

    kind: Kind[str, object]
    key: str

    def touches(self) -> Iterable[Touch]:
        return [self.kind.change(self.key)]

    def decide(self, world: World, now: datetime) -> Decision[datetime]:
        return Decision(now)


@pytest.mark.parametrize(
    ("kind", "table", "column"),
    [(LOCATION, "locations", "location_id"), (STOCK, "stock_items", "sku_id")],
)
async def test_the_time_is_read_after_the_last_lock_is_had(
    carry_out: CarryOut, kind: Kind[str, object], table: str, column: str
) -> None:
    """A hold that ended while its batch waited has ended, whenever the batch began."""
    await carry_out.fetch(f"INSERT INTO {table} ({column}) VALUES ('k')")
    async with holder(carry_out) as other:
        await other.execute(f"SELECT FROM {table} FOR UPDATE".encode())
        waiting = asyncio.create_task(carry_out(TellTheTime(kind, "k")))
        await until_it_waits(carry_out)
        cursor = await other.execute("SELECT clock_timestamp()")
        row = await cursor.fetchone()
    assert row is not None
    released = row[0]
    assert isinstance(released, datetime)
    assert await waiting >= released


async def test_the_rows_of_absent_keys_are_made_in_rising_order(carry_out: CarryOut) -> None:
    """Two processes that create the same keys from both ends would deadlock otherwise."""
    async with holder(carry_out) as other:
        await other.execute("INSERT INTO carts (cart_id) VALUES ('c2')")
        batch = asyncio.create_task(
            carry_out.together([create(cart_id) for cart_id in ("c3", "c2", "c1")])
        )
        await until_it_waits(carry_out)
        made = {cart_id for cart_id in ("c1", "c3") if await is_being_made(carry_out, cart_id)}
        await other.rollback()
        assert [cart.cart_id for cart in await batch] == ["c3", "c2", "c1"]
    assert made == {"c1"}


async def is_being_made(carry_out: CarryOut, cart_id: str) -> bool:
    """Whether some transaction has made the row, which nobody else can see before it commits."""
    async with holder(carry_out) as third:
        await third.execute("SET lock_timeout = '100ms'")
        try:
            await third.execute("INSERT INTO carts (cart_id) VALUES (%s)", (cart_id,))
        except psycopg.errors.LockNotAvailable:
            return True
    return False
