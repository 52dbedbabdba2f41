"""Rebuilding while the shop goes on."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import closing

import pytest
import redis
from structlog.testing import capture_logs

from ops.embedded import EmbeddedValkey
from projections.comparing import NotLevel
from projections.feeding import CannotBeFed, Feeder, Found
from projections.projector import Projector
from projections.rebuild import Rebuild, RebuildRefused
from projections.sweeper import Sweeper
from read_models.connections import Connection
from read_models.partitions import PARTITIONS, key_of
from read_models.reading import read_checkpoints
from read_models.registry import GenerationState, load_registry
from read_models.views import STOCK
from tests.eventually import eventually
from tests.projections.shop_events import a_day
from tests.read_side import Log, all_values, serving, settle, stock_moved


def record_days(log: Log, count: int) -> int:
    return log.record(*(event for number in range(count) for event in a_day(number)))


async def two_generations(
    log: Log, connection: Connection, projector: Projector, rebuild: Rebuild, *, days: int
) -> tuple[int, int]:
    """The one that serves, of so many days, and another that is complete."""
    record_days(log, days)
    await settle(projector)
    first = await serving(connection)
    second = await rebuild.begin()
    await settle(projector)
    return first, second


async def test_a_new_generation_is_equal_serves_and_both_stay_level(
    log: Log, connection: Connection, projector: Projector, rebuild: Rebuild
) -> None:
    record_days(log, 40)
    await settle(projector)
    first = await serving(connection)
    second = await rebuild.begin()
    assert not (await rebuild.progress(second)).is_complete
    await settle(projector)
    last = record_days(log, 3)
    await settle(projector)
    progress = await rebuild.progress(second)
    assert (progress.position, progress.last_position, progress.is_complete) == (last, last, True)
    assert await serving(connection) == first
    comparison = await rebuild.replace(second)
    assert comparison.different_count == 0
    assert comparison.compared_count == len(await all_values(connection, second)) > 40
    assert await serving(connection) == second
    log.record(stock_moved("LATE", 1))
    await settle(projector)
    assert await all_values(connection, first) == await all_values(connection, second)
    assert await read_checkpoints(connection, first, PARTITIONS) == await read_checkpoints(
        connection, second, PARTITIONS
    )


async def test_a_rebuild_heals_views_that_cannot_be_fed_any_more(
    log: Log, connection: Connection, projector: Projector, rebuild: Rebuild
) -> None:
    events = list(a_day(0))
    half = len(events) // 2
    log.record(*events[:half])
    await settle(projector)
    first = await serving(connection)
    for name in await all_values(connection, first):
        await connection.call("DEL", f"g{first}:{name}")
    last = log.record(*events[half:])
    with pytest.raises(CannotBeFed):
        await projector.round()
    second = await rebuild.begin()
    with pytest.raises(CannotBeFed):
        await projector.round()
    progress = await rebuild.progress(second)
    assert (progress.position, progress.is_complete) == (last, True)
    await rebuild.switch(second)
    await rebuild.drop(first)
    await Sweeper(connection).sweep()
    await settle(projector)
    assert await serving(connection) == second
    log.record(stock_moved("LATE", 1))
    await settle(projector)
    assert any("LATE" in name for name in await all_values(connection, second))


async def test_a_rebuild_that_filled_redis_can_be_dropped_and_the_views_go_on(
    log: Log,
    read_models_server: EmbeddedValkey,
    connection: Connection,
    new_projector: Callable[..., Projector],
    rebuild: Rebuild,
) -> None:
    record_days(log, 3)
    projector = new_projector(batch_events_max=20)
    await settle(projector)
    first = await serving(connection)
    second = await rebuild.begin()
    await projector.round()
    log.record(stock_moved("LATE", 1))
    with closing(redis.Redis.from_url(read_models_server.url)) as client:
        client.config_set("maxmemory", 1)
        with pytest.raises(redis.exceptions.OutOfMemoryError):
            await projector.round()
        await rebuild.drop(second)
        await Sweeper(connection).sweep()
        assert (await load_registry(connection)).find(second) is None
        assert await all_values(connection, second) == {}
        client.config_set("maxmemory", 0)
    await settle(projector)
    assert any("LATE" in name for name in await all_values(connection, first))


async def test_differences_block_the_switch_unless_they_are_accepted(
    log: Log, connection: Connection, projector: Projector, rebuild: Rebuild
) -> None:
    first, second = await two_generations(log, connection, projector, rebuild, days=10)
    address = STOCK.address("SKU-3")
    await connection.call("SET", key_of(first, address.partition, address.name), b"spoilt")
    added = STOCK.address("NEW")
    await connection.call("SET", key_of(second, added.partition, added.name), b"surplus")
    index = next(name for name in await all_values(connection, first) if "by-state" in name)
    await connection.call("ZADD", f"g{second}:{index}", 0, b"surplus")
    with pytest.raises(RebuildRefused, match="3 of"):
        await rebuild.replace(second)
    assert await serving(connection) == first
    comparison = await rebuild.compare(second)
    assert {name.partition(":")[2] for name in comparison.different_names} == {
        "stock:SKU-3",
        "stock:NEW",
        index.partition(":")[2],
    }
    await rebuild.replace(second, accept_differences=True)
    assert await serving(connection) == second


async def test_rolling_back_serves_the_old_generation_with_all_that_came_since(
    log: Log, connection: Connection, projector: Projector, rebuild: Rebuild
) -> None:
    first, second = await two_generations(log, connection, projector, rebuild, days=3)
    await rebuild.replace(second)
    last = log.record(stock_moved("LATE", 1))
    await settle(projector)
    await rebuild.switch(first)
    assert await serving(connection) == first
    found = await read_checkpoints(connection, first, PARTITIONS)
    assert {each and each.position for each in found} == {last}


async def test_what_serves_or_is_not_complete_is_protected(
    log: Log, connection: Connection, projector: Projector, rebuild: Rebuild
) -> None:
    record_days(log, 3)
    await settle(projector)
    first = await serving(connection)
    second = await rebuild.begin()
    with pytest.raises(RebuildRefused, match="serves"):
        await rebuild.drop(first)
    with pytest.raises(RebuildRefused, match="not complete"):
        await rebuild.switch(second)
    with pytest.raises(RebuildRefused, match="not complete"):
        await rebuild.compare(second)
    await rebuild.drop(second)
    await Sweeper(connection).sweep()
    with pytest.raises(RebuildRefused, match="no longer there"):
        await rebuild.progress(second)
    await settle(projector)
    assert await serving(connection) == first


async def test_what_is_dropped_in_the_moment_of_its_completion_stays_dropped(
    log: Log,
    connection: Connection,
    projector: Projector,
    rebuild: Rebuild,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    record_days(log, 1)
    await settle(projector)
    second = await rebuild.begin()
    complete = Feeder.complete

    async def complete_late(feeder: Feeder, generation: int) -> bool:
        await rebuild.drop(generation)
        return await complete(feeder, generation)

    monkeypatch.setattr(Feeder, "complete", complete_late)
    await settle(projector)
    generation = (await load_registry(connection)).find(second)
    assert generation is not None
    assert generation.state is GenerationState.DROPPING


async def test_one_that_is_swept_in_the_midst_of_a_round_is_not_told_as_lost(
    log: Log,
    connection: Connection,
    projector: Projector,
    rebuild: Rebuild,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, second = await two_generations(log, connection, projector, rebuild, days=1)
    look = Feeder.look

    async def swept_before_it_looks(feeder: Feeder, generations: Sequence[int]) -> Found:
        if second in generations:
            await rebuild.drop(second)
            await Sweeper(connection).sweep()
        return await look(feeder, generations)

    monkeypatch.setattr(Feeder, "look", swept_before_it_looks)
    last = record_days(log, 1)
    with capture_logs() as lines:
        await settle(projector)
    assert [line["event"] for line in lines] == ["generation deleted"]
    checkpoints = await read_checkpoints(connection, first, PARTITIONS)
    assert {each and each.position for each in checkpoints} == {last}


async def test_a_comparison_of_generations_that_nobody_levels_says_so(
    log: Log,
    connection: Connection,
    projector: Projector,
    rebuild: Rebuild,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, second = await two_generations(log, connection, projector, rebuild, days=1)
    for partition in PARTITIONS:
        await connection.call("SET", key_of(first, partition, "checkpoint"), "aaaaaaaa.1 complete")
    monkeypatch.setattr("projections.comparing.LOOKS_MAX", 3)
    with pytest.raises(NotLevel):
        await rebuild.compare(second)


async def test_generations_are_compared_while_events_keep_coming(
    log: Log, connection: Connection, projector: Projector, rebuild: Rebuild
) -> None:
    record_days(log, 30)
    await settle(projector)
    await projector.start()
    is_over = asyncio.Event()

    async def sell() -> None:
        number = 0
        while not is_over.is_set():
            number += 1
            log.record(*a_day(number % 30))
            await asyncio.sleep(0.002)

    seller = asyncio.create_task(sell())
    second = await rebuild.begin()

    async def is_complete() -> bool:
        return (await rebuild.progress(second)).is_complete

    await eventually(is_complete, seconds=30)
    comparison = await rebuild.replace(second)
    assert comparison.different_count == 0
    is_over.set()
    await seller
    await projector.drain()
