"""Two projectors at once, by mistake or in a failover, cannot corrupt each other."""

import asyncio
from collections.abc import Callable, Sequence

import pytest
from google.protobuf.message import Message

import projections.feeding
from projections.projector import Projector
from read_models.checkpoints import Checkpoint
from read_models.connections import Connection
from read_models.partitions import PARTITIONS, Address
from read_models.reading import read_checkpoints
from read_models.registry import load_registry
from read_models.writing import Change, GenerationWrite, What, read_views, write_partitions
from shopkeeper.ordering.v1.ordering_events_pb2 import OrderPlaced
from tests.eventually import eventually
from tests.projections.shop_events import a_day
from tests.read_side import Log, all_values, has_arrived, serving, settle, stock_moved


async def test_they_end_where_one_alone_ends(
    log: Log, connection: Connection, new_projector: Callable[..., Projector]
) -> None:
    racers = [new_projector(batch_events_max=13), new_projector(batch_events_max=7)]
    for racer in racers:
        await racer.start()
    last = 0
    for number in range(60):
        last = log.record(*a_day(number % 20), *(stock_moved("HOT", n) for n in range(5)))
        await asyncio.sleep(0)

    await eventually(lambda: has_arrived(connection, last), seconds=30)
    for racer in racers:
        await racer.drain()
    raced = await all_values(connection, await serving(connection))
    assert len((await load_registry(connection)).generations) == 1
    await connection.call("FLUSHALL")
    alone = new_projector()
    await settle(alone)
    assert raced == await all_values(connection, await serving(connection))


async def test_a_write_on_a_checkpoint_that_moved_on_writes_nothing(
    log: Log, connection: Connection, projector: Projector
) -> None:
    position = log.record(stock_moved("MUG", 3))
    await settle(projector)
    number = await serving(connection)
    before = await all_values(connection, number)
    stale = Checkpoint(log.incarnation(), position - 1, is_complete=True)
    write = GenerationWrite(
        number, stale, stale.advanced(position + 1), [Change("stock:MUG", What.SET, b"wrong")]
    )
    assert await write_partitions(connection, {p: [write] for p in PARTITIONS}) == [False] * 16
    assert await all_values(connection, number) == before
    found = await read_checkpoints(connection, number, PARTITIONS)
    assert {each and each.position for each in found} == {position}


async def test_generations_are_written_together_or_not_at_all(
    log: Log, connection: Connection, projector: Projector
) -> None:
    await settle(projector)
    number = await serving(connection)
    [current] = await read_checkpoints(connection, number, [0])
    assert current is not None
    change = [Change("stock:X", What.SET, b"x")]
    writes = [
        GenerationWrite(number, current, current.advanced(9), change),
        GenerationWrite(number + 1, current, current.advanced(9), change),
    ]
    assert await write_partitions(connection, {0: writes}) == [False]
    assert await all_values(connection, number) == {}


async def test_views_that_are_lost_while_they_are_read_are_begun_anew(
    log: Log,
    connection: Connection,
    new_projector: Callable[..., Projector],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A flush between its checkpoints and its views is no mistake in a projection."""
    slow = new_projector()
    placed = a_day(0)
    position = log.record(*placed[: order_at(placed) + 1])
    await settle(slow)
    log.record(*placed[order_at(placed) + 1 :])

    async def read_after_flush(
        of: Connection, generation: int, addresses: Sequence[Address]
    ) -> list[bytes | None]:
        await of.call("FLUSHALL")
        return await read_views(of, generation, addresses)

    with monkeypatch.context() as patch:
        patch.setattr(projections.feeding, "read_views", read_after_flush)
        # It finds the loss, and gives the generation up.
        assert await slow.round()
    assert (await load_registry(connection)).serving is None
    await settle(slow)
    found = await read_checkpoints(connection, await serving(connection), PARTITIONS)
    assert {each and each.position > position for each in found} == {True}


def order_at(events: Sequence[Message]) -> int:
    """Where the order is placed whose further events change a view."""
    return next(n for n, event in enumerate(events) if isinstance(event, OrderPlaced))
