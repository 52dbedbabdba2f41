"""The read models come back by themselves, whatever is lost."""

import asyncio
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
import redis
from structlog.testing import capture_logs

import projections.projector
from event_log.reader import LogBatch, LogReader
from ops.embedded import EmbeddedValkey
from projections.projector import LogIsPast, Projector, begin_generation
from projections.retelling import UnknownEvent
from projections.sweeper import Sweeper
from read_models.checkpoints import Checkpoint
from read_models.connections import Connection, connect
from read_models.partitions import PARTITIONS, checkpoint_key, key_of
from read_models.reading import read_checkpoints
from read_models.registry import GenerationState, load_registry
from read_models.views import STOCK
from tests.eventually import eventually
from tests.projections.shop_events import a_day
from tests.projections.what_is_told import HealthRecord, metric
from tests.read_side import Log, all_values, serving, settle, stock_moved


async def record_days(log: Log, count: int) -> int:
    return log.record(*(event for number in range(count) for event in a_day(number)))


async def test_all_views_come_back_equal_after_redis_lost_everything(
    log: Log, connection: Connection, projector: Projector
) -> None:
    await record_days(log, 30)
    await settle(projector)
    first = await serving(connection)
    before = await all_values(connection, first)
    await connection.call("FLUSHALL")
    await settle(projector)
    second = await serving(connection)
    assert second > first
    assert await all_values(connection, second) == before
    assert len(before) > 30 * 6


async def test_one_lost_checkpoint_begins_a_new_generation_and_the_old_one_is_swept(
    log: Log, connection: Connection, projector: Projector
) -> None:
    await record_days(log, 5)
    await settle(projector)
    first = await serving(connection)
    before = await all_values(connection, first)
    await connection.call("DEL", checkpoint_key(first, 7))
    await settle(projector)
    registry = await load_registry(connection)
    assert registry.serving != first
    assert [each.number for each in registry.in_state(GenerationState.DROPPING)] == [first]
    await Sweeper(connection).sweep()
    assert await all_values(connection, first) == {}
    assert (await load_registry(connection)).find(first) is None
    assert await all_values(connection, await serving(connection)) == before


async def test_a_partition_that_came_back_half_filled_is_told_the_rest_and_complete_again(
    log: Log, connection: Connection, projector: Projector
) -> None:
    """As of a server of a cluster that saved it while the generation was filled, and was restarted."""
    log.record(stock_moved("MUG", 3))
    await settle(projector)
    number = await serving(connection)
    values = await all_values(connection, number)
    checkpoints = await read_checkpoints(connection, number, PARTITIONS)
    partition, name = STOCK.address("MUG")
    half_filled = Checkpoint(log.incarnation(), 0, is_complete=False)
    await connection.call("SET", checkpoint_key(number, partition), str(half_filled))
    await connection.call("DEL", key_of(number, partition, name))
    await settle(projector)
    assert await serving(connection) == number
    assert await all_values(connection, number) == values
    assert await read_checkpoints(connection, number, PARTITIONS) == checkpoints


async def test_generations_whose_registry_was_lost_are_swept(
    log: Log, connection: Connection, projector: Projector
) -> None:
    await record_days(log, 2)
    await settle(projector)
    first = await serving(connection)
    await connection.call("DEL", "{read-models}:registry")
    await settle(projector)
    second = await serving(connection)
    await Sweeper(connection).sweep()
    assert await all_values(connection, first) == {}
    assert await all_values(connection, second) != {}


async def test_a_restored_backup_is_told_anew_and_what_never_happened_is_gone(
    log: Log, connection: Connection, projector: Projector
) -> None:
    kept = log.record(stock_moved("MUG", 3))
    log.record(stock_moved("CUP", 4))
    await settle(projector)
    new_incarnation = log.restore(kept)
    # The next event takes the position of the one that is gone.
    log.record(stock_moved("PEN", 5))
    await settle(projector)
    number = await serving(connection)
    names = {name.rpartition(":")[2] for name in await all_values(connection, number)}
    assert names == {"MUG", "PEN"}
    checkpoints = await read_checkpoints(connection, number, PARTITIONS)
    assert {each and each.incarnation for each in checkpoints} == {new_incarnation}
    assert (await load_registry(connection)).newest_incarnation == new_incarnation


async def test_a_log_that_was_cut_off_unannounced_is_told_anew(
    log: Log, connection: Connection, projector: Projector
) -> None:
    kept = log.record(stock_moved("MUG", 3))
    log.record(stock_moved("CUP", 4))
    await settle(projector)
    before = await serving(connection)
    log.cut_off(kept)
    await settle(projector)
    # The next event takes the position of the one that is gone.
    log.record(stock_moved("PEN", 5))
    await settle(projector)
    number = await serving(connection)
    names = {name.rpartition(":")[2] for name in await all_values(connection, number)}
    assert number != before
    assert names == {"MUG", "PEN"}


async def test_an_event_that_is_not_known_stops_the_views_and_is_not_skipped(
    log: Log, connection: Connection, projector: Projector
) -> None:
    position = log.record(stock_moved("MUG", 3))
    await settle(projector)
    log.record_unknown()
    log.record(stock_moved("MUG", 2))
    with pytest.raises(UnknownEvent, match=r"shopkeeper\.future\.v1\.Unheard"):
        await settle(projector)
    checkpoints = await read_checkpoints(connection, await serving(connection), PARTITIONS)
    assert {each and each.position for each in checkpoints} == {position}


