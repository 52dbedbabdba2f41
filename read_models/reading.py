"""Reading views together with the checkpoint that tells how new they are."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from read_models.checkpoints import Checkpoint
from read_models.connections import Connection
from read_models.entries import Entry, Place, range_after, to_entry
from read_models.partitions import checkpoint_key, key_of
from read_models.pipelining import Command

# One command is one moment. A pipeline is not: a flush between its commands would make an empty page
# of what is only missing.
_PAGE = """
return {redis.call('GET', KEYS[1]),
        redis.call('ZRANGEBYLEX', KEYS[2], ARGV[1], '+', 'LIMIT', 0, ARGV[2])}
"""


class Documents(NamedTuple):
    """Values of one partition and its checkpoint, all of one moment. None is absent."""

    checkpoint: Checkpoint | None
    values: list[bytes | None]


class Page(NamedTuple):
    """Entries of one index, or of one partition's part of it, and the checkpoint of that moment."""

    checkpoint: Checkpoint | None
    entries: list[Entry]


async def read_checkpoints(
    connection: Connection, generation: int, partitions: Sequence[int]
) -> list[Checkpoint | None]:
    """The checkpoints of some partitions; None where there is none."""
    commands: list[Command] = [("GET", checkpoint_key(generation, each)) for each in partitions]
    return [Checkpoint.parse(text) for text in await connection.call_all(commands)]


async def read_documents(
    connection: Connection, generation: int, names_by_partition: Mapping[int, Sequence[str]]
) -> list[Documents]:
    """Values by name, partition by partition in the order given: one MGET each, sent together."""
    commands: list[Command] = [
        ("MGET", checkpoint_key(generation, partition), *_keys(generation, partition, names))
        for partition, names in names_by_partition.items()
    ]
    return [_documents(values) for values in await connection.call_all(commands)]


async def read_pages(
    connection: Connection,
    generation: int,
    name_by_partition: Mapping[int, str],
    *,
    after: Place | None,
    limit: int,
) -> list[Page]:
    """At most `limit` entries that follow a place, of one index in each partition given."""
    commands: list[Command] = [
        (
            *("EVAL", _PAGE, 2, checkpoint_key(generation, partition)),
            *(key_of(generation, partition, name), range_after(after), limit),
        )
        for partition, name in name_by_partition.items()
    ]
    return [_page(answer) for answer in await connection.call_all(commands)]


def _keys(generation: int, partition: int, names: Sequence[str]) -> list[str]:
    beginning = key_of(generation, partition, "")
    return [beginning + name for name in names]


def _documents(values: list[bytes | None]) -> Documents:
    return Documents(Checkpoint.parse(values[0]), values[1:])


def _page(answer: list[Any]) -> Page:
    checkpoint, members = answer
    return Page(Checkpoint.parse(checkpoint), [to_entry(member) for member in members])
