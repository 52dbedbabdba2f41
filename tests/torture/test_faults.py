"""A fault that is counted has hit somebody, and afterwards all is as it was."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager, suppress
from io import StringIO
from pathlib import Path

import psycopg
import pytest

from ops.account import temporary_data_dir
from ops.embedded import EmbeddedPostgres, EmbeddedValkey
from tests.sandboxes.stripe.server import StripeSandbox
from tests.torture.disk import Disk, LimitedDisk, small_disk
from tests.torture.faults import (
    BlackHole,
    Cut,
    FillDisk,
    LoseAnswer,
    LoseCommit,
    Refuse,
    Slow,
    _OfLink,
)
from tests.torture.history import History, Operation
from tests.torture.links import Link
from tests.torture.shop import Shop, WholeShop, postgres_on
from tests.torture.test_disk import limited_disk

MakeDisk = Callable[[Path], AbstractContextManager[Disk]]
DISKS = [small_disk, limited_disk]
PAGES_MAX = 1000
NOBODY_ASKED = History(StringIO())


@asynccontextmanager
async def database_on(make: MakeDisk) -> AsyncIterator[WholeShop]:
    """A shop of which only the database is there."""
    with (
        temporary_data_dir() as folder,
        make(folder / "disk") as disk,
        postgres_on(disk, log_path=folder / "postgres.log") as postgres,
    ):
        shop = Shop(postgres, EmbeddedValkey(folder / "valkey"), postgres.url(), folder, "", {})
        write(shop, "CREATE TABLE words (word text)")
        yield WholeShop(shop, disk, StripeSandbox())


def write(shop: Shop, sql: str) -> None:
    with psycopg.connect(shop.database_url, autocommit=True, connect_timeout=5) as connection:
        connection.execute(sql.encode())


def write_a_page(shop: Shop) -> None:
    # Short of what is kept apart, and compressed.
    write(shop, "INSERT INTO words SELECT string_agg(md5(n::text), '') FROM generate_series(1, 50) n")


@pytest.mark.parametrize("make", DISKS)
async def test_a_server_that_needs_a_new_page_of_its_log_meets_a_full_disk(make: MakeDisk) -> None:
    async with database_on(make) as whole:
        fault = FillDisk("of log")
        await fault.begin(whole)
        await fault.heal(whole)
        assert fault.has_bitten(whole, NOBODY_ASKED)
        write_a_page(whole.shop)


async def test_a_table_that_grows_meets_a_full_disk_and_one_that_does_not_is_no_fault() -> None:
    async with database_on(small_disk) as whole:
        fault = FillDisk("of tables")
        await fault.begin(whole)
        await fault.heal(whole)
        is_mounted = whole.disk.path.is_mount()
        # Where only the size of files is limited, the log meets that whoever writes.
        assert not fault.has_bitten(whole, NOBODY_ASKED) or not is_mounted
        await fault.begin(whole)
        with suppress(psycopg.Error):
            for _ in range(PAGES_MAX):
                write_a_page(whole.shop)
        await fault.heal(whole)
        assert fault.has_bitten(whole, NOBODY_ASKED)
        write_a_page(whole.shop)


def asked_by_client(request_id: str) -> History:
    history = History(StringIO())
    history.begin(Operation(0, "buyer 0", "a door", "PlaceOrder", request_id=request_id))
    return history


async def test_a_commit_that_is_lost_counts_if_it_was_of_a_clients_request() -> None:
    async with database_on(limited_disk) as whole:
        link = whole.shop.links["command_service#0 postgres"] = Link("command_service#0 postgres")
        history = asked_by_client("0199a6d2-11f7-7bd5-8d0c-5ff6e3b1f0aa")
        fault = LoseCommit(link.name)
        await fault.begin(whole)
        assert not fault.has_bitten(whole, history)
        link.lost.append(b"of a heartbeat: 51b2b22e-7b6c-4e38-b2a8-f1a8a54cbb60")
        assert not fault.has_bitten(whole, history)
        link.lost.append(b"{0199a6d2-11f7-7bd5-8d0c-5ff6e3b1f0aa,another}")
        await fault.heal(whole)
        assert fault.has_bitten(whole, history)


LINK_FAULTS: list[type[_OfLink]] = [Cut, Refuse, BlackHole, Slow, LoseAnswer]


@pytest.mark.parametrize("kind", LINK_FAULTS)
async def test_a_link_on_which_nobody_talks_is_no_fault(kind: type[_OfLink], tmp_path: Path) -> None:
    link = Link("clients query_service#0")
    postgres, valkey = EmbeddedPostgres(tmp_path / "postgres"), EmbeddedValkey(tmp_path / "valkey")
    shop = Shop(postgres, valkey, "", tmp_path, "", {}, links={link.name: link})
    whole = WholeShop(shop, LimitedDisk(tmp_path), StripeSandbox())
    fault = kind(kind.targets(shop)[0])
    await fault.begin(whole)
    await fault.heal(whole)
    assert not fault.has_bitten(whole, NOBODY_ASKED)
    await fault.begin(whole)
    link.hit_count += 1
    await fault.heal(whole)
    assert fault.has_bitten(whole, NOBODY_ASKED)
