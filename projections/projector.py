"""The projector: keeps every generation fed, and begins a new one when none can serve.

It decides nothing for good: whatever it finds in the registry, the checkpoints and the log, its next
round puts right. So it may be killed at any point, run twice, and lose Redis altogether.
"""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Protocol

import psycopg
import structlog

from event_log.reader import LogReader
from projections.feeding import CannotBeFed, CheckpointLost, Feeder, Found, LogIsShorter
from projections.metrics import (
    FAILURES,
    GENERATIONS_BEGUN,
    LAG_EVENTS,
    LAG_SECONDS,
    POSITION,
)
from projections.retelling import UnknownEvent
from projections.set_aside import RETRY_SECONDS, SetAside
from read_models.checkpoints import Checkpoint
from read_models.connections import REDIS_AWAY, REDIS_FULL, Connection
from read_models.partitions import PARTITIONS
from read_models.reading import read_checkpoints
from read_models.registry import (
    Generation,
    GenerationState,
    Registry,
    change_registry,
    load_registry,
)
from read_models.writing import create_checkpoints, delete_checkpoints, delete_generation
from serving.reminders import Reminder

log = structlog.get_logger(__name__)

IDLE_SECONDS_MAX = 0.25
"""How long it sleeps without a bell: also how soon it notices that Redis was flushed."""

FAILURE_PAUSE_SECONDS = 0.2
"""Before trying again what failed: a server that restarts needs a moment, and the log stays readable."""

FAILING_SECONDS_MAX = 5.0
"""Unless told otherwise: how long rounds may fail before the service says that it is not well. Longer
than a restart of a server that the next round gets over."""


CANNOT_GO_ON = (CannotBeFed, UnknownEvent, REDIS_FULL)
"""What one generation may fail for while others are fed: it shows, and is told, something else."""

SERVER_AWAY = (*REDIS_AWAY, psycopg.OperationalError, TimeoutError)
"""Nothing is wrong here: PostgreSQL or Redis cannot be reached."""


class Health(Protocol):
    """Where the projector says whether it does its work."""

    async def say_well(self) -> None:
        """It does."""
        ...

    async def say_unwell(self) -> None:
        """It does not."""
        ...


class LogIsPast(Exception):
    """The log is of an incarnation that was replaced: this projector reads the wrong database."""

    def __init__(self, incarnation: str, newest_incarnation: str) -> None:
        super().__init__(
            f"this log is of incarnation {incarnation}, the views know of {newest_incarnation}, which is"
            " newer: point to the database that replaced this one. If there is none, the clock was wrong"
            " when the incarnation was made; make another: shopkeeper new-incarnation"
        )


