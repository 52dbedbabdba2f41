"""Reading views together with the checkpoint that tells how new they are."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from read_models.checkpoints import Checkpoint
from read_models.connections import Connection
from read_models.entries import Entry, Place, range_after, to_entry
from read_models.partitions import CHECKPOINT, PARTITIONS, checkpoint_key, key_of
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
    """Values in the order asked for, None where there is none.

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
    connection: Connection, generation: int, partitions: Sequence[int], names: Sequence[str]
) -> Documents:
    """The documents of these names, each in its partition: by one MGET, in a cluster one a partition.

    Addresses in two columns: to make and take apart a hundred pairs takes longer than all the rest.
    """
    if connection.spans_partitions:
        return _documents(partitions, await connection.call(*_mget(generation, partitions, names)))
    names_by_partition: dict[int, list[str]] = {}
    for partition, name in zip(partitions, names, strict=True):
        names_by_partition.setdefault(partition, []).append(name)
    answers = await connection.call_all(
        [_mget(generation, [of] * len(some), some) for of, some in names_by_partition.items()]
    )
    checkpoints = {of: answer[0] for of, answer in zip(names_by_partition, answers, strict=True)}
    values = {
        (of, name): value
        for (of, some), answer in zip(names_by_partition.items(), answers, strict=True)
        for name, value in zip(some, answer[1:], strict=True)
    }
    in_order = [values[address] for address in zip(partitions, names, strict=True)]
    return _documents(partitions, [*checkpoints.values(), *in_order])


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


def _mget(generation: int, partitions: Sequence[int], names: Sequence[str]) -> Command:
    """Asks for the checkpoint of each of these partitions, then for the documents."""
    beginnings = _beginnings(generation)
    checkpoints = [beginnings[partition] + CHECKPOINT for partition in dict.fromkeys(partitions)]
    keys = [beginnings[partition] + name for partition, name in zip(partitions, names, strict=True)]
    return ("MGET", *checkpoints, *keys)


def _documents(partitions: Sequence[int], answer: list[bytes | None]) -> Documents:
    """What was answered to `_mget` of the same partitions."""
    each_once = dict.fromkeys(partitions)
    checkpoints = map(Checkpoint.parse, answer[: len(each_once)])
    return Documents(dict(zip(each_once, checkpoints, strict=True)), answer[len(each_once) :])


@lru_cache(maxsize=8)
def _beginnings(generation: int) -> list[str]:
    """How the keys of each partition begin."""
    return [key_of(generation, partition, "") for partition in PARTITIONS]
