"""Writing a partition: its views and its checkpoint together, only if the checkpoint is the one read.

So each event takes effect exactly once, and of two projectors one loses, reads again and goes on.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple

from read_models.checkpoints import Checkpoint
from read_models.connections import Connection
from read_models.entries import range_of
from read_models.partitions import (
    PARTITIONS,
    DocumentAddress,
    EntryAddress,
    checkpoint_key,
    generation_pattern,
    key_of,
)
from read_models.pipelining import Argument, Command

UNLINK_KEYS_MAX = 500

# KEYS: the checkpoints of the generations, then one key for each change. ARGV: how many generations;
# for each the checkpoint expected and the new one; for each change what and its argument.
# An entry is removed whatever its summary is, by the limits of read_models.entries.range_of.
# The checkpoints are compared before anything is written: a script that ends early undoes nothing.
_WRITE = """
local count = tonumber(ARGV[1])
for i = 1, count do
  if redis.call('GET', KEYS[i]) ~= ARGV[2 * i] then return 0 end
end
for i = 1, count do redis.call('SET', KEYS[i], ARGV[2 * i + 1]) end
local at = 2 * count + 2
for i = count + 1, #KEYS do
  local what, argument = ARGV[at], ARGV[at + 1]
  if what == 'set' then redis.call('SET', KEYS[i], argument)
  elseif what == 'delete' then redis.call('DEL', KEYS[i])
  elseif what == 'add' then redis.call('ZADD', KEYS[i], 0, argument)
  else redis.call('ZREMRANGEBYLEX', KEYS[i], '[' .. argument .. '\\0', '(' .. argument .. '\\1') end
  at = at + 2
end
return 1
"""


class What(StrEnum):
    """What a change does to its key."""

    SET = "set"
    DELETE = "delete"
    ADD = "add"
    REMOVE = "remove"


class Change(NamedTuple):
    """One change of one key.

    argument: a document's bytes; the member of an index to add; the sort key of the entry to remove.
    """

    name: str
    what: What
    argument: bytes = b""


class GenerationWrite(NamedTuple):
    """What one generation's part of a partition becomes."""

    generation: int
    expected: Checkpoint
    reached: Checkpoint
    changes: Sequence[Change]


async def write_partitions(
    connection: Connection, writes_by_partition: Mapping[int, Sequence[GenerationWrite]]
) -> list[bool]:
    """Writes each partition atomically, all its generations together.

    False where a checkpoint was not the expected one: there nothing was written.
    """
    commands = [_command(partition, writes) for partition, writes in writes_by_partition.items()]
    return [answer == 1 for answer in await connection.call_all(commands)]


async def create_checkpoints(connection: Connection, generation: int, start: Checkpoint) -> None:
    """The checkpoints of a new, empty generation."""
    commands: list[Command] = [
        ("SET", checkpoint_key(generation, partition), str(start), "NX") for partition in PARTITIONS
    ]
    await connection.call_all(commands)


async def read_views(
    connection: Connection, generation: int, addresses: Sequence[DocumentAddress | EntryAddress]
) -> list[bytes | None]:
    """What stands at each address now: a document's bytes, or an entry's whole member."""
    if not addresses:
        return []
    answers = await connection.call_all([_read(generation, each) for each in addresses])
    # An index answers with a list of at most one member.
    return [
        (answer[0] if answer else None) if isinstance(answer, list) else answer for answer in answers
    ]


async def delete_generation(connection: Connection, generation: int) -> int:
    """Deletes every key of a generation and returns how many; safe to repeat.

    The checkpoints go first: whoever still feeds the generation then fails to.
    """
    await delete_checkpoints(connection, generation)
    keys: list[bytes] = []
    deleted_count = 0
    async for key in connection.scan(generation_pattern(generation)):
        keys.append(key)
        if len(keys) == UNLINK_KEYS_MAX:
            deleted_count += await _unlink(connection, keys)
            keys.clear()
    return deleted_count + await _unlink(connection, keys)


async def delete_checkpoints(connection: Connection, generation: int) -> None:
    """From then on nobody answers from the generation, however long ago they looked at the registry."""
    await connection.call_all([("DEL", checkpoint_key(generation, each)) for each in PARTITIONS])


async def _unlink(connection: Connection, keys: Sequence[bytes]) -> int:
    # One key a command: in a cluster they are of many slots.
    commands: list[Command] = [("UNLINK", key) for key in keys]
    return sum(await connection.call_all(commands)) if commands else 0


def _read(generation: int, address: DocumentAddress | EntryAddress) -> Command:
    key = key_of(generation, address.partition, address.name)
    if isinstance(address, EntryAddress):
        return ("ZRANGEBYLEX", key, *range_of(address.sort_key), "LIMIT", 0, 1)
    return ("GET", key)


def _command(partition: int, writes: Sequence[GenerationWrite]) -> Command:
    keys: list[str] = [checkpoint_key(write.generation, partition) for write in writes]
    arguments: list[Argument] = [len(writes)]
    for write in writes:
        arguments += (str(write.expected), str(write.reached))
    for write in writes:
        for change in write.changes:
            keys.append(key_of(write.generation, partition, change.name))
            arguments += (change.what.value, change.argument)
    return ("EVAL", _WRITE, len(keys), *keys, *arguments)
