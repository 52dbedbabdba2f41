"""The one lock that makes position order commit order: who takes it, and who need not wait for it."""

import asyncio

import psycopg
import pytest

from command_service.errors import CartNotFound
from command_service.inventory.commands import UpsertLocations
from command_service.inventory.domain import Location
from command_service.session import Session
from event_log.appending import LOCK_LOG
from tests.command_service.checkout.shop_in_memory import add
from tests.command_service.conftest import CarryOut
from tests.eventually import eventually


async def waits_for_the_log(process: CarryOut) -> bool:
    [(count,)] = await process.fetch(
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        " AND (classid, objid) = (1, 1)"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    return bool(count)


async def test_who_has_facts_to_tell_waits_for_the_log_and_who_has_none_does_not(
    carry_out: CarryOut, database_url: str
) -> None:
    other = Session(database_url, "the other")
    await other.connect()
    async with await psycopg.AsyncConnection.connect(database_url) as holder:
        await holder.execute(LOCK_LOG.encode())
        waiting = asyncio.create_task(carry_out(UpsertLocations((Location("main", "", 0, True),))))
        await eventually(lambda: waits_for_the_log(carry_out))
        with pytest.raises(CartNotFound):
            await CarryOut(database_url, other)(add("sku1"))
        assert not waiting.done()
        assert await carry_out.fetch("SELECT count(*) FROM events") == [(0,)]
    await waiting
    await other.close()
    assert await carry_out.fetch("SELECT position FROM events") == [(1,)]


@pytest.mark.breaks_invariants("inv_log_answers")
async def test_positions_are_drawn_only_when_the_log_is_ours(carry_out: CarryOut) -> None:
    """What another process wrote while we waited comes before what we have to tell."""
    async with await psycopg.AsyncConnection.connect(carry_out.database_url) as holder:
        await holder.execute(LOCK_LOG.encode())
        waiting = asyncio.create_task(carry_out(UpsertLocations((Location("main", "", 0, True),))))
        await eventually(lambda: waits_for_the_log(carry_out), seconds=30)
        await holder.execute(
            "INSERT INTO events VALUES (1, now(), 'inventory', 't', 'k', '', 'other', gen_random_uuid())"
        )
    await waiting
    told = await carry_out.fetch("SELECT position, actor FROM events ORDER BY position")
    assert told == [(1, "other"), (2, "tester")]
