"""A generation that cannot be fed costs the one that serves nothing."""

from collections.abc import Callable, Sequence
from contextlib import closing

import pytest
import redis
from structlog.testing import capture_logs

import projections.projector
import projections.set_aside
from ops.embedded import EmbeddedValkey
from projections.feeding import CannotBeFed, Feeder, Found
from projections.projector import Projector
from projections.rebuild import Rebuild
from projections.sweeper import Sweeper
from read_models.checkpoints import Checkpoint
from read_models.connections import Connection
from read_models.partitions import PARTITIONS, checkpoint_key, key_of
from read_models.reading import read_checkpoints
from read_models.registry import GenerationState, load_registry
from read_models.views import STOCK
from tests.eventually import eventually
from tests.projections.what_is_told import HealthRecord, metric
from tests.read_side import Log, all_values, serving, settle, stock_moved

STUCK = "shopkeeper_projection_stuck_generations"


async def spoil(connection: Connection, generation: int, sku_id: str) -> str:
    """Writes what no movement of the SKU's stock can be told to; returns the key."""
    address = STOCK.address(sku_id)
    key = key_of(generation, address.partition, address.name)
    await connection.call("SET", key, b"\xff")
    return key


async def shows(connection: Connection, generation: int, position: int) -> bool:
    """Whether all partitions of a generation have reached a position."""
    checkpoints = await read_checkpoints(connection, generation, PARTITIONS)
    return all(each is not None and each.position >= position for each in checkpoints)


async def begun_and_spoilt(
    log: Log, connection: Connection, projector: Projector, rebuild: Rebuild
) -> int:
    """A generation that was begun beside the one that serves, and cannot be fed."""
    log.record(stock_moved("MUG", 3))
    await settle(projector)
    generation = await rebuild.begin()
    await spoil(connection, generation, "MUG")
    return generation


