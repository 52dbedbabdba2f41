"""Reading views together with the checkpoint that tells how new they are."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from read_models.checkpoints import Checkpoint
from read_models.connections import Connection
from read_models.entries import Entry, Place, range_after, to_entry
from read_models.partitions import CHECKPOINT, PARTITIONS, DocumentAddress, checkpoint_key, key_of
from read_models.pipelining import Command

# One command is one moment. A pipeline is not: a flush between its commands would make an empty page
# of what is only missing.
_PAGE = """
return {redis.call('GET', KEYS[1]),
        redis.call('ZRANGEBYLEX', KEYS[2], ARGV[1], '+', 'LIMIT', 0, ARGV[2])}
"""


Checkpoints = Mapping[int, Checkpoint | None]
"""By partition; None where there is none."""


class Documents(NamedTuple):
    """Values in the order of their addresses, None where there is none.

    Each is of the same moment as the checkpoint of its partition.
    """

    checkpoints: Checkpoints
    values: list[bytes | None]


class Pages(NamedTuple):
    """Entries of an index in some partitions, each part of the moment of its partition's checkpoint."""

    checkpoints: Checkpoints
    entries: list[Entry]


async def read_checkpoints(
    connection: Connection, generation: int, partitions: Sequence[int]
) -> list[Checkpoint | None]:
    """The checkpoints of some partitions; None where there is none."""
    commands: list[Command] = [("GET", checkpoint_key(generation, each)) for each in partitions]
    return [Checkpoint.parse(text) for text in await connection.call_all(commands)]


async def read_documents(
    connection: Connection, generation: int, addresses: Sequence[DocumentAddress]
) -> Documents:
    """The documents at these addresses: by one MGET; in a cluster by one for each partition."""
    if connection.spans_partitions:
        return _documents(addresses, await connection.call(*_mget(generation, addresses)))
    groups = _by_partition(addresses)
    answers = await connection.call_all([_mget(generation, group) for group in groups])
    checkpoints: dict[int, Checkpoint | None] = {}
    values: dict[DocumentAddress, bytes | None] = {}
    for group, answer in zip(groups, answers, strict=True):
        found = _documents(group, answer)
        checkpoints |= found.checkpoints
        values |= zip(group, found.values, strict=True)
    return Documents(checkpoints, [values[address] for address in addresses])


async def read_pages(
    connection: Connection,
    generation: int,
    name_by_partition: Mapping[int, str],
    *,
    after: Place | None,
    limit: int,
) -> Pages:
    """At most `limit` entries that follow a place, of one index in each partition given."""
    commands: list[Command] = [
        (
            *("EVAL", _PAGE, 2, checkpoint_key(generation, partition)),
            *(key_of(generation, partition, name), range_after(after), limit),
        )
        for partition, name in name_by_partition.items()
    ]
    answers = await connection.call_all(commands)
    checkpoints = [Checkpoint.parse(checkpoint) for checkpoint, _ in answers]
    return Pages(
        dict(zip(name_by_partition, checkpoints, strict=True)),
        [to_entry(member) for _, members in answers for member in members],
    )


def _by_partition(addresses: Sequence[DocumentAddress]) -> list[list[DocumentAddress]]:
    groups: dict[int, list[DocumentAddress]] = {}
    for address in addresses:
        groups.setdefault(address.partition, []).append(address)
    return list(groups.values())


def _mget(generation: int, addresses: Sequence[DocumentAddress]) -> Command:
    """Asks for the checkpoints of all partitions that the addresses are of, then for the documents."""
    beginnings = _beginnings(generation)
    checkpoints = [beginnings[partition] + CHECKPOINT for partition in _partitions(addresses)]
    return ("MGET", *checkpoints, *[beginnings[partition] + name for partition, name in addresses])


def _documents(addresses: Sequence[DocumentAddress], answer: list[bytes | None]) -> Documents:
    """What was answered to `_mget` of the same addresses."""
    partitions = _partitions(addresses)
    checkpoints = map(Checkpoint.parse, answer[: len(partitions)])
    return Documents(dict(zip(partitions, checkpoints, strict=True)), answer[len(partitions) :])


def _partitions(addresses: Sequence[DocumentAddress]) -> list[int]:
    """Each once, always in the same order."""
    return list(dict.fromkeys([partition for partition, _ in addresses]))


@lru_cache(maxsize=8)
def _beginnings(generation: int) -> list[str]:
    """How the keys of each partition begin."""
    return [key_of(generation, partition, "") for partition in PARTITIONS]
