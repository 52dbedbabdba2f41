"""What the read models serve, read as it stands in Redis."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from event_log.tokens import ConsistencyToken
from read_models.checkpoints import Checkpoint
from read_models.connections import Connection
from read_models.entries import to_entry
from read_models.partitions import (
    CHECKPOINT,
    PARTITIONS,
    Address,
    DocumentAddress,
    EntryAddress,
    generation_pattern,
)
from read_models.reading import read_checkpoints
from read_models.views import is_index
from read_models.writing import read_views

POLL_SECONDS_MIN, POLL_SECONDS_MAX = 0.002, 0.05
"""At first often: a view that changes all the time is as old as the token for a moment only."""


@dataclass(frozen=True, slots=True)
class ServedViews:
    """One generation of all views."""

    connection: Connection
    generation: int

    async def checkpoints(self) -> list[Checkpoint | None]:
        """How far each partition has come."""
        return await read_checkpoints(self.connection, self.generation, PARTITIONS)

    async def late_partitions(
        self, token: ConsistencyToken, *, seconds_max: float
    ) -> dict[int, Checkpoint | None]:
        """Waits until every partition has reached the token; returns those that have not in time."""
        deadline = asyncio.get_running_loop().time() + seconds_max
        poll_seconds = POLL_SECONDS_MIN
        while True:
            found = await self.checkpoints()
            late = {
                partition: checkpoint
                for partition, checkpoint in zip(PARTITIONS, found, strict=True)
                if not _has_reached(checkpoint, token)
            }
            if not late or asyncio.get_running_loop().time() > deadline:
                return late
            await asyncio.sleep(poll_seconds)
            poll_seconds = min(2 * poll_seconds, POLL_SECONDS_MAX)

    async def some(self, addresses: Sequence[Address]) -> list[bytes | None]:
        """What stands at these addresses: serialized views, None where nothing stands."""
        found = await read_views(self.connection, self.generation, addresses)
        return [
            to_entry(value).summary if value is not None and isinstance(address, EntryAddress) else value
            for address, value in zip(addresses, found, strict=True)
        ]

    async def every_address(self) -> AsyncIterator[Address]:
        """Where anything stands, some perhaps told twice."""
        async for key in self.connection.scan(generation_pattern(self.generation)):
            _, partition_text, name = key.decode().split(":", 2)
            if name == CHECKPOINT:
                continue
            partition = int(partition_text.strip("{p}"))
            if not is_index(name):
                yield DocumentAddress(partition, name)
                continue
            for member in await self.connection.call("ZRANGE", key, 0, -1):
                yield EntryAddress(partition, name, to_entry(member).sort_key)


def _has_reached(checkpoint: Checkpoint | None, token: ConsistencyToken) -> bool:
    return (
        checkpoint is not None
        and checkpoint.is_complete
        and checkpoint.incarnation == token.incarnation
        and checkpoint.position >= token.position
    )
