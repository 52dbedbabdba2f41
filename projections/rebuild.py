"""Rebuilding the read models while they serve: what `shopkeeper rebuild` drives.

The steps only change the registry; running projectors see it and do the work. So a rebuild may be
watched, left and taken up again by its number, from any machine.

    begin    -> a new generation, filled from the start of the log beside the one that serves
    progress -> until it is complete: from then on both are fed together
    compare  -> every key of both, at equal checkpoints
    switch   -> the new one serves; the old one stays fed, so switching back never goes back in time
    drop     -> the old one is deleted
"""

from collections.abc import Callable
from dataclasses import dataclass

from event_log.reader import LogReader
from projections.comparing import Comparing, Comparison
from projections.projector import LogIsPast, begin_generation
from read_models.checkpoints import Checkpoint
from read_models.connections import Connection
from read_models.partitions import PARTITIONS
from read_models.reading import read_checkpoints
from read_models.registry import GenerationState, Registry, change_registry, load_registry


class RebuildRefused(Exception):
    """The step cannot be taken now; the message says why."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a generation has come. position and last_position: in the log."""

    position: int
    last_position: int
    is_complete: bool


class Rebuild:
    """The steps of a rebuild; each may be repeated."""

    def __init__(self, connection: Connection, reader: LogReader) -> None:
        self._connection = connection
        self._reader = reader

    async def registry(self) -> Registry:
        """All generations, and which one serves."""
        return await load_registry(self._connection)

    async def begin(self) -> int:
        """Asks for a new generation and returns its number.

        Raises:
            RebuildRefused: the log is not the one that the views are told from.
        """
        end = await self._reader.read_end()
        try:
            number = await begin_generation(self._connection, end.incarnation)
        except LogIsPast as error:
            raise RebuildRefused(str(error)) from error
        assert number is not None, "it is begun beside any other"
        return number

    async def progress(self, number: int) -> Progress:
        """How far the generation has come.

        Raises:
            RebuildRefused: there is no such generation any more.
        """
        generation = (await self.registry()).find(number)
        found = await read_checkpoints(self._connection, number, PARTITIONS)
        checkpoints = [each for each in found if each is not None]
        if generation is None or len(checkpoints) < len(found):
            raise RebuildRefused(f"generation {number} is no longer there")
        return Progress(
            position=min(each.position for each in checkpoints),
            last_position=(await self._reader.read_end()).last_position,
            is_complete=generation.state is GenerationState.COMPLETE,
        )

    async def compare(
        self, number: int, on_progress: Callable[[int], None] = lambda _count: None
    ) -> Comparison:
        """Compares the generation that serves with another one.

        Raises:
            RebuildRefused: one of them is not complete.
            NotLevel: no projector keeps them level.
        """
        registry = await self.registry()
        if registry.serving is None:
            raise RebuildRefused("no generation serves")
        _require_complete(registry, number)
        return await Comparing(
            self._connection, (registry.serving, number), on_progress=on_progress
        ).run()

    async def shows_as_much(self, number: int) -> bool:
        """Whether a generation shows all that the one that serves does, and perhaps more.

        Whoever looks at the one does not go back in time then by looking at the other.
        """
        registry = await self.registry()
        if registry.serving is None:
            return True
        # In this order: whatever is told meanwhile is told to the second.
        serving = await read_checkpoints(self._connection, registry.serving, PARTITIONS)
        other = await read_checkpoints(self._connection, number, PARTITIONS)
        return all(_is_as_far(new, old) for old, new in zip(serving, other, strict=True))

    async def switch(self, number: int) -> None:
        """Makes a generation the one that serves, forward or back.

        Raises:
            RebuildRefused: it is not complete, or behind the one that serves.
        """
        _require_complete(await self.registry(), number)
        if not await self.shows_as_much(number):
            raise RebuildRefused(
                f"generation {number} is behind the one that serves: it cannot be fed any more, or no"
                " projections run"
            )

        def serve(registry: Registry) -> Registry:
            _require_complete(registry, number)
            return registry.with_serving(number)

        await change_registry(self._connection, serve)

    async def replace(self, number: int, *, accept_differences: bool = False) -> Comparison:
        """Compares, and switches if the generations are equal or their differences accepted.

        Raises:
            RebuildRefused: they differ, or one is not complete.
        """
        comparison = await self.compare(number)
        if comparison.different_count and not accept_differences:
            names = ", ".join(comparison.different_names[:5])
            raise RebuildRefused(
                f"{comparison.different_count} of {comparison.compared_count} views differ: {names}"
            )
        await self.switch(number)
        return comparison

    async def drop(self, number: int) -> None:
        """Has a generation deleted that does not serve.

        Raises:
            RebuildRefused: it serves.
        """

        def mark(registry: Registry) -> Registry:
            if registry.serving == number:
                raise RebuildRefused(f"generation {number} serves")
            return registry.with_state(number, GenerationState.DROPPING)

        await change_registry(self._connection, mark)


def _is_as_far(new: Checkpoint | None, old: Checkpoint | None) -> bool:
    if new is None or old is None:
        return old is None
    return new.incarnation == old.incarnation and new.position >= old.position


def _require_complete(registry: Registry, number: int) -> None:
    generation = registry.find(number)
    if generation is None or generation.state is not GenerationState.COMPLETE:
        raise RebuildRefused(f"generation {number} is not complete")