async def test_while_the_first_views_are_filled_the_lag_is_told(
    log: Log, connection: Connection, new_projector: Callable[..., Projector]
) -> None:
    log.record(*(stock_moved("MUG", n) for n in range(10)))
    projector = new_projector(batch_events_max=4)
    await settle(projector)
    assert metric("shopkeeper_projection_lag_events") == 0
    await connection.call("FLUSHALL")
    # One round finds the loss, another one begins anew, the third tells the first batch.
    lags = set()
    while (await load_registry(connection)).serving is None:
        await projector.round()
        lags.add(metric("shopkeeper_projection_lag_events"))
    assert lags == {0, 6, 2}


async def test_a_projector_that_reads_a_replica_that_lags_does_not_spin_meanwhile(
    log: Log,
    connection: Connection,
    new_projector: Callable[..., Projector],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read = LogReader.read

    async def read_standby(reader: LogReader, **what: Any) -> LogBatch:
        return (await read(reader, **what))._replace(is_standby=True)

    monkeypatch.setattr(LogReader, "read", read_standby)
    log.record(*(stock_moved("MUG", n) for n in range(10)))
    projector = new_projector(batch_events_max=4)
    # One round begins the generation, the second fills a part of it.
    assert await projector.round()
    assert await projector.round()
    log.cut_off(2)
    assert not await projector.round()
    assert (await load_registry(connection)).serving is None


async def test_a_generation_is_begun_once_however_many_begin_it(connection: Connection) -> None:
    begun = await asyncio.gather(
        *(begin_generation(connection, "0a1b2c3d", only_if_none=True) for _ in range(5))
    )
    [generation] = (await load_registry(connection)).generations
    # In the same millisecond they make the same number.
    assert set(begun) - {None} == {generation.number}


async def test_a_projector_that_cannot_go_on_says_so_and_how_far_it_is_behind(
    log: Log, new_projector: Callable[..., Projector]
) -> None:
    projector = new_projector(failing_seconds_max=0.3)
    health = HealthRecord()
    projector._health = health
    log.record(stock_moved("MUG", 3))
    await settle(projector)
    assert metric("shopkeeper_projection_lag_events") == 0
    failures_before = metric("shopkeeper_projection_failures_total")
    log.record_unknown()
    log.record(stock_moved("MUG", 2))
    await projector.start()

    async def is_unwell() -> bool:
        return not health.is_well

    async def has_gone_on_failing() -> bool:
        failures = metric("shopkeeper_projection_failures_total") - failures_before
        return failures > 1 and metric("shopkeeper_projection_lag_seconds") > 0.3

    await eventually(is_unwell)
    await eventually(has_gone_on_failing)
    assert metric("shopkeeper_projection_lag_events") == 2
    assert not health.is_well
    await projector.drain()


async def test_a_database_that_says_nothing_is_told_as_soon_as_a_round_has_failed_for_so_long(
    new_projector: Callable[..., Projector], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The round that waited for it is a part of the time for which it failed."""
    projector = new_projector(failing_seconds_max=0.2)
    health = HealthRecord()
    projector._health = health
    # A second round would be too late.
    monkeypatch.setattr(projections.projector, "FAILURE_PAUSE_SECONDS", 60.0)
    failures_before = metric("shopkeeper_projection_failures_total")

    async def say_nothing(_projector: Projector) -> bool:
        await asyncio.sleep(0.3)
        raise TimeoutError("the log does not answer")

    monkeypatch.setattr(Projector, "round", say_nothing)
    await projector.start()

    async def is_unwell() -> bool:
        return not health.is_well

    await eventually(is_unwell)
    assert metric("shopkeeper_projection_failures_total") == failures_before + 1
    await projector.drain()


async def test_a_redis_that_is_full_is_told_as_that(
    log: Log, read_models_server: EmbeddedValkey, projector: Projector
) -> None:
    log.record(stock_moved("MUG", 3))
    await settle(projector)
    with closing(redis.Redis.from_url(read_models_server.url)) as client, capture_logs() as lines:
        client.config_set("maxmemory", 1)
        log.record(stock_moved("MUG", 2))
        await projector.start()
        await eventually(lambda: asyncio.sleep(0, bool(lines)))
        await projector.drain()
        client.config_set("maxmemory", 0)
    line = lines[0]
    assert (line["event"], line["log_level"]) == ("Redis is full, the views stand still", "error")
    assert "'maxmemory'" in line["reason"]


async def test_a_projector_that_is_well_again_says_so(
    log: Log, connection: Connection, projector: Projector
) -> None:
    health = HealthRecord()
    projector._health = health
    health.is_well, projector._failing_since = False, 0.0
    await projector.start()

    async def is_well() -> bool:
        return health.is_well

    await eventually(is_well)
    await projector.drain()


async def test_a_projector_of_the_database_that_was_replaced_cannot_undo_the_new_views(
    log: Log, connection: Connection, projector: Projector
) -> None:
    log.record(stock_moved("MUG", 3))
    await settle(projector)
    replaced = log.incarnation()
    log.restore(1)
    await settle(projector)
    number = await serving(connection)
    # Now as the old primary tells it, to a projector that was not redirected.
    log.rename(replaced)
    with pytest.raises(LogIsPast, match=replaced):
        await settle(projector)
    with pytest.raises(LogIsPast, match=replaced):
        await begin_generation(connection, replaced)
    registry = await load_registry(connection)
    assert registry.serving == number
    assert len(registry.generations) == 2
    assert len(await all_values(connection, number)) == 1


async def test_a_sweeper_says_of_a_server_that_is_away_just_that() -> None:
    away = connect("redis://127.0.0.1:1/0", answer_seconds_max=0.5)
    sweeper = Sweeper(away)
    with capture_logs() as lines:
        await sweeper.start()
        await eventually(lambda: asyncio.sleep(0, bool(lines)))
        await sweeper.drain()
    await away.close()
    assert {(line["event"], line["log_level"]) for line in lines} == {
        ("waiting for a server", "warning")
    }
