"""`race` against real processes: who wins, what the ledger says, and that nothing is left behind."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import psycopg
import pytest
import pytest_asyncio

from ops.embedded import EmbeddedPostgres, EmbeddedValkey
from ops.ports import free_port
from shopkeeper.catalog.v1.catalog_command_service_pb2 import UpsertSkusRequest
from tests.conftest import emptied, fresh_database
from tests.eventually import eventually
from tests.ops.command_line import DONE, REFUSED, UNREACHABLE, USAGE, Ended, run
from tests.system.client import DEADLINE_SECONDS, Client, new_id, sku
from tests.system.conftest import WholeShop, running_shop

pytestmark = pytest.mark.asyncio(loop_scope="module")

BUYERS = "24"


class Track(NamedTuple):
    """A shop of real processes, two of them for commands."""

    shop: WholeShop
    folder: Path

    async def race(self, *arguments: str, **moved: str) -> Ended:
        names = ("COMMAND_ADDRESS", "QUERY_ADDRESS", "HISTORY_ADDRESS")
        addresses = {name: self.shop.environment[name] for name in names} | moved
        return await asyncio.to_thread(run, "race", *arguments, cwd=self.folder, **addresses)

    def rows(self, sql: str, *parameters: object) -> list[tuple[object, ...]]:
        with psycopg.connect(self.shop.database_url, autocommit=True) as connection:
            cursor = connection.execute(sql.encode(), parameters)
            return cursor.fetchall() if cursor.description else []

    async def stock(self, sku_id: str, quantity: int) -> None:
        """Puts a SKU on sale, and waits until its price can be looked up."""
        async with Client(self.shop.command_address) as client:
            await client.open_shop([sku_id], quantity)

        await self.until_shown("PricingQueryService/GetPrices", sku_id)

    async def until_shown(self, query: str, sku_id: str) -> None:
        async def is_shown() -> bool:
            asked = ("call", query, f'{{"sku_id": "{sku_id}"}}')
            address = ("--address", self.shop.query_address)
            return (await asyncio.to_thread(run, *asked, *address, cwd=self.folder)).returncode == DONE

        await eventually(is_shown)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def track(
    postgres: EmbeddedPostgres,
    migrated_template: str,
    valkey: EmbeddedValkey,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Track]:
    with fresh_database(postgres, migrated_template) as url:
        async with running_shop(url, emptied(valkey), QUERY_REDIS_ANSWER_SECONDS_MAX="10") as shop:
            yield Track(shop, tmp_path_factory.mktemp("race"))


def last_line(ended: Ended) -> str:
    return ended.stdout.splitlines()[-1]


async def test_one_of_many_wins_the_last_unit_and_the_shop_is_left_as_it_was(track: Track) -> None:
    ended = await track.race("--buyers", BUYERS)
    assert ended.returncode == DONE, ended.stdout + ended.stderr
    told = re.fullmatch(
        r"race: sku=(race-\w+) buyers=24 units=1 winners=1 losers=23 oversold=0", last_line(ended)
    )
    assert told, ended.stdout
    assert "23 buyers: OUT_OF_STOCK" in ended.stdout
    assert "available 0 = on_hand 1 - reserved 1" in ended.stdout
    assert "24 sent within" in ended.stdout
    name = told[1]
    assert f"afterwards: SKU {name} taken out of use, with its stock, its location and its price" in (
        ended.stdout
    )
    assert "available: 1 before, 0 now that the SKU is out of use and its stock with it" in ended.stdout
    assert track.rows("SELECT on_hand, reserved FROM stock_levels WHERE sku_id = %s", name) == [(0, 0)]
    assert track.rows("SELECT active FROM skus WHERE sku_id = %s", name) == [(False,)]
    assert track.rows("SELECT active FROM locations WHERE location_id = %s", name) == [(False,)]
    assert track.rows("SELECT end_time < now() FROM price_lists WHERE price_list_id = %s", name) == [
        (True,)
    ]
    assert track.rows("SELECT count(*) FROM orders WHERE state <> 6") == [(0,)]
    assert track.rows("SELECT count(*) FROM cart_lines JOIN carts USING (cart_id) WHERE state = 1") == [
        (0,)
    ]


async def test_a_sku_of_the_shop_is_raced_for_with_the_stock_that_it_has(track: Track) -> None:
    await track.stock("mug", 3)
    ended = await track.race("--sku", "mug", "--buyers", BUYERS, "--connections", "3")
    assert ended.returncode == DONE, ended.stdout + ended.stderr
    assert last_line(ended) == "race: sku=mug buyers=24 units=3 winners=3 losers=21 oversold=0"
    assert "over 3 connections" in ended.stdout
    assert "afterwards: 3 won called off" in ended.stdout
    assert "afterwards: 21 carts of losers emptied" in ended.stdout
    assert "available: 3 before, 3 now\n" in ended.stdout
    assert track.rows("SELECT on_hand, reserved FROM stock_levels WHERE sku_id = 'mug'") == [(3, 0)]


async def test_with_more_units_than_buyers_everybody_wins(track: Track) -> None:
    ended = await track.race("--units", "7", "--buyers", "5")
    assert ended.returncode == DONE, ended.stdout + ended.stderr
    assert last_line(ended).endswith(" buyers=5 units=7 winners=5 losers=0 oversold=0")


async def test_what_was_won_is_kept_if_that_is_wished(track: Track) -> None:
    await track.stock("kept", 2)
    ended = await track.race("--sku", "kept", "--buyers", "6", "--keep")
    assert ended.returncode == DONE, ended.stdout + ended.stderr
    assert "kept: " in ended.stdout
    assert "afterwards" not in ended.stdout
    assert track.rows("SELECT reserved FROM stock_levels WHERE sku_id = 'kept'") == [(2,)]
    again = await track.race("--sku", "kept", "--buyers", "6")
    assert again.returncode == REFUSED
    assert again.stderr == "error: nothing of SKU kept is left to race for; see --units\n"


async def test_a_shelf_that_somebody_tampered_with_is_found_out(track: Track) -> None:
    await track.stock("forged", 1)
    track.rows("UPDATE stock_levels SET on_hand = on_hand + 1 WHERE sku_id = 'forged'")
    ended = await track.race("--sku", "forged", "--buyers", "8")
    assert ended.returncode == REFUSED
    assert last_line(ended) == "race: sku=forged buyers=8 units=1 winners=2 losers=6 oversold=1"
    assert "wrong: main: on_hand is 2, its ledger says 1" in ended.stdout
    assert "wrong: 1 units were promised that are not there" in ended.stdout
    assert "wrong: 1 should have won, and 2 did" in ended.stdout
    track.rows("UPDATE stock_levels SET on_hand = on_hand - 1 WHERE sku_id = 'forged'")


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        ("--sku nothing", REFUSED, "there is no SKU nothing\n"),
        ("--sku mug --units 3", USAGE, "--units is for a SKU made for the race"),
    ],
)
async def test_a_race_that_cannot_be_is_told_in_a_sentence(
    track: Track, arguments: str, status: int, told: str
) -> None:
    ended = await track.race(*arguments.split())
    assert (ended.returncode, ended.stdout) == (status, "")
    assert ended.stderr.startswith(f"error: {told}")


async def test_a_sku_that_nobody_can_buy_is_told_apart_from_one_that_there_is_not(track: Track) -> None:
    async with Client(track.shop.command_address) as client:
        await client.open_shop(["neighbour"], 0)
        added = UpsertSkusRequest(request_id=new_id(), skus=[sku("priceless")])
        await client.catalog.UpsertSkus(added, timeout=DEADLINE_SECONDS)
    await track.until_shown("CatalogQueryService/GetSku", "priceless")
    ended = await track.race("--sku", "priceless")
    assert ended.returncode == REFUSED
    assert ended.stderr == "error: SKU priceless has no price that is everybody's\n"


async def test_a_currency_in_which_the_sku_has_no_price_is_told(track: Track) -> None:
    await track.stock("priced", 1)
    ended = await track.race("--sku", "priced", "--currency", "EUR")
    assert ended.returncode == REFUSED
    assert ended.stderr == "error: SKU priced has no price in EUR that is everybody's\n"


@pytest.mark.parametrize("arguments", ["--buyers 0", "--units 0", "--connections 0", "--buyers many"])
async def test_wrong_numbers_are_wrong_usage(track: Track, arguments: str) -> None:
    assert (await track.race(*arguments.split())).returncode == USAGE


@pytest.mark.parametrize("service", ["COMMAND_ADDRESS", "QUERY_ADDRESS", "HISTORY_ADDRESS"])
async def test_a_service_that_is_away_is_named_before_anything_is_begun(
    track: Track, service: str
) -> None:
    before = track.rows("SELECT max(position) FROM events")
    nowhere = f"127.0.0.1:{free_port()}"
    ended = await track.race(**{service: nowhere})
    assert (ended.returncode, ended.stdout) == (UNREACHABLE, "")
    assert ended.stderr.startswith(f"error: {nowhere} cannot be reached: ")
    assert track.rows("SELECT max(position) FROM events") == before
