"""`race` where history reads a replica that is seconds behind: the shop is sound, and is found so."""

import asyncio
import io
from collections.abc import AsyncIterator
from pathlib import Path

import psycopg
import pytest
import pytest_asyncio
from rich.console import Console

from ops.embedded import EmbeddedPostgres, EmbeddedValkey
from ops.failures import ExitStatus, Problem
from ops.race import Entry, run_race
from ops.race.shop import Addresses
from tests.conftest import emptied, fresh_database
from tests.eventually import eventually
from tests.history_service.standby import Standby
from tests.system.conftest import WholeShop, running_shop

pytestmark = pytest.mark.asyncio(loop_scope="module")

LAG_SECONDS = 2.0
ENTRY = Entry(None, buyer_count=6, units=1, currency_code=None, connection_count=2, is_kept=False)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lagging_shop(
    postgres: EmbeddedPostgres, migrated_template: str, valkey: EmbeddedValkey, servers_dir: Path
) -> AsyncIterator[WholeShop]:
    with (
        fresh_database(postgres, migrated_template) as url,
        Standby(servers_dir / "lagging", postgres, lag_seconds=LAG_SECONDS) as standby,
    ):
        replica_url = standby.url(url.rpartition("/")[2])
        await eventually(lambda: answers(replica_url))
        settings = {"HISTORY_DATABASE_URL": replica_url, "QUERY_REDIS_ANSWER_SECONDS_MAX": "10"}
        async with running_shop(url, emptied(valkey), **settings) as shop:
            yield shop


async def answers(url: str) -> bool:
    try:
        psycopg.connect(url).close()
    except psycopg.OperationalError:
        return False
    return True


async def race(shop: WholeShop, told: io.StringIO) -> int:
    told_of = shop.environment
    addresses = Addresses(
        (told_of["COMMAND_ADDRESS"],), told_of["QUERY_ADDRESS"], told_of["HISTORY_ADDRESS"]
    )
    return await asyncio.to_thread(run_race, Console(file=told, width=200), addresses, ENTRY)


def left_on_sale(shop: WholeShop) -> list[tuple[object, ...]]:
    with psycopg.connect(shop.database_url) as connection:
        return connection.execute(
            "SELECT sku_id FROM skus WHERE active"
            " UNION ALL SELECT location_id FROM locations WHERE active"
            " UNION ALL SELECT price_list_id FROM price_lists WHERE end_time IS NULL"
        ).fetchall()


async def test_the_race_is_judged_once_history_knows_of_it(lagging_shop: WholeShop) -> None:
    told = io.StringIO()
    assert await race(lagging_shop, told) == ExitStatus.DONE, told.getvalue()
    assert told.getvalue().endswith(" buyers=6 units=1 winners=1 losers=5 oversold=0\n")
    assert "wrong" not in told.getvalue()


async def test_a_race_that_comes_to_nothing_leaves_nothing_on_sale(
    lagging_shop: WholeShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = left_on_sale(lagging_shop)
    monkeypatch.setattr("ops.race.shop.HISTORY_SECONDS_MAX", LAG_SECONDS / 20)
    with pytest.raises(Problem, match="does it read a replica that is behind"):
        await race(lagging_shop, io.StringIO())
    assert left_on_sale(lagging_shop) == before