@pytest.fixture
def attempts(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Which generations were looked at together, each time."""
    looked_at: list[tuple[int, ...]] = []
    look = Feeder.look

    async def recorded(feeder: Feeder, generations: Sequence[int]) -> Found:
        looked_at.append(tuple(generations))
        return await look(feeder, generations)

    monkeypatch.setattr(Feeder, "look", recorded)
    return looked_at


async def test_the_one_that_serves_is_fed_at_once_and_well_while_another_is_stuck(
    log: Log,
    connection: Connection,
    new_projector: Callable[..., Projector],
    rebuild: Rebuild,
    attempts: list[tuple[int, ...]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    projector = new_projector(failing_seconds_max=0.0)
    # A pause would be the end of the test.
    monkeypatch.setattr(projections.projector, "FAILURE_PAUSE_SECONDS", 60.0)
    health = HealthRecord()
    projector._health = health
    log.record(stock_moved("MUG", 3))
    await settle(projector)
    first = await serving(connection)
    second = await rebuild.begin()
    await spoil(connection, second, "MUG")
    attempts.clear()
    failures_before = metric("shopkeeper_projection_failures_total")
    with capture_logs() as lines:
        await projector.start()
        for number in range(20):
            position = log.record(stock_moved("MUG", number))

            async def is_shown(position: int = position) -> bool:
                return await shows(connection, first, position)

            await eventually(is_shown)
        await projector.drain()
    assert health.unwell_count == 0
    assert metric("shopkeeper_projection_failures_total") == failures_before
    assert metric("shopkeeper_projection_lag_events") == 0
    assert attempts.count((second,)) == 1
    assert metric(STUCK) == 1
    [line] = lines
    assert (line["event"], line["log_level"], line["generation"]) == (
        "a generation cannot be fed, the others go on",
        "error",
        second,
    )
    assert isinstance(line["exc_info"], CannotBeFed)


async def test_it_is_tried_again_and_completes_once_it_can_be_fed(
    log: Log,
    connection: Connection,
    projector: Projector,
    rebuild: Rebuild,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log.record(stock_moved("MUG", 3))
    await settle(projector)
    second = await rebuild.begin()
    spoilt = await spoil(connection, second, "MUG")
    await settle(projector)
    assert metric(STUCK) == 1
    await connection.call("DEL", spoilt)
    await settle(projector)
    assert not (await rebuild.progress(second)).is_complete
    monkeypatch.setattr(projector._set_aside, "_retry_seconds", 0.0)
    await settle(projector)
    assert (await rebuild.progress(second)).is_complete
    assert metric(STUCK) == 0


async def test_it_is_forgotten_when_it_is_dropped(
    log: Log, connection: Connection, projector: Projector, rebuild: Rebuild
) -> None:
    second = await begun_and_spoilt(log, connection, projector, rebuild)
    await settle(projector)
    await rebuild.drop(second)
    await Sweeper(connection).sweep()
    await settle(projector)
    assert metric(STUCK) == 0


async def test_it_keeps_no_further_generation_from_growing(
    log: Log, connection: Connection, projector: Projector, rebuild: Rebuild
) -> None:
    await begun_and_spoilt(log, connection, projector, rebuild)
    third = await rebuild.begin()
    await settle(projector)
    assert (await rebuild.replace(third)).different_count == 0
    assert await serving(connection) == third


async def test_one_that_meets_an_event_that_only_a_newer_version_knew_is_set_aside(
    log: Log, connection: Connection, projector: Projector, rebuild: Rebuild
) -> None:
    """As after a step back to an older version, which goes on where the newer one ended."""
    log.record_unknown()
    position = log.record(stock_moved("MUG", 3))
    first = await rebuild.begin()
    incarnation = log.incarnation()
    for partition in PARTITIONS:
        reached = Checkpoint(incarnation, position, is_complete=True)
        await connection.call("SET", checkpoint_key(first, partition), str(reached))
    await settle(projector)
    assert await serving(connection) == first
    await rebuild.begin()
    position = log.record(stock_moved("MUG", 2))
    await settle(projector)
    assert await shows(connection, first, position)
    assert metric(STUCK) == 1


async def test_one_for_which_redis_has_no_room_leaves_the_one_that_serves_well(
    log: Log,
    read_models_server: EmbeddedValkey,
    connection: Connection,
    projector: Projector,
    rebuild: Rebuild,
) -> None:
    log.record(stock_moved("MUG", 3))
    await settle(projector)
    second = await rebuild.begin()
    with closing(redis.Redis.from_url(read_models_server.url)) as client:
        client.config_set("maxmemory", 1)
        await settle(projector)
        client.config_set("maxmemory", 0)
    assert metric(STUCK) == 1
    assert not (await rebuild.progress(second)).is_complete


async def test_one_kept_to_go_back_to_is_set_aside_as_well(
    log: Log, connection: Connection, projector: Projector, rebuild: Rebuild
) -> None:
    log.record(stock_moved("MUG", 3))
    await settle(projector)
    first = await serving(connection)
    second = await rebuild.begin()
    await settle(projector)
    await rebuild.replace(second)
    await spoil(connection, first, "MUG")
    for number in range(3):
        position = log.record(stock_moved("MUG", number))
        await settle(projector)
        assert await shows(connection, second, position)
        assert not await shows(connection, first, position)
    assert metric(STUCK) == 1


async def test_while_none_serves_the_newest_is_tried_each_time_and_not_set_aside(
    log: Log, connection: Connection, projector: Projector, rebuild: Rebuild
) -> None:
    log.record(stock_moved("MUG", 3))
    older, newest = await rebuild.begin(), await rebuild.begin()
    for generation in (older, newest):
        await spoil(connection, generation, "MUG")
    for _ in range(2):
        with pytest.raises(CannotBeFed, match=str(newest)):
            await projector.round()
    assert metric(STUCK) == 1
    registry = await load_registry(connection)
    assert [each.state for each in registry.generations] == [GenerationState.BUILDING] * 2


async def test_one_that_can_be_fed_again_catches_up_while_the_one_that_serves_goes_on(
    log: Log,
    connection: Connection,
    new_projector: Callable[..., Projector],
    rebuild: Rebuild,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log.record(stock_moved("MUG", 3))
    projector = new_projector(batch_events_max=5)
    await settle(projector)
    first = await serving(connection)
    second = await rebuild.begin()
    await settle(projector)
    await rebuild.replace(second)
    spoilt = await spoil(connection, first, "MUG")
    log.record(*(stock_moved("MUG", number) for number in range(50)))
    await settle(projector)
    await connection.call("DEL", spoilt)
    monkeypatch.setattr(projector._set_aside, "_retry_seconds", 0.0)
    position = log.record(stock_moved("MUG", 1))
    await projector.round()
    assert await shows(connection, second, position)
    assert not await shows(connection, first, position)
    assert metric("shopkeeper_projection_lag_events") == 0
    await settle(projector)
    assert await all_values(connection, first) == await all_values(connection, second)
    assert await read_checkpoints(connection, first, PARTITIONS) == await read_checkpoints(
        connection, second, PARTITIONS
    )


async def test_while_the_one_that_serves_cannot_be_fed_another_grows_without_a_pause(
    log: Log,
    connection: Connection,
    new_projector: Callable[..., Projector],
    rebuild: Rebuild,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    projector = new_projector(batch_events_max=5)
    # One pause would be the end of the test.
    monkeypatch.setattr(projections.projector, "FAILURE_PAUSE_SECONDS", 60.0)
    log.record(*(stock_moved("MUG", number) for number in range(50)))
    await settle(projector)
    await spoil(connection, await serving(connection), "MUG")
    log.record(stock_moved("MUG", 1))
    second = await rebuild.begin()
    await projector.start()

    async def is_complete() -> bool:
        return (await rebuild.progress(second)).is_complete

    await eventually(is_complete)
    await projector.drain()
