"""Feeding generations: events from the log become views, each exactly once.

All generations that are fed together are written together, partition by partition, in one script.
Once they are level they stay level, so that a reader who changes from one to another never goes back.
One that cannot be fed any more is left behind, for another one to take its place.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from event_log.reader import LogBatch, LogReader
from projections.metrics import BATCH_EVENTS, CONTESTED, RETELL_SECONDS
from projections.retelling import Projections, Step, Steps, retell, steps_of
from read_models.checkpoints import Checkpoint
from read_models.connections import Connection
from read_models.partitions import PARTITIONS, Address
from read_models.reading import read_checkpoints
from read_models.writing import Change, GenerationWrite, read_views, write_partitions

Checkpoints = Mapping[int, Sequence[Checkpoint]]
"""By generation; one for each partition."""


class CheckpointLost(Exception):
    """A generation lacks a checkpoint: Redis lost the partition's views with it."""

    def __init__(self, generation: int) -> None:
        self.generation = generation
        super().__init__(f"generation {generation}")


class LogIsShorter(Exception):
    """A generation tells events that the log does not hold: it was cut off, by a restore perhaps."""

    def __init__(self, generation: int, position: int, last_position: int) -> None:
        self.generation = generation
        super().__init__(f"generation {generation} is at {position}, the log ends at {last_position}")


class CannotBeFed(Exception):
    """What a generation shows does not go with what the log says next; the cause tells why.

    Its views lost something, or a projection is wrong.
    """

    def __init__(self, generation: int) -> None:
        self.generation = generation
        super().__init__(f"generation {generation}")


class Found(NamedTuple):
    """A batch, and how far the generations were when it was read. after: how far the slowest was."""

    checkpoints: Checkpoints
    after: int
    batch: LogBatch


class Fed(NamedTuple):
    """How one feeding ended.

    is_level: every partition of every generation is at the log's end. has_more: there is something
    left to read, or to try again.
    """

    is_level: bool
    has_more: bool


class Feeder:
    """Brings generations forward, a batch at a time."""

    def __init__(
        self, connection: Connection, log: LogReader, projections: Projections, *, batch_events_max: int
    ) -> None:
        self._connection = connection
        self._log = log
        self._projections = projections
        self._batch_events_max = batch_events_max

    async def look(self, generations: Sequence[int]) -> Found:
        """Reads one batch behind the slowest partition.

        Raises:
            CheckpointLost: a partition's views are gone.
            LogIsShorter: they tell what is not in the log.
        """
        checkpoints = await self._checkpoints(generations)
        after = min(each.position for of_one in checkpoints.values() for each in of_one)
        batch = await self._log.read(after=after, limit=self._batch_events_max)
        _refuse_shorter(checkpoints, batch)
        return Found(checkpoints, after, batch)

    async def feed(self, found: Found) -> Fed:
        """Retells the batch to all partitions; one of another incarnation is left alone.

        Raises:
            UnknownEvent: nothing was written, and nothing will be until it is known.
            CannotBeFed: nothing was written; the others can be fed without this one.
        """
        batch = found.batch
        if not _is_of_one_log(found):
            return Fed(is_level=False, has_more=False)
        if batch.through_position == found.after:
            # A replica may lag behind what another projector has already told.
            return Fed(is_level=batch.last_position == found.after, has_more=False)
        is_written = await self._retell(batch, found.checkpoints)
        is_at_end = batch.through_position == batch.last_position
        return Fed(is_level=is_written and is_at_end, has_more=not (is_written and is_at_end))

    async def complete(self, generation: int) -> bool:
        """Marks every partition as complete; False when another projector moved one meanwhile."""
        checkpoints = (await self._checkpoints([generation]))[generation]
        return await self._write(
            {
                partition: [GenerationWrite(generation, each, each.completed(), ())]
                for partition, each in zip(PARTITIONS, checkpoints, strict=True)
            }
        )

    async def _checkpoints(self, generations: Sequence[int]) -> Checkpoints:
        return {each: await self._checkpoints_of(each) for each in generations}

    async def _checkpoints_of(self, generation: int) -> list[Checkpoint]:
        found = await read_checkpoints(self._connection, generation, PARTITIONS)
        checkpoints = [each for each in found if each is not None]
        if len(checkpoints) < len(found):
            raise CheckpointLost(generation)
        return checkpoints

    async def _retell(self, batch: LogBatch, checkpoints: Checkpoints) -> bool:
        begun = time.perf_counter()
        steps = steps_of(batch.events, self._projections)
        writes: dict[int, list[GenerationWrite]] = {}
        for generation, of_one in checkpoints.items():
            try:
                changes = await self._changes(generation, of_one, steps)
            except CannotBeFed:
                # Views are read after their checkpoints. If Redis was flushed between the two, that is
                # told now; if another projector went on, the next round reads both anew.
                if await self._checkpoints_of(generation) == of_one:
                    raise
                return False
            for partition, checkpoint in zip(PARTITIONS, of_one, strict=True):
                reached = checkpoint.advanced(batch.through_position)
                write = GenerationWrite(generation, checkpoint, reached, changes.get(partition, ()))
                writes.setdefault(partition, []).append(write)
        written = await self._write(writes)
        BATCH_EVENTS.observe(len(batch.events))
        RETELL_SECONDS.observe(time.perf_counter() - begun)
        return written

    async def _changes(
        self, generation: int, checkpoints: Sequence[Checkpoint], steps: Steps
    ) -> dict[int, list[Change]]:
        """The changes by partition, of what each partition has not yet seen."""
        new = dict(_steps_not_seen(steps, checkpoints))
        stored = await read_views(self._connection, generation, list(new))
        try:
            return _changes_of(new, stored)
        except Exception as error:
            # Bytes that cannot be parsed, a view that is not there, or a fold that did not expect it.
            raise CannotBeFed(generation) from error

    async def _write(self, writes: Mapping[int, Sequence[GenerationWrite]]) -> bool:
        written = await write_partitions(self._connection, writes)
        CONTESTED.inc(written.count(False))
        return all(written)


def _refuse_shorter(checkpoints: Checkpoints, batch: LogBatch) -> None:
    # The log was read last, so it can only be further; but a standby may lag behind what was told.
    if batch.is_standby:
        return
    for generation, of_one in checkpoints.items():
        position = max(
            (each.position for each in of_one if each.incarnation == batch.incarnation), default=0
        )
        if position > batch.last_position:
            raise LogIsShorter(generation, position, batch.last_position)


def _is_of_one_log(found: Found) -> bool:
    incarnations = {each.incarnation for of_one in found.checkpoints.values() for each in of_one}
    return incarnations == {found.batch.incarnation}


def _changes_of(steps: Steps, stored: Sequence[bytes | None]) -> dict[int, list[Change]]:
    changes: dict[int, list[Change]] = {}
    for (address, its_steps), value in zip(steps.items(), stored, strict=True):
        changes.setdefault(address.partition, []).extend(retell(address, value, its_steps))
    return changes


def _steps_not_seen(
    steps: Steps, checkpoints: Sequence[Checkpoint]
) -> Iterator[tuple[Address, list[Step]]]:
    for address, its_steps in steps.items():
        seen_position = checkpoints[address.partition].position
        new = [step for step in its_steps if step.position > seen_position]
        if new:
            yield address, new
