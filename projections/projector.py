"""The projector: keeps every generation fed, and begins a new one when none can serve.

It decides nothing for good: whatever it finds in the registry, the checkpoints and the log, its next
round puts right. So it may be killed at any point, run twice, and lose Redis altogether.
"""

import asyncio
import time
from contextlib import suppress
from datetime import UTC, datetime

import structlog

from event_log.reader import LogReader
from projections.feeding import CheckpointLost, Fed, Feeder
from projections.metrics import (
    FAILURES,
    GENERATIONS_BEGUN,
    LAG_EVENTS,
    LAG_SECONDS,
    POSITION,
)
from read_models.checkpoints import Checkpoint
from read_models.connections import Connection
from read_models.registry import (
    Generation,
    GenerationState,
    Registry,
    change_registry,
    load_registry,
)
from read_models.writing import create_checkpoints, delete_generation

log = structlog.get_logger(__name__)

IDLE_SECONDS_MAX = 0.25
"""How long it sleeps without a bell: also how soon it notices that Redis was flushed."""

FAILURE_PAUSE_SECONDS = 0.2
"""Before trying again what failed: a server that restarts needs a moment, and the log stays readable."""


class Projector:
    """Feeds the generations until it is drained; a Part of the projection service."""

    def __init__(self, connection: Connection, reader: LogReader, feeder: Feeder) -> None:
        self._connection = connection
        self._reader = reader
        self._feeder = feeder
        self._asked_to_stop = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begins to feed, in a task of its own."""
        self._task = asyncio.create_task(self._run())

    async def drain(self) -> None:
        """Ends after the round in progress; what it had not begun is there for the next start."""
        self._asked_to_stop.set()
        if self._task is not None:
            await self._task
        await self._reader.close()

    async def _run(self) -> None:
        while not self._asked_to_stop.is_set():
            try:
                if not await self.round():
                    await self._sleep()
            except Exception:  # every failure is recorded, and the next round tries again
                FAILURES.inc()
                log.exception("projecting failed, trying again")
                await self._pause(FAILURE_PAUSE_SECONDS)

    async def round(self) -> bool:
        """Feeds each generation one batch. False when there is nothing left to do."""
        registry = await load_registry(self._connection)
        complete = registry.in_state(GenerationState.COMPLETE)
        building = registry.in_state(GenerationState.BUILDING)
        if not complete and not building:
            await self._begin_generation()
            return True
        try:
            has_more = bool(complete) and await self._feed_complete(complete)
            for generation in building:
                has_more |= await self._feed_building(generation)
        except CheckpointLost as lost:
            await self._give_up(lost.generation)
            return True
        return has_more

    async def _feed_complete(self, generations: tuple[Generation, ...]) -> bool:
        fed = await self._feeder.feed([each.number for each in generations])
        if await self._is_past(generations, fed):
            return True
        _measure(fed)
        return not fed.is_level

    async def _feed_building(self, generation: Generation) -> bool:
        fed = await self._feeder.feed([generation.number])
        if await self._is_past((generation,), fed):
            return True
        if fed.is_level and await self._feeder.complete(generation.number):
            await self._change_state(generation.number, GenerationState.COMPLETE)
            log.info(
                "generation complete", generation=generation.number, position=fed.batch.through_position
            )
        return True

    async def _is_past(self, generations: tuple[Generation, ...], fed: Fed) -> bool:
        """True when the log is of another incarnation: these generations tell what never happened."""
        incarnation = fed.batch.incarnation
        if all(each.incarnation == incarnation for each in generations):
            return False
        log.warning("the log has another incarnation, beginning anew", incarnation=incarnation)
        await change_registry(
            self._connection, lambda registry: registry.without_incarnation_other_than(incarnation)
        )
        return True

    async def _begin_generation(self) -> None:
        end = await self._reader.read_end()
        number = await begin_generation(self._connection, end.incarnation, only_if_none=True)
        GENERATIONS_BEGUN.inc()
        log.info("generation begun", generation=number, last_position=end.last_position)

    async def _give_up(self, number: int) -> None:
        log.warning("Redis lost a checkpoint, dropping the generation", generation=number)
        await self._change_state(number, GenerationState.DROPPING)

    async def _change_state(self, number: int, state: GenerationState) -> None:
        await change_registry(self._connection, lambda registry: registry.with_state(number, state))

    async def _sleep(self) -> None:
        """Until the log rings, a while has passed, or it is time to stop."""
        bell = asyncio.ensure_future(self._reader.wait(seconds_max=IDLE_SECONDS_MAX))
        stop = asyncio.ensure_future(self._asked_to_stop.wait())
        await asyncio.wait({bell, stop}, return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        if not bell.done():
            bell.cancel()
        with suppress(asyncio.CancelledError):
            await bell

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._asked_to_stop.wait(), seconds)


async def begin_generation(
    connection: Connection, incarnation: str, *, only_if_none: bool = False
) -> int:
    """Registers a new, empty generation, which projectors then fill; returns its number.

    Its checkpoints are there before anyone knows of it: one that is missing later was lost.
    only_if_none: not if another one is already fed; then it is as if nothing had been done.
    """
    registry = await load_registry(connection)
    number = registry.next_number(time.time_ns() // 1_000_000)
    await create_checkpoints(connection, number, Checkpoint(incarnation, 0, is_complete=False))

    def register(current: Registry) -> Registry:
        is_fed = any(each.state is not GenerationState.DROPPING for each in current.generations)
        if only_if_none and is_fed:
            return current
        return current.with_new(Generation(number, incarnation))

    changed = await change_registry(connection, register)
    if changed.find(number) is None:
        await delete_generation(connection, number)
    return number


def _measure(fed: Fed) -> None:
    POSITION.set(fed.batch.through_position)
    LAG_EVENTS.set(fed.batch.last_position - fed.batch.through_position)
    is_behind = fed.batch.events and fed.batch.last_position > fed.batch.through_position
    oldest = fed.batch.events[-1].recorded_time if is_behind else None
    LAG_SECONDS.set((datetime.now(UTC) - oldest).total_seconds() if oldest is not None else 0)
