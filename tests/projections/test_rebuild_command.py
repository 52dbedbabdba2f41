"""`shopkeeper rebuild`, as people run it, beside a projector that runs."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from projections.projector import Projector
from projections.sweeper import Sweeper
from read_models.connections import Connection
from read_models.partitions import PARTITIONS, key_of
from read_models.reading import read_checkpoints
from read_models.registry import load_registry
from read_models.views import STOCK
from tests.eventually import eventually
from tests.ops.command_line import DONE, REFUSED, UNREACHABLE, Ended, run
from tests.projections.shop_events import a_day
from tests.read_side import Log, all_values, serving, settle, stock_moved

Rebuild = Callable[..., "asyncio.Future[Ended]"]


@pytest.fixture
def rebuild(database_url: str, read_models_url: str, tmp_path: Path) -> Rebuild:
    """Runs the command beside the projector of the test."""
    servers = {"DATABASE_URL": database_url, "REDIS_URL": read_models_url}

    def in_thread(*arguments: str) -> "asyncio.Future[Ended]":
        ended = asyncio.to_thread(run, "rebuild", *arguments, cwd=tmp_path, **servers)
        return asyncio.ensure_future(ended)

    return in_thread


@asynccontextmanager
async def running(projector: Projector) -> AsyncIterator[None]:
    await projector.start()
    yield
    await projector.drain()


async def test_views_that_cannot_be_fed_any_more_are_replaced_and_the_new_ones_go_on(
    log: Log,
    connection: Connection,
    new_projector: Callable[..., Projector],
    rebuild: Rebuild,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("projections.comparing.LOOKS_MAX", 30)
    events = list(a_day(0))
    half = len(events) // 2
    log.record(*events[:half])
    projector = new_projector(batch_events_max=3)
    await settle(projector)
    first = await serving(connection)
    for name in await all_values(connection, first):
        await connection.call("DEL", f"g{first}:{name}")
    log.record(*events[half:])

    async with running(projector):
        refused = await rebuild()
        [second] = [
            each.number for each in (await load_registry(connection)).generations if each.number != first
        ]
        assert refused.returncode == UNREACHABLE
        assert f"rebuild --generation {second} --accept-differences" in refused.stderr
        # More than one batch, behind the one at which the old views stand still.
        log.record(*(stock_moved("LATE", number) for number in range(10)), stock_moved("LAST", 1))

        async def is_shown() -> bool:
            return any("LAST" in name for name in await all_values(connection, second))

        await eventually(is_shown)
        assert await serving(connection) == first
        ended = await rebuild("--generation", str(second), "--accept-differences")
        assert (ended.returncode, ended.stderr) == (DONE, "")
        assert await serving(connection) == second
        assert (await rebuild("--drop")).returncode == DONE
        await Sweeper(connection).sweep()
    assert [each.number for each in (await load_registry(connection)).generations] == [second]
    await settle(projector)


async def test_views_that_are_behind_do_not_serve_though_differences_are_accepted(
    log: Log,
    connection: Connection,
    projector: Projector,
    rebuild: Rebuild,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("projections.comparing.LOOKS_MAX", 30)
    log.record(stock_moved("MUG", 1))
    await settle(projector)
    first = await serving(connection)
    async with running(projector):
        assert (await rebuild()).returncode == DONE
        second = await serving(connection)
        ended = await rebuild("--generation", str(second))
        assert (ended.returncode, ended.stdout) == (DONE, f"generation {second} serves already\n")
        address = STOCK.address("MUG")
        await connection.call("SET", key_of(first, address.partition, address.name), b"\xff")
        position = log.record(stock_moved("MUG", 0))

        async def is_shown() -> bool:
            checkpoints = await read_checkpoints(connection, second, PARTITIONS)
            return all(each is not None and each.position == position for each in checkpoints)

        await eventually(is_shown)
        ended = await rebuild("--generation", str(first), "--accept-differences")
        assert ended.returncode == UNREACHABLE
        assert "Their log says why" in ended.stderr.replace("\n", " ")
        ended = await rebuild("--rollback")
        assert (ended.returncode, "is behind" in ended.stderr) == (REFUSED, True)
    assert await serving(connection) == second
