"""Many copies of what the shop has made once, at the speed of COPY.

What is measured is one thing, what has to be there before it is another: making a hundred thousand carts
through the API would take longer than all figures together. So the shop makes one, and its rows and its
events are copied with other ids; whatever columns and fields they have, the shop itself has filled them.
Ids must be of one length: then their places in a payload can be filled without reading it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import uuid4

import psycopg

from event_log.appending import LAST_POSITION, LOCK_LOG, NOTIFY_CHANNEL

Connection = psycopg.Connection[tuple[Any, ...]]

_COLUMNS = """
SELECT column_name FROM information_schema.columns
WHERE table_schema = current_schema AND table_name = %s ORDER BY ordinal_position
"""
_EVENT_COLUMNS = "position, recorded_time, context, type, key, payload, actor, request_id"
_EVENT_TYPES = ("int8", "timestamptz", "text", "text", "text", "bytea", "text", "uuid")


class Event(NamedTuple):
    """An event without its place in the log."""

    context: str
    type: str
    key: str
    payload: bytes

    def renamed(self, names: Mapping[str, str]) -> "Event":
        """The same of something else: each name by another of the same length."""
        key, payload = self.key, self.payload
        for old, new in names.items():
            assert len(old) == len(new), "a name of another length"
            key, payload = key.replace(old, new), payload.replace(old.encode(), new.encode())
        return Event(self.context, self.type, key, payload)


def events_of(connection: Connection, keys: Sequence[str]) -> list[Event]:
    """All events of these keys, in their order."""
    rows = connection.execute(
        "SELECT context, type, key, payload FROM events WHERE key = ANY(%s) ORDER BY position",
        [list(keys)],
    )
    return [Event(*row) for row in rows]


def append_events(connection: Connection, events: Iterable[Event]) -> int:
    """Puts events at the end of the log, as a transaction of the shop does; how many they were."""
    connection.execute(LOCK_LOG)
    [position] = _row(connection, LAST_POSITION)
    first, now, request_id = position, datetime.now(UTC), uuid4()
    with connection.cursor().copy(
        f"COPY events ({_EVENT_COLUMNS}) FROM STDIN WITH (FORMAT binary)".encode()
    ) as copy:
        copy.set_types(_EVENT_TYPES)
        for event in events:
            position += 1
            copy.write_row((position, now, *event, "benchmark", request_id))
    connection.execute("SELECT pg_notify(%s, %s)", [NOTIFY_CHANNEL, str(position)])
    return int(position - first)


def copy_rows(
    connection: Connection,
    table: str,
    template: Mapping[str, str],
    copies: Mapping[str, str],
    count: int,
) -> None:
    """Copies the rows of a table whose columns have the values of `template`, so many times.

    copies: what a column becomes, in SQL, where `number` counts from 0 and `template` is the row.
    """
    names = [name for (name,) in connection.execute(_COLUMNS, [table])]
    chosen = ", ".join(copies.get(name, f"template.{name}") for name in names)
    matching = " AND ".join(f"template.{name} = %({name})s" for name in template)
    connection.execute(
        f"INSERT INTO {table} ({', '.join(names)}) SELECT {chosen} FROM {table} AS template,"
        f" generate_series(0, {count} - 1) AS number WHERE {matching}".encode(),
        template,
    )


def analyze(database_url: str, tables: Sequence[str]) -> None:
    """Has the planner know how large the tables have become."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(f"ANALYZE {', '.join(tables)}".encode())


def in_copies(events: Sequence[Event], names: Iterable[Mapping[str, str]]) -> Iterator[Event]:
    """The events, once for each set of names."""
    for each in names:
        for event in events:
            yield event.renamed(each)


def _row(connection: Connection, query: str) -> tuple[Any, ...]:
    row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return row


def checkpoint(database_url: str) -> None:
    """Has what was written so far on disk: whoever is measured next does not pay for it."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("CHECKPOINT")
