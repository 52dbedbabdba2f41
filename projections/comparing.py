"""Compares two generations, key by key, while both are being fed.

Both are written by the same scripts, so their checkpoints are equal whenever one looks; a look reads
both checkpoints and both values in one command. Nothing is paused, and memory stays flat.
"""

import asyncio
import operator
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from read_models.connections import Connection
from read_models.partitions import CHECKPOINT, checkpoint_key, generation_pattern, key_of
from read_models.views import is_index

CHUNK_KEYS_MAX = 200
"""Documents read in one command: well below a millisecond of the server's time."""

DIFFERENCES_TOLD_MAX = 100
"""Differences told by name; beyond it they are counted."""

LOOKS_MAX = 500
LOOK_PAUSE_SECONDS = 0.01
"""Checkpoints differ only while a projector catches up; five seconds mean that none does."""

IsTold = Callable[[Any, Any], bool]
"""Whether what the old and the new generation hold is a difference to tell."""

_INDEX_PAGE = """
return {redis.call('GET', KEYS[1]), redis.call('GET', KEYS[2]),
        redis.call('ZRANGEBYLEX', KEYS[3], ARGV[1], '+', 'LIMIT', 0, ARGV[2]),
        redis.call('ZRANGEBYLEX', KEYS[4], ARGV[1], '+', 'LIMIT', 0, ARGV[2])}
"""


class NotLevel(Exception):
    """The two generations do not reach the same position: is a projector running?"""


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a comparison found.

    different_names: keys without their generation, at most DIFFERENCES_TOLD_MAX of them.
    """

    compared_count: int
    different_count: int
    different_names: tuple[str, ...]


class Comparing:
    """One comparison of two generations."""

    def __init__(
        self,
        connection: Connection,
        generations: tuple[int, int],
        on_progress: Callable[[int], None] = lambda _count: None,
    ) -> None:
        self._connection = connection
        self._generations = generations
        self._on_progress = on_progress
        self._compared_count = 0
        self._different_names: list[str] = []
        self._different_count = 0

    async def run(self) -> Comparison:
        """Compares every key that either generation holds.

        Raises:
            NotLevel: the generations stay apart.
        """
        old, new = self._generations
        async for partition, names in self._chunks(old):
            await self._compare(partition, names)
            self._compared_count += len(names)
            self._on_progress(self._compared_count)
        # What both hold was compared; the new one may hold more.
        async for partition, names in self._chunks(new):
            await self._compare(partition, names, is_told=_is_only_in_new)
        return Comparison(self._compared_count, self._different_count, tuple(self._different_names))

    async def _chunks(self, generation: int) -> AsyncIterator[tuple[int, list[str]]]:
        """All names of a generation but checkpoints, some together, each chunk of one partition."""
        chunks: dict[int, list[str]] = {}
        async for key in self._connection.scan(generation_pattern(generation)):
            _, tag, name = key.decode().split(":", 2)
            if name == CHECKPOINT:
                continue
            partition = int(tag[2:-1])
            chunk = chunks.setdefault(partition, [])
            chunk.append(name)
            if len(chunk) == CHUNK_KEYS_MAX:
                yield partition, chunks.pop(partition)
        for partition, chunk in chunks.items():
            yield partition, chunk

    async def _compare(self, partition: int, names: list[str], is_told: IsTold = operator.ne) -> None:
        documents = [name for name in names if not is_index(name)]
        pairs = await self._documents(partition, documents) if documents else []
        different = [name for name, pair in zip(documents, pairs, strict=True) if is_told(*pair)]
        indexes = [name for name in names if is_index(name)]
        different += [name for name in indexes if await self._index_differs(partition, name, is_told)]
        self._different_count += len(different)
        room = DIFFERENCES_TOLD_MAX - len(self._different_names)
        self._different_names += [f"p{partition:02d}:{name}" for name in different[:room]]

    async def _documents(
        self, partition: int, names: Sequence[str]
    ) -> list[tuple[bytes | None, bytes | None]]:
        checkpoints = [checkpoint_key(each, partition) for each in self._generations]
        keys = [key_of(each, partition, name) for each in self._generations for name in names]
        values = await self._level(partition, ("MGET", *checkpoints, *keys))
        return list(zip(values[: len(names)], values[len(names) :], strict=True))

    async def _index_differs(self, partition: int, name: str, is_told: IsTold) -> bool:
        """Page by page, until a page is told or the last one was the same."""
        start = b"-"
        keys = [
            *(checkpoint_key(each, partition) for each in self._generations),
            *(key_of(each, partition, name) for each in self._generations),
        ]
        while True:
            look = ("EVAL", _INDEX_PAGE, len(keys), *keys, start, CHUNK_KEYS_MAX)
            old, new = await self._level(partition, look)
            if is_told(old, new):
                return True
            if old != new or len(old) < CHUNK_KEYS_MAX:
                return False
            start = b"(" + old[-1]

    async def _level(self, partition: int, look: tuple[Any, ...]) -> list[Any]:
        """What a look finds behind two equal checkpoints."""
        for _ in range(LOOKS_MAX):
            answer: list[Any] = await self._connection.call(*look)
            if answer[0] is not None and answer[0] == answer[1]:
                return answer[2:]
            await asyncio.sleep(LOOK_PAUSE_SECONDS)
        raise NotLevel(f"partition {partition}")


def _is_only_in_new(old: Any, new: Any) -> bool:
    return not old and bool(new)