class Projector:
    """Feeds the generations until it is drained; a Part of the projection service."""

    def __init__(
        self,
        connection: Connection,
        reader: LogReader,
        feeder: Feeder,
        health: Health | None = None,
        *,
        failing_seconds_max: float = FAILING_SECONDS_MAX,
        retry_seconds: float = RETRY_SECONDS,
    ) -> None:
        """failing_seconds_max: how long rounds may fail before it says that it is not well.

        retry_seconds: how long a generation that cannot be fed is set aside.
        """
        self._connection = connection
        self._reader = reader
        self._feeder = feeder
        self._health = health
        self._asked_to_stop = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._failing_since: float | None = None
        self._others_have_more = False
        self._reminder = Reminder()
        self._failing_seconds_max = failing_seconds_max
        self._set_aside = SetAside(retry_seconds=retry_seconds)

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
            begin_seconds = asyncio.get_running_loop().time()
            try:
                has_more = await self.round()
                await self._succeeded()
                if not has_more:
                    await self._sleep()
            except Exception as error:  # noqa: BLE001 all are recorded, and the next round tries again
                FAILURES.inc()
                self._report(error)
                await self._failed(begin_seconds)
                if not self._others_have_more:
                    await self._pause(FAILURE_PAUSE_SECONDS)

    def _report(self, error: Exception) -> None:
        if not self._reminder.is_due(type(error).__name__):
            return
        if isinstance(error, REDIS_FULL):
            log.error("Redis is full, the views stand still", reason=str(error).strip())
        elif isinstance(error, SERVER_AWAY):
            log.warning("waiting for a server", reason=str(error).strip())
        else:
            log.error("projecting failed, trying again", exc_info=error)

    async def _succeeded(self) -> None:
        if self._failing_since is not None and self._health is not None:
            await self._health.say_well()
        self._failing_since = None

    async def _failed(self, begin_seconds: float) -> None:
        """begin_seconds: of the round, which may have waited long for a server that says nothing."""
        if self._failing_since is None:
            self._failing_since = begin_seconds
        failing_seconds = asyncio.get_running_loop().time() - self._failing_since
        if failing_seconds > self._failing_seconds_max and self._health is not None:
            await self._health.say_unwell()

    async def round(self) -> bool:
        """Feeds each generation one batch. False when there is nothing left to do."""
        self._others_have_more = False
        registry = await load_registry(self._connection)
        complete = registry.in_state(GenerationState.COMPLETE)
        building = registry.in_state(GenerationState.BUILDING)
        self._set_aside.keep([each.number for each in registry.generations])
        if not complete and not building:
            await self._begin_generation()
            return True
        try:
            return await self._feed(registry, complete, building)
        except CheckpointLost as lost:
            if await self._is_kept(lost.generation):
                log.warning(
                    "Redis lost a checkpoint, dropping the generation", generation=lost.generation
                )
                await self._give_up(lost.generation)
            return True
        except LogIsShorter as shorter:
            # The views heal; the tokens that were given out only `shopkeeper new-incarnation` can void.
            log.critical("the log was cut off, beginning anew", reason=str(shorter))
            await self._give_up(shorter.generation)
            return True

    async def _feed(
        self,
        registry: Registry,
        complete: tuple[Generation, ...],
        building: tuple[Generation, ...],
    ) -> bool:
        together, behind = await self._level_and_behind(registry, complete)
        alone = [*behind, *building]
        try:
            has_more = bool(together) and await self._feed_together(registry, together)
        except Exception:
            # Of views that lack something, say: what is being built is there to take their place.
            self._others_have_more |= await self._feed_each(registry, alone)
            raise
        return await self._feed_each(registry, alone) or has_more

    async def _level_and_behind(
        self, registry: Registry, complete: tuple[Generation, ...]
    ) -> tuple[list[Generation], list[Generation]]:
        """Those to be fed with the one that serves, and those that were set aside, and first catch up.

        A batch follows what the slowest of it shows: with them, the one that serves would stand still.
        """
        if not complete:
            return [], []
        answering = await self._still_answering(registry, complete[0].incarnation)
        generations = self._to_feed(registry, [*complete, *answering])
        if len(generations) == 1:
            return generations, []
        # First of the one that serves: what another projector tells meanwhile, it tells to them all.
        shown_position = await self._position(_foremost(registry))
        level: list[Generation] = []
        behind: list[Generation] = []
        for each in generations:
            is_level = await self._position(each.number) >= shown_position
            (level if is_level else behind).append(each)
        return level, behind

    async def _position(self, number: int) -> int:
        """Up to where a generation shows everything; 0 if it has lost a checkpoint."""
        checkpoints = await read_checkpoints(self._connection, number, PARTITIONS)
        return min(0 if each is None else each.position for each in checkpoints)

    async def _feed_each(self, registry: Registry, generations: Sequence[Generation]) -> bool:
        """Each by itself: one that cannot go on keeps no other one from it."""
        has_more = False
        for generation in self._to_feed(registry, generations):
            try:
                has_more |= await self._feed_alone(registry, generation)
            except CANNOT_GO_ON as error:
                if generation.number == _foremost(registry):
                    raise
                self._set_aside.add(generation.number, error)
        return has_more

    def _to_feed(self, registry: Registry, generations: Sequence[Generation]) -> list[Generation]:
        """All but those that were set aside. The foremost never rests: there is nothing to spare."""
        foremost = _foremost(registry)
        return [
            each
            for each in generations
            if each.number == foremost or not self._set_aside.rests(each.number)
        ]

    async def _feed_together(self, registry: Registry, generations: Sequence[Generation]) -> bool:
        found = await self._feeder.look([each.number for each in generations])
        if await self._is_past(registry, generations, found):
            return True
        # Before as well: if the batch cannot be told, the views stay as far behind as this says.
        is_measured = registry.serving in found.checkpoints
        if is_measured:
            _measure(found, found.after)
        try:
            fed = await self._feeder.feed(found)
        except CannotBeFed as stuck:
            return await self._feed_without(registry, generations, stuck)
        self._set_aside.remove(found.checkpoints.keys())
        if is_measured:
            _measure(found, found.batch.through_position)
        if fed.is_level:
            await self._complete_again(found)
        return fed.has_more

    async def _feed_without(
        self, registry: Registry, generations: Sequence[Generation], stuck: CannotBeFed
    ) -> bool:
        """Feeds the other ones.

        Raises:
            CannotBeFed: the one that is stuck is the foremost.
        """
        others = [each for each in generations if each.number != stuck.generation]
        has_more = bool(others) and await self._feed_together(registry, others)
        if stuck.generation == _foremost(registry):
            self._others_have_more = has_more
            raise stuck
        self._set_aside.add(stuck.generation, stuck)
        return has_more

    async def _complete_again(self, found: Found) -> None:
        """Marks what came back not complete: a server of a cluster may have saved it half filled."""
        for generation, checkpoints in found.checkpoints.items():
            if not all(each.is_complete for each in checkpoints):
                log.warning("Redis lost what it had written, told again", generation=generation)
                await self._feeder.complete(generation)

    async def _feed_alone(self, registry: Registry, generation: Generation) -> bool:
        found = await self._feeder.look([generation.number])
        if await self._is_past(registry, [generation], found):
            return True
        is_next_to_serve = generation.number == _foremost(registry)
        if is_next_to_serve:
            _measure(found, found.after)
        fed = await self._feeder.feed(found)
        self._set_aside.remove([generation.number])
        if is_next_to_serve:
            _measure(found, found.batch.through_position)
        if not fed.is_level or generation.state is not GenerationState.BUILDING:
            return fed.has_more
        if await self._feeder.complete(generation.number):
            number = generation.number
            await change_registry(self._connection, lambda registry: registry.with_complete(number))
            position = found.batch.through_position
            log.info("generation complete", generation=number, position=position)
        return True

    async def _still_answering(self, registry: Registry, incarnation: str) -> list[Generation]:
        """Dropped generations that are whole yet: a reader who has not heard of it may ask them.

        Fed until the sweeper takes their checkpoints, they never show less than those that serve.
        """
        answering = []
        for generation in registry.in_state(GenerationState.DROPPING):
            checkpoints = await read_checkpoints(self._connection, generation.number, PARTITIONS)
            is_whole = all(each is not None and each.is_complete for each in checkpoints)
            if is_whole and generation.incarnation == incarnation:
                answering.append(generation)
        return answering

    async def _is_past(
        self, registry: Registry, generations: Sequence[Generation], found: Found
    ) -> bool:
        """True when the log is of another incarnation: these generations tell what never happened.

        Raises:
            LogIsPast: it is the log that is.
        """
        incarnation = found.batch.incarnation
        if all(each.incarnation == incarnation for each in generations):
            return False
        _refuse_past(registry, incarnation)
        log.warning("the log has another incarnation, beginning anew", incarnation=incarnation)
        for generation in generations:
            await delete_checkpoints(self._connection, generation.number)
        await change_registry(
            self._connection, lambda registry: registry.without_older_than(incarnation)
        )
        return True

    async def _begin_generation(self) -> None:
        end = await self._reader.read_end()
        number = await begin_generation(self._connection, end.incarnation, only_if_none=True)
        if number is not None:
            GENERATIONS_BEGUN.inc()
            log.info("generation begun", generation=number, last_position=end.last_position)

    async def _is_kept(self, number: int) -> bool:
        """False of a generation that was dropped since the round began: the sweeper takes it."""
        generation = (await load_registry(self._connection)).find(number)
        return generation is not None and generation.state is not GenerationState.DROPPING

    async def _give_up(self, number: int) -> None:
        # What is left of it will not be fed any more.
        await delete_checkpoints(self._connection, number)
        dropping = GenerationState.DROPPING
        await change_registry(self._connection, lambda registry: registry.with_state(number, dropping))

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
) -> int | None:
    """Registers a new, empty generation, which projectors then fill; returns its number.

    Its checkpoints are there before anyone knows of it: one that is missing later was lost.
    only_if_none: not if another one is already fed; then None, and it is as if nothing had been done.

    Raises:
        LogIsPast: the log has a newer incarnation elsewhere.
    """
    registry = await load_registry(connection)
    _refuse_past(registry, incarnation)
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
        return None
    return number


def _foremost(registry: Registry) -> int:
    """The generation that serves or, while none does, the newest, which is to.

    For its sake any other one waits; if it cannot be fed, the views stand still.
    """
    if registry.serving is not None:
        return registry.serving
    dropping = registry.in_state(GenerationState.DROPPING)
    return max(each.number for each in registry.generations if each not in dropping)


def _refuse_past(registry: Registry, incarnation: str) -> None:
    if incarnation < registry.newest_incarnation:
        raise LogIsPast(incarnation, registry.newest_incarnation)


def _measure(found: Found, shown_position: int) -> None:
    """How far the views are behind, once they show what stands up to a position."""
    batch = found.batch
    POSITION.set(shown_position)
    LAG_EVENTS.set(max(batch.last_position - shown_position, 0))
    not_shown = [event for event in batch.events if event.position > shown_position]
    # Behind a full batch there are more, hardly younger than its last one.
    is_cut = batch.last_position > batch.through_position
    oldest = (not_shown or (batch.events[-1:] if is_cut else ()) or (None,))[0]
    lag = datetime.now(UTC) - oldest.recorded_time if oldest is not None else timedelta()
    LAG_SECONDS.set(lag.total_seconds())
