"""The read models come back by themselves, whatever is lost."""

import pytest

from projections.projector import Projector
from projections.retelling import UnknownEvent
from projections.sweeper import Sweeper
from read_models.connections import Connection
from read_models.partitions import PARTITIONS, checkpoint_key
from read_models.reading import read_checkpoints
from read_models.registry import GenerationState, load_registry
from tests.projections.shop_events import a_day
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
    old_incarnation = log.incarnation()
    new_incarnation = log.restore(kept)
    # The next event takes the position of the one that is gone.
    log.record(stock_moved("PEN", 5))
    await settle(projector)
    number = await serving(connection)
    names = {name.rpartition(":")[2] for name in await all_values(connection, number)}
    assert names == {"MUG", "PEN"}
    checkpoints = await read_checkpoints(connection, number, PARTITIONS)
    assert {each and each.incarnation for each in checkpoints} == {new_incarnation}
    assert (await load_registry(connection)).past_incarnations == (old_incarnation,)


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
