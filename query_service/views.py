"""Views as they are asked for: of the generation that serves, complete, and as fresh as asked."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

from query_service.errors import (
    LogIncarnationChanged,
    ReadModelBehind,
    ReadModelRebuilding,
    ReadModelUnavailable,
)
from query_service.freshness import ANSWER_MARGIN_SECONDS, CheckpointWatch, Freshness
from read_models.checkpoints import Checkpoint, Token
from read_models.connections import REDIS_AWAY, Connection
from read_models.entries import Entry, Place
from read_models.partitions import DocumentAddress
from read_models.reading import Documents, Page, read_documents, read_pages
from read_models.registry import GenerationState, Registry, load_registry

AnswerT = TypeVar("AnswerT")
FoundT = TypeVar("FoundT", Documents, Page)

REGISTRY_SECONDS_MAX = 1.0
"""How old the known registry may be. Generations that may serve are level: changing late is harmless."""

INCARNATION_POLL_SECONDS = 0.02


class Views:
    """Reads views; what cannot be told for certain is refused, never guessed."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._watch = CheckpointWatch(connection)
        self._registry = Registry()
        self._registry_read_time = float("-inf")

    async def documents(
        self, addresses: Sequence[DocumentAddress], freshness: Freshness
    ) -> list[bytes | None]:
        """The documents at these addresses, in their order; None where there is none.

        Raises:
            LogIncarnationChanged, ReadModelBehind, ReadModelRebuilding, ReadModelUnavailable.
        """
        names: dict[int, dict[str, None]] = {}
        for address in addresses:
            names.setdefault(address.partition, {})[address.name] = None
        wanted = {partition: list(of_one) for partition, of_one in names.items()}

        async def read(generation: int) -> list[Documents]:
            return await read_documents(self._connection, generation, wanted)

        _, found = await self._read(read, list(wanted), freshness, preferred=None)
        values = {
            DocumentAddress(partition, name): value
            for (partition, of_one), documents in zip(wanted.items(), found, strict=True)
            for name, value in zip(of_one, documents.values, strict=True)
        }
        return [values[address] for address in addresses]

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

        generation: the one to read if it still may serve, so that pages belong together.

        Raises:
            as `documents`.
        """

        async def read(number: int) -> list[Page]:
            return await read_pages(
                self._connection, number, name_by_partition, after=after, limit=limit
            )

        number, pages = await self._read(read, list(name_by_partition), freshness, preferred=generation)
        entries = sorted(entry for page in pages for entry in page.entries)
        return number, entries[:limit]

    async def close(self) -> None:
        """Stops waiting for anyone."""
        await self._watch.close()

    async def _read(
        self,
        read: Callable[[int], Awaitable[list[FoundT]]],
        partitions: Sequence[int],
        freshness: Freshness,
        *,
        preferred: int | None,
    ) -> tuple[int, list[FoundT]]:
        """What `read` finds once every partition of it is complete and fresh enough, and where."""
        until = freshness.until
        await self._refresh_if_old(until)
        generation = self._usable(preferred)
        while True:
            found = await _in_time(read(generation), until)
            checkpoints = [each.checkpoint for each in found]
            if not all(each is not None and each.is_complete for each in checkpoints):
                generation = await self._another_than(generation, until)
                continue
            obstacle = _first_obstacle(partitions, checkpoints, freshness.token)
            if obstacle is None:
                return generation, found
            token, partition, checkpoint = obstacle
            if checkpoint.incarnation != token.incarnation:
                generation = await self._generation_of(token, until)
            elif not await self._watch.reached(generation, partition, token.position, until):
                raise ReadModelBehind(position=token.position)

    def _usable(self, preferred: int | None) -> int:
        known = self._registry.find(preferred) if preferred is not None else None
        if known is not None and known.state is GenerationState.COMPLETE:
            return known.number
        if self._registry.serving is None:
            raise ReadModelRebuilding
        return self._registry.serving

    async def _another_than(self, generation: int, until: float) -> int:
        """The generation that serves now, after this one turned out not to.

        Raises:
            ReadModelRebuilding: there is no other.
        """
        await self._refresh(until)
        if self._registry.serving in (None, generation):
            raise ReadModelRebuilding
        return self._usable(None)

    async def _generation_of(self, token: Token, until: float) -> int:
        """The serving generation, once it is of the token's incarnation.

        A token may be newer than all views (a backup was restored, the projector has yet to notice)
        or of a past that no longer holds. Only of a known past can this be told at once.

        Raises:
            LogIncarnationChanged, ReadModelBehind, ReadModelRebuilding.
        """
        loop = asyncio.get_running_loop()
        while True:
            await self._refresh(until)
            serving = self._registry.find(self._usable(None))
            if serving is not None and serving.incarnation == token.incarnation:
                return serving.number
            is_last_look = until - loop.time() < INCARNATION_POLL_SECONDS
            if token.incarnation in self._registry.past_incarnations or is_last_look:
                raise LogIncarnationChanged(token_incarnation=token.incarnation)
            await asyncio.sleep(INCARNATION_POLL_SECONDS)

    async def _refresh_if_old(self, until: float) -> None:
        age_seconds = asyncio.get_running_loop().time() - self._registry_read_time
        # While none serves, each query looks whether one does by now.
        if self._registry.serving is None or age_seconds > REGISTRY_SECONDS_MAX:
            await self._refresh(until)

    async def _refresh(self, until: float) -> None:
        self._registry = await _in_time(load_registry(self._connection), until)
        self._registry_read_time = asyncio.get_running_loop().time()


def _first_obstacle(
    partitions: Sequence[int], checkpoints: Sequence[Checkpoint | None], token: Token | None
) -> tuple[Token, int, Checkpoint] | None:
    """The first partition that is not as fresh as asked."""
    if token is None:
        return None
    for partition, checkpoint in zip(partitions, checkpoints, strict=True):
        if checkpoint is None:
            continue
        is_other = checkpoint.incarnation != token.incarnation
        if is_other or checkpoint.position < token.position:
            return token, partition, checkpoint
    return None


async def _in_time(answer: Awaitable[AnswerT], until: float) -> AnswerT:
    """What Redis answers. Whatever becomes of it, the caller is told so within its deadline.

    Raises:
        ReadModelUnavailable: Redis is away, or too slow.
    """
    try:
        # A little later than who waits for the views gives up: there is time for one more look.
        async with asyncio.timeout_at(until + ANSWER_MARGIN_SECONDS / 2):
            return await answer
    except (*REDIS_AWAY, TimeoutError) as error:
        raise ReadModelUnavailable from error
