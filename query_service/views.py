"""Views as they are asked for: of the generation that serves, complete, and as fresh as asked."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

from query_service.errors import (
    LogIncarnationChanged,
    ReadModelBehind,
    ReadModelRebuilding,
    ReadModelUnavailable,
    TooManyQueries,
)
from query_service.freshness import (
    ANSWER_MARGIN_SECONDS,
    WAIT_SECONDS_MAX,
    CheckpointWatch,
    Freshness,
    freshness,
)
from query_service.generations import REGISTRY_SECONDS_MAX, RegistryWatch
from read_models.checkpoints import Checkpoint, Token
from read_models.connections import REDIS_AWAY, Connection
from read_models.entries import Entry, Place
from read_models.partitions import DocumentAddress, partitions_of
from read_models.pipelining import TooManyQuestions
from read_models.reading import Checkpoints, Documents, Pages, read_documents, read_pages
from read_models.registry import GenerationState
from read_models.views import Document
from serving.interceptor import ServicerContext

AnswerT = TypeVar("AnswerT")
FoundT = TypeVar("FoundT", Documents, Pages)

LATE_SECONDS = 0.05
"""A timer rings within a millisecond of its time, and much later where many have their turn first."""


class Views:
    """Reads views; what cannot be told for certain is refused, never guessed."""

    def __init__(
        self,
        connection: Connection,
        *,
        in_flight_max: int,
        wait_seconds_max: float = WAIT_SECONDS_MAX,
    ) -> None:
        """in_flight_max: queries at once, those that wait for the views included.

        wait_seconds_max: how long these wait, unless their callers have less time.
        """
        self._connection = connection
        self._wait_seconds_max = wait_seconds_max
        self._in_flight_max = in_flight_max
        self._in_flight_count = 0
        self._checkpoints = CheckpointWatch(connection)
        self._registry = RegistryWatch(connection)

    def freshness(self, at_least_as_fresh: str, context: ServicerContext) -> Freshness:
        """What a request asks for, and until when.

        Raises:
            InvalidField: the text was never a token.
        """
        return freshness(at_least_as_fresh, context, wait_seconds_max=self._wait_seconds_max)

    async def documents(
        self, addresses: Sequence[DocumentAddress], freshness: Freshness
    ) -> list[bytes | None]:
        """The documents at these addresses, in their order; None where there is none.

        Raises:
            LogIncarnationChanged, ReadModelBehind, ReadModelRebuilding, ReadModelUnavailable,
            TooManyQueries.
        """
        partitions, names = zip(*addresses, strict=True)
        return await self._documents(partitions, names, freshness)

    async def documents_of(
        self, kind: Document[Any], document_ids: Sequence[str], freshness: Freshness
    ) -> list[bytes | None]:
        """The documents of one kind, by their ids: as `documents`, and quicker where they are many."""
        if not document_ids:
            return []
        partitions, names = partitions_of(document_ids), kind.names(document_ids)
        return await self._documents(partitions, names, freshness)

    async def entries(
        self,
        name_by_partition: Mapping[int, str],
        freshness: Freshness,
        *,
        after: Place | None,
        limit: int,
        generation: int | None,
    ) -> tuple[int, list[Entry]]:
        """The first entries that follow a place, merged over the partitions, and whose they are.

        generation: the one to read if it still may serve and is as fresh as asked, so that pages belong
        together.

        Raises:
            as `documents`.
        """

        def read(number: int) -> Awaitable[Pages]:
            return read_pages(self._connection, number, name_by_partition, after=after, limit=limit)

        number, found = await self._read(read, freshness, preferred=generation)
        return number, sorted(found.entries)[:limit]

    async def close(self) -> None:
        """Stops waiting for anyone."""
        await self._checkpoints.close()
        await self._registry.close()

    async def _documents(
        self, partitions: Sequence[int], names: Sequence[str], freshness: Freshness
    ) -> list[bytes | None]:
        def read(generation: int) -> Awaitable[Documents]:
            return read_documents(self._connection, generation, partitions, names)

        _, found = await self._read(read, freshness, preferred=None)
        return found.values

    async def _read(
        self,
        read: Callable[[int], Awaitable[FoundT]],
        freshness: Freshness,
        *,
        preferred: int | None,
    ) -> tuple[int, FoundT]:
        if self._in_flight_count >= self._in_flight_max:
            raise TooManyQueries
        self._in_flight_count += 1
        try:
            return await self._read_until_fresh(read, freshness, preferred=preferred)
        finally:
            self._in_flight_count -= 1

    async def _read_until_fresh(
        self,
        read: Callable[[int], Awaitable[FoundT]],
        freshness: Freshness,
        *,
        preferred: int | None,
    ) -> tuple[int, FoundT]:
        """What `read` finds once every partition of it is complete and fresh enough, and where."""
        until = freshness.until
        if self._registry.is_old:
            await self._in_time(self._registry.refresh(), until)
        generation = self._usable(preferred)
        while True:
            found = await self._in_time(read(generation), until)
            if not all(each is not None and each.is_complete for each in found.checkpoints.values()):
                generation = await self._another_than(generation, until)
                continue
            obstacle = _first_obstacle(found.checkpoints, freshness.token)
            if obstacle is None:
                return generation, found
            token, partition, checkpoint = obstacle
            if checkpoint.incarnation != token.incarnation:
                generation = await self._generation_of(token, until)
            else:
                generation = await self._when_reached(generation, partition, token.position, until)

    async def _when_reached(self, generation: int, partition: int, position: int, until: float) -> int:
        """The generation to read once it may be so far: this one, or the one that serves in its place.

        Raises:
            ReadModelBehind: time is up.
        """
        if generation != self._registry.known.serving:
            # One that is kept may have been set aside, and stand still for ever.
            return self._usable(None)
        look_time = min(until, asyncio.get_running_loop().time() + REGISTRY_SECONDS_MAX)
        if await self._checkpoints.reached(generation, partition, position, look_time):
            return generation
        if look_time == until:
            raise ReadModelBehind(position=position)
        # So may the one that served.
        await self._in_time(self._registry.refresh(), until)
        return self._usable(None)

    def _usable(self, preferred: int | None) -> int:
        registry = self._registry.known
        generation = registry.find(preferred) if preferred is not None else None
        if generation is not None and generation.state is GenerationState.COMPLETE:
            return generation.number
        if registry.serving is None:
            raise ReadModelRebuilding
        return registry.serving

    async def _another_than(self, generation: int, until: float) -> int:
        """The generation that serves now, after this one turned out not to.

        Raises:
            ReadModelRebuilding: there is no other.
        """
        await self._in_time(self._registry.refresh(), until)
        if self._registry.known.serving in (None, generation):
            raise ReadModelRebuilding
        return self._usable(None)

    async def _generation_of(self, token: Token, until: float) -> int:
        """The serving generation, once it is of the token's incarnation.

        A token of an older one is of a past that no longer holds. One of a newer is of a log that the
        projector has yet to notice (a backup was restored): that is waited for.

        Raises:
            LogIncarnationChanged, ReadModelBehind.
        """
        await self._in_time(self._registry.refresh(), until)
        while True:
            registry = self._registry.known
            serving = None if registry.serving is None else registry.find(registry.serving)
            if serving is not None and serving.incarnation == token.incarnation:
                return serving.number
            if token.incarnation < registry.newest_incarnation:
                raise LogIncarnationChanged(token_incarnation=token.incarnation)
            if not await self._registry.changed(until):
                raise ReadModelBehind(position=token.position)

    async def _in_time(self, answer: Awaitable[AnswerT], until: float) -> AnswerT:
        """What Redis answers. Whatever becomes of it, the caller is told so within its deadline.

        Raises:
            ReadModelUnavailable: Redis is away, or too slow.
            TooManyQueries: this process is, or as many as it may answer at once wait for Redis already.
        """
        # A little later than who waits for the views gives up: there is time for one more look.
        last_moment = until + ANSWER_MARGIN_SECONDS / 2
        loop = asyncio.get_running_loop()
        try:
            if last_moment - loop.time() > self._connection.silence_seconds_max:
                # Redis is given up before that: a timer would cost more than all the rest of this.
                return await answer
            async with asyncio.timeout_at(last_moment):
                return await answer
        except TooManyQuestions as error:
            raise TooManyQueries from error
        except REDIS_AWAY as error:
            raise ReadModelUnavailable from error
        except TimeoutError as error:
            if loop.time() - last_moment > LATE_SECONDS:
                # Our own clock rang late: whatever Redis said may lie there unread.
                raise TooManyQueries from error
            raise ReadModelUnavailable from error


def _first_obstacle(
    checkpoints: Checkpoints, token: Token | None
) -> tuple[Token, int, Checkpoint] | None:
    """The first partition that is not as fresh as asked."""
    if token is None:
        return None
    for partition, checkpoint in checkpoints.items():
        if checkpoint is None:
            continue
        is_other = checkpoint.incarnation != token.incarnation
        if is_other or checkpoint.position < token.position:
            return token, partition, checkpoint
    return None
