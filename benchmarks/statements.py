"""How many statements a command takes, as PostgreSQL counts them."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

SETTING_SECONDS_MAX = 10.0
"""Until all sessions have been told of a changed setting."""

POLL_SECONDS = 0.01

# Only what runs with every command: workers look around now and then.
_COUNT = """
SELECT coalesce(sum(calls), 0)::float8 FROM pg_stat_statements
WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) AND calls >= %s
"""


class Statements:
    """Counts while it is switched on."""

    def __init__(self, connection: psycopg.Connection[tuple[float, ...]]) -> None:
        self._connection = connection

    def reset(self) -> None:
        """Forgets what was counted."""
        self._connection.execute("SELECT pg_stat_statements_reset()")

    def each(self, command_count: int) -> float:
        """Statements of a command; so many, one at a time, have run since the reset."""
        row = self._connection.execute(_COUNT, [command_count // 2]).fetchone()
        assert row is not None
        return row[0] / command_count


@contextmanager
def counting(database_url: str) -> Iterator[Statements]:
    """Counts statements inside the block; outside of it no figure pays for that."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
        track_statements(database_url, "top")
        try:
            yield Statements(connection)
        finally:
            track_statements(database_url, "none")


def track_statements(database_url: str, which: str) -> None:
    """Has the server count the statements of clients, `top`, or `none`."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(f"ALTER SYSTEM SET pg_stat_statements.track = {which}".encode())
        connection.execute("SELECT pg_reload_conf()")
    end = time.monotonic() + SETTING_SECONDS_MAX
    # The server tells its sessions before it lets in the next one, and they heed it with the next
    # statement: as soon as a new session has it so, all have.
    while _tracked_by_a_new_session(database_url) != which:
        if time.monotonic() > end:
            raise TimeoutError(f"pg_stat_statements.track has not become {which}")
        time.sleep(POLL_SECONDS)


def _tracked_by_a_new_session(database_url: str) -> str:
    with psycopg.connect(database_url, autocommit=True) as connection:
        row = connection.execute("SHOW pg_stat_statements.track").fetchone()
    assert row is not None
    return str(row[0])
