"""Deletes the keys of generations that were dropped, and of those that nobody knows any more.

Apart from the projector, because a million keys take their time and queries wait for events.
"""

import asyncio
import re
from contextlib import suppress

import structlog

from read_models.connections import REDIS_AWAY, Connection
from read_models.registry import GenerationState, Registry, change_registry, load_registry
from read_models.writing import delete_generation
from serving.reminders import Reminder

log = structlog.get_logger(__name__)

SWEEP_SECONDS = 1.0
"""Between two looks at the registry, which is one small key."""

_GENERATION_OF_KEY = re.compile(rb"g(\d+):\{p\d\d\}:")


class Sweeper:
    """Sweeps until it is drained; a Part of the projection service."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._task: asyncio.Task[None] | None = None
        self._reminder = Reminder()
        self._oldest_seen: int | None = None

    async def start(self) -> None:
        """Begins, in a task of its own."""
        self._task = asyncio.create_task(self._run())

    async def drain(self) -> None:
        """Stops sweeping; what is left is swept after the next start."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        while True:
            try:
                await self.sweep()
            except Exception as error:  # noqa: BLE001 all are recorded, and the next look tries again
                self._report(error)
            await asyncio.sleep(SWEEP_SECONDS)

    def _report(self, error: Exception) -> None:
        if not self._reminder.is_due(type(error).__name__):
            return
        if isinstance(error, REDIS_AWAY):
            log.warning("waiting for a server", reason=str(error).strip())
        else:
            log.error("sweeping failed, trying again", exc_info=error)

    async def sweep(self) -> None:
        """One look: deletes what is dropping, and strays whenever the oldest generation changed."""
        registry = await load_registry(self._connection)
        for generation in registry.in_state(GenerationState.DROPPING):
            await self._delete(generation.number)
            await self._forget(generation.number)
        oldest = min((each.number for each in registry.generations), default=None)
        if oldest != self._oldest_seen:
            for number in await self._strays(registry):
                await self._delete(number)
            self._oldest_seen = oldest

    async def _delete(self, number: int) -> None:
        deleted_count = await delete_generation(self._connection, number)
        log.info("generation deleted", generation=number, deleted_key_count=deleted_count)

    async def _forget(self, number: int) -> None:
        await change_registry(self._connection, lambda registry: registry.without(number))

    async def _strays(self, registry: Registry) -> set[int]:
        """Generations older than all that are registered: their registry was lost.

        A newer one may be about to be registered.
        """
        known = [each.number for each in registry.generations]
        if not known:
            return set()
        found: set[int] = set()
        async for key in self._connection.scan("g*"):
            match = _GENERATION_OF_KEY.match(key)
            if match is not None:
                found.add(int(match[1]))
        return {number for number in found if number < min(known)}
