"""Key rows: made so that an absent key can be locked, and taken back if nothing was created."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

import psycopg
import pytest

from command_service.errors import ReservationNotFound
from command_service.inventory.commands import UpsertLocations
from command_service.inventory.domain import LOCATION, STOCK, Location
from command_service.session import Session
from command_service.world import Command, Decision, Kind, LockRank, Touch, World
from tests.command_service.conftest import CarryOut
from tests.eventually import eventually

KEYS_BY_RANK: dict[LockRank, str | tuple[str, str]] = {
    **dict.fromkeys(LockRank, "absent"),
    LockRank.MONEY_RECORD: ("payment", "absent"),
    LockRank.COUPON_CUSTOMER: ("ABSENT", "absent"),
    LockRank.COUPON: "ABSENT",
}

TABLES = """
SELECT table_name::text FROM information_schema.tables
WHERE table_schema = 'public' AND table_type = 'BASE TABLE'
"""

WAITING = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND application_name = %s AND wait_event_type = 'Lock'
"""

MAIN = Location("main", "Main", 0, True)
ANNEX = Location("annex", "Annex", 1, True)


@dataclass(frozen=True, slots=True)
class CreateInVain(Command[None]):
    """Asks for a key of each kind as one who may create it, and is refused."""

    def touches(self) -> Iterable[Touch]:
        for rank, key in KEYS_BY_RANK.items():
            kind: Kind[str | tuple[str, str], object] = Kind(rank.name, rank)
            yield kind.create(key)

    def decide(self, world: World, now: datetime) -> Decision[None]:
        raise ReservationNotFound(reservation_id="absent")


@dataclass(frozen=True, slots=True)
class RefuseLocation(Command[None]):
    """Would create a location, looks at a SKU as well, and is refused."""

    location_id: str

    def touches(self) -> Iterable[Touch]:
        return [LOCATION.create(self.location_id), STOCK.change("sku")]

    def decide(self, world: World, now: datetime) -> Decision[None]:
        raise ReservationNotFound(reservation_id=self.location_id)


async def filled_tables(carry_out: CarryOut) -> dict[str, int]:
    counts = {}
    for (table,) in await carry_out.fetch(TABLES):
        [(counts[table],)] = await carry_out.fetch(f"SELECT count(*) FROM {table}")
    return {table: count for table, count in counts.items() if count}


async def test_a_refused_creation_leaves_no_row_of_any_kind(carry_out: CarryOut) -> None:
    before = await filled_tables(carry_out)
    with pytest.raises(ReservationNotFound):
        await carry_out(CreateInVain())
    assert await filled_tables(carry_out) == {**before, "requests": 1}


async def test_what_was_created_stays_beside_what_was_refused(carry_out: CarryOut) -> None:
    await carry_out.together([RefuseLocation("annex"), UpsertLocations((MAIN,)), RefuseLocation("main")])
    assert await carry_out.fetch("SELECT location_id, version FROM locations") == [("main", 1)]
    with pytest.raises(ReservationNotFound):
        await carry_out(RefuseLocation("main"))
    assert await carry_out.fetch("SELECT location_id, version FROM locations") == [("main", 1)]


@pytest.mark.parametrize("older_rows", [[], [("annex",)]], ids=["a row of its own", "an older row"])
async def test_whoever_waits_for_a_key_that_is_refused_to_another_creates_it(
    carry_out: CarryOut, database_url: str, older_rows: list[tuple[str]]
) -> None:
    """The first batch holds the key and waits for a SKU; the second waits for the key."""
    await carry_out.fetch("INSERT INTO stock_items VALUES ('sku')")
    for row in older_rows:
        await carry_out.fetch("INSERT INTO locations (location_id) VALUES (%s)", *row)
    other = Session(database_url, "second")
    await other.connect()

    async def is_waiting(name: str) -> bool:
        [(count,)] = await carry_out.fetch(WAITING, name)
        return bool(count)

    async with await psycopg.AsyncConnection.connect(database_url) as holder:
        await holder.execute("SELECT FROM stock_items FOR UPDATE")
        first = asyncio.create_task(carry_out.together([RefuseLocation("annex")]))
        await eventually(lambda: is_waiting("tests"), seconds=30)
        second = asyncio.create_task(CarryOut(database_url, other)(UpsertLocations((ANNEX,))))
        await eventually(lambda: is_waiting("second"), seconds=30)
    await asyncio.gather(first, second)
    rows = await carry_out.fetch("SELECT location_id, version, title FROM locations")
    assert rows == [("annex", 1, "Annex")]
    await other.close()
