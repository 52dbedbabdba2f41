"""Aggregates that are one row each: how they are locked, read and written, many at a time."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from command_service.repository import Keys
from command_service.session import Row, Statement
from command_service.world import AggregateT


def load_rows(keys: Keys[str], *, table: str, make: str, read: str) -> list[Statement]:
    """Statements that make missing key rows, lock and read.

    make: inserts key rows from one text[]. read: selects rows, as `assemble_rows` wants them, for one
    text[] of keys in the order of the keys. A row that waited for its lock is returned as it is after
    the wait, so the locking statement may read as well; what it joins may be older.
    """
    statements = [Statement(make, (keys.created,))] if keys.created else []
    if keys.locked:
        statements.append(Statement(f"{read} FOR NO KEY UPDATE OF {table}", (keys.locked,)))
    if keys.shared:
        statements.append(Statement(f"{read} FOR SHARE OF {table}", (keys.shared,)))
    only_read = sorted(set(keys.all) - set(keys.locked) - set(keys.shared))
    return [*statements, Statement(read, (only_read,))] if only_read else statements


def assemble_rows(
    keys: Keys[str], results: Iterable[Sequence[Row]], build: Callable[..., AggregateT]
) -> dict[str, AggregateT | None]:
    """The aggregate of each key, built from the columns of its row; None where there is none.

    The columns begin with the key and the version; a row of version 0 is only there to be locked.
    """
    found: dict[str, AggregateT | None] = dict.fromkeys(keys.all)
    found.update((row[0], build(*row)) for rows in results for row in rows if row[1])
    return found


def columns(rows: Iterable[Sequence[Any]]) -> tuple[list[Any], ...]:
    """Rows turned into one array a column, as unnest() takes them."""
    return tuple(list(column) for column in zip(*rows, strict=True))
