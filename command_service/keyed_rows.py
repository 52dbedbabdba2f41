"""Aggregates that are one row each, or hang from one: how they are locked, read and written together."""

from collections.abc import Callable, Iterable, Sequence, Set
from typing import Any

import sqlalchemy as sa

from command_service.database_failures import Interrupted
from command_service.pipeline import Row, Statement
from command_service.unit_of_work import Keys
from command_service.world import AggregateT, KeyT


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
    return [*statements, Statement(read, (keys.read,))] if keys.read else statements


def lock_roots(keys: Keys[str], *, make: str, lock: str) -> list[Statement]:
    """Statements that make missing roots and lock them: rows that are there for the lock alone.

    make: inserts roots from one text[]. lock: selects the keys of one text[] that have one, in order.
    What hangs from the roots is to be read by a statement of its own, after the locks: what the locking
    one joins is as old as its own beginning.
    """
    statements = [Statement(make, (keys.created,))] if keys.created else []
    if keys.locked:
        statements.append(Statement(f"{lock} FOR NO KEY UPDATE", (keys.locked,)))
    return [*statements, Statement(f"{lock} FOR SHARE", (keys.shared,))] if keys.shared else statements


def without_root(keys: Keys[str], results: Iterable[Sequence[Row]]) -> set[str]:
    """The keys that were to be locked and were not, for they had no root: they are absent.

    Also if a later statement finds rows of them. Those came to be in between, others may be changing
    them at this moment, and nothing can be decided on them. results: of `lock_roots`.
    """
    locked = {row[0] for of_statement in results for row in of_statement}
    return {*keys.locked, *keys.shared} - locked


def assemble_rows(
    keys: Keys[str], results: Iterable[Sequence[Row]], build: Callable[..., AggregateT]
) -> dict[str, AggregateT | None]:
    """The aggregate of each key, built from the columns of its row; None where there is none.

    The columns begin with the key and the version; a row of version 0 is only there to be locked.

    Raises:
        Interrupted: see `check_key_rows`.
    """
    rows = [row for of_statement in results for row in of_statement]
    check_key_rows(keys, {row[0] for row in rows})
    found: dict[str, AggregateT | None] = dict.fromkeys(keys.all)
    found.update((row[0], build(*row)) for row in rows if row[1])
    return found


def check_key_rows(keys: Keys[KeyT], found: Set[KeyT]) -> None:
    """Refuses to go on where a key is to be created and has no row, so that its absence is not locked.

    It was there when we came to make it, and deleted while we waited to lock it: the next attempt makes
    one.

    Raises:
        Interrupted: a row is missing.
    """
    if keys.created and not set(keys.created) <= found:
        raise Interrupted("a key row was deleted while it was being locked", code="40")


def take_back_rows(table: sa.Table, keys: Iterable[Any]) -> Statement:
    """Deletes those of the key rows that this very transaction made.

    xmin, the transaction that wrote a row, is what makes it safe. A row that others may have seen must
    stay: one who found it there in its INSERT, and now waits to lock it, would come away with nothing
    and create nothing. Nobody has seen ours: whoever wants its key waits in the INSERT for our end, and
    then makes a row of its own.
    """
    names = [column.name for column in table.primary_key.columns]
    arrays = ", ".join("%s::text[]" for _ in names)
    sql = (
        f"DELETE FROM {table.name} WHERE ({', '.join(names)}) IN (SELECT * FROM unnest({arrays}))"
        " AND xmin = pg_current_xact_id()::xid"
    )
    return Statement(sql, columns((key,) if isinstance(key, str) else key for key in keys))


def columns(rows: Iterable[Sequence[Any]]) -> tuple[list[Any], ...]:
    """Rows turned into one array a column, as unnest() takes them."""
    return tuple(list(column) for column in zip(*rows, strict=True))
