"""What is seen of PostgreSQL and Valkey at a moment: rows, sessions, and memory that holds no data."""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import psutil
import psycopg
import redis

COUNTS = {
    "carts that are kept": "SELECT count(*) FROM carts WHERE NOT is_forgotten",
    "payment errands": "SELECT count(*) FROM payments WHERE errand_task IS NOT NULL",
}

TABLES = """
SELECT relname FROM pg_class
WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY relname
"""
SESSIONS = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'shopkeeper%'"

VALKEY_KEYS = "keys of Valkey"
VALKEY_KEYS_KIB = "KiB of Valkey's keys"

POSTGRES = "PostgreSQL, private"
"""Resident memory that its processes do not share, of all of them. What they share is made as large as
it will be when the server starts, but a page counts as resident only once it is touched: shared_buffers
fill for hours, and neither RSS nor PSS can be flat until then. What leaks in a server is what a process
allocates for itself: plans, caches of the catalogue, a session's contexts."""

VALKEY_REST = "Valkey, beside its keys"
"""used_memory without the keys and the table of them: buffers of clients, scripts, what it keeps for
itself. It has no reason to grow with the orders, which the keys have."""

VALKEY_UNUSED = "Valkey, resident unused"
"""RSS without used_memory: what fragments, and what is allocated without being counted."""

PASSING = "postgres: autovacuum worker"
"""The title of processes that end with their work, and what they hold with them: ten MiB for seconds."""

# A page of keys at a time: MEMORY USAGE of each by itself would keep visitors waiting.
PAGE_KEYS = 500
SUM_OF_PAGE = """
local page = redis.call('SCAN', ARGV[1], 'COUNT', ARGV[2])
local bytes = 0
for _, key in ipairs(page[2]) do
    bytes = bytes + (redis.call('MEMORY', 'USAGE', key, 'SAMPLES', 0) or 0)
end
return {page[1], bytes}
"""


class ServerLook(NamedTuple):
    """rows: of each table, of what is counted apart, and keys. memory_kib: what has to be flat."""

    rows: Mapping[str, int]
    session_count: int
    memory_kib: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Servers:
    """Where they are, and the processes they began as."""

    database_url: str
    redis_url: str
    postgres_pid: int
    valkey_pid: int

    def look(self) -> ServerLook:
        """Takes as long as it takes to count every row and every key."""
        key_count, keys_kib, valkey_kib = look_at_valkey(self.redis_url, self.valkey_pid)
        rows, session_count = _look_at_tables(self.database_url)
        return ServerLook(
            {**rows, VALKEY_KEYS: key_count, VALKEY_KEYS_KIB: keys_kib},
            session_count,
            {POSTGRES: private_kib(self.postgres_pid), **valkey_kib},
        )


def look_at_valkey(redis_url: str, pid: int) -> tuple[int, int, dict[str, int]]:
    """How many keys there are, what they take in KiB, and what the server takes beside them."""
    with redis.Redis.from_url(redis_url) as client:
        keys_bytes = sum(_bytes_of_pages(client))
        stats = client.memory_stats()
        used_bytes = stats["total.allocated"]
        tables_bytes = sum(sum(each.values()) for each in stats.values() if isinstance(each, dict))
        key_count = client.dbsize()
    resident_bytes = psutil.Process(pid).memory_info().rss
    beside = {
        VALKEY_REST: (used_bytes - keys_bytes - tables_bytes) // 1024,
        VALKEY_UNUSED: (resident_bytes - used_bytes) // 1024,
    }
    return key_count, keys_bytes // 1024, beside


def _bytes_of_pages(client: redis.Redis) -> Iterator[int]:
    cursor = b"0"
    while True:
        cursor, page_bytes = client.eval(SUM_OF_PAGE, 0, cursor, PAGE_KEYS)
        yield page_bytes
        if cursor == b"0":
            return


def private_kib(pid: int) -> int:
    """Resident memory that is not shared, of a process and of all it has started but those PASSING."""
    parent = psutil.Process(pid)
    return sum(map(_private_bytes, [parent, *parent.children(recursive=True)])) // 1024


def _private_bytes(process: psutil.Process) -> int:
    # One that has ended meanwhile holds nothing.
    with contextlib.suppress(psutil.NoSuchProcess):
        if not " ".join(process.cmdline()).startswith(PASSING):
            memory = process.memory_info()
            return int(memory.rss - memory.shared)
    return 0


def _look_at_tables(database_url: str) -> tuple[dict[str, int], int]:
    """Rows of each table, and of what is counted apart; the services' sessions."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        names = [str(name) for (name,) in connection.execute(TABLES)]
        queries = {name: f"SELECT count(*) FROM {name}" for name in names} | COUNTS
        rows = {name: _number(connection, sql) for name, sql in queries.items()}
        return rows, _number(connection, SESSIONS)


def _number(connection: psycopg.Connection, sql: str) -> int:
    row = connection.execute(sql.encode()).fetchone()
    assert row is not None
    return int(row[0])
