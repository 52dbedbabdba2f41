"""Servers for the tests: a PostgreSQL and a Valkey for each worker process, started when needed.

A test may crash or freeze them as it likes, as long as they answer again when it ends.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
import redis
from hypothesis import settings
from psycopg.sql import SQL, Identifier

from ops.account import temporary_data_dir, unprivileged
from ops.embedded import EmbeddedPostgres, EmbeddedValkey
from ops.migrate import migrate
from tests.invariants import require_unbroken

WORKERS_MAX = 16
SYSTEM = Path(__file__).parent / "system"
TEMPLATE = "migrated"
MEMORY = Path("/dev/shm")  # noqa: S108 a folder of our own is made in it
MEMORY_BYTES_MIN = 8 * 2**30
"""What the servers of all processes may take at their worst, several times over."""

# New examples each time find more over the days, but must not decide whether a change may go in: where
# CI is set, every run draws the same. No deadline: a machine may be slow, and that is no counterexample.
settings.register_profile(
    "shopkeeper", deadline=None, print_blob=True, derandomize=bool(os.environ.get("CI"))
)
settings.load_profile("shopkeeper")


def pytest_xdist_auto_num_workers() -> int:
    """Two for each core: tests wait about as long as they compute."""
    return min(2 * (os.cpu_count() or 1), WORKERS_MAX)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the slowest tests first: begun last, they would keep one process busy after all others."""
    items.sort(key=lambda item: not item.path.is_relative_to(SYSTEM))


@pytest.fixture(scope="session")
def servers_dir() -> Iterator[Path]:
    """A folder for servers' data that is reachable for them even if the tests run as root."""
    with temporary_data_dir(memory()) as path:
        yield path


def memory() -> Path | None:
    """A file system in memory, if there is one with room to spare.

    A database is 700 files: on a disk, to make and remove them costs more than all that most tests do.
    """
    if not MEMORY.is_dir() or not unprivileged().may_execute(MEMORY) or not os.access(MEMORY, os.W_OK):
        return None
    return MEMORY if shutil.disk_usage(MEMORY).free > MEMORY_BYTES_MIN else None


@pytest.fixture(scope="session")
def postgres(servers_dir: Path) -> Iterator[EmbeddedPostgres]:
    """A PostgreSQL 18 server; see `database_url` for a database."""
    # A crashed server loses nothing without fsync, only a crashed kernel does; a database for each
    # test is four times as fast.
    with EmbeddedPostgres(
        servers_dir / "postgres", settings={"fsync": "off", "max_wal_size": "256MB"}
    ) as server:
        yield server


@pytest.fixture(scope="session")
def valkey(servers_dir: Path) -> Iterator[EmbeddedValkey]:
    """A Valkey 9 server; see `redis_url` for a clean one."""
    with EmbeddedValkey(servers_dir / "valkey") as server:
        yield server


@pytest.fixture(scope="session")
def migrated_template(postgres: EmbeddedPostgres) -> str:
    """The name of a database with every migration applied, which nobody is connected to."""
    execute(postgres, "CREATE DATABASE {}", TEMPLATE)
    migrate(postgres.url(TEMPLATE))
    return TEMPLATE


@pytest.fixture
def database_url(
    request: pytest.FixtureRequest, postgres: EmbeddedPostgres, migrated_template: str
) -> Iterator[str]:
    """A fresh, migrated, empty database of the test's own, whose invariants hold when it is over."""
    with fresh_database(postgres, migrated_template) as url:
        yield url
        require_unbroken(url, request.node)


@contextmanager
def fresh_database(postgres: EmbeddedPostgres, migrated_template: str) -> Iterator[str]:
    """A migrated, empty database until the block ends."""
    name = f"test_{uuid4().hex}"
    execute(postgres, "CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY", name, migrated_template)
    try:
        yield postgres.url(name)
    finally:
        # FORCE: what a test left connected must not keep its database.
        execute(postgres, "DROP DATABASE {} WITH (FORCE)", name)


@pytest.fixture
def empty_database_url(postgres: EmbeddedPostgres) -> Iterator[str]:
    """A database without any table."""
    name = f"test_{uuid4().hex}"
    execute(postgres, "CREATE DATABASE {}", name)
    yield postgres.url(name)
    execute(postgres, "DROP DATABASE {} WITH (FORCE)", name)


@pytest.fixture
def redis_url(valkey: EmbeddedValkey) -> str:
    """A Valkey without keys, scripts and functions."""
    return emptied(valkey)


def emptied(valkey: EmbeddedValkey) -> str:
    """The URL of that Valkey, which nothing is left in.

    Databases made of one template are of one incarnation: the read models of another test would pass
    for those of a new database, and be ahead of it.
    """
    with closing(redis.Redis.from_url(valkey.url)) as client:
        client.flushall()
        client.script_flush()
        client.function_flush()
    return valkey.url


def execute(postgres: EmbeddedPostgres, statement: str, *names: str) -> None:
    """Executes one statement of administration, its `{}` replaced by quoted names."""
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        connection.execute(SQL(statement).format(*map(Identifier, names)))
