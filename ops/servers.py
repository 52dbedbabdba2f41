"""PostgreSQL and Valkey for the services: those the environment names, or else embedded ones."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg.sql import SQL, Identifier

from ops.embedded import EmbeddedPostgres, EmbeddedValkey
from ops.postgres_home import leave_word, postgres_home
from ops.whereabouts import DEFAULT_DATA_DIR, KINDS, checked_url

DATABASE = "shopkeeper"


@dataclass(frozen=True, slots=True)
class Servers:
    """Where the servers are, and the embedded ones among them."""

    database_url: str
    redis_url: str
    postgres: EmbeddedPostgres | None = None
    valkey: EmbeddedValkey | None = None

    @property
    def environment(self) -> dict[str, str]:
        """What tells a service where they are."""
        told = {"DATABASE_URL": self.database_url, "REDIS_URL": self.redis_url}
        # An embedded database has no replica: one that the environment names is of another shop.
        return {**told, "HISTORY_DATABASE_URL": self.database_url} if self.postgres else told

    def revive(self) -> list[str]:
        """Starts embedded servers again that ended by themselves; their names."""
        ended = [server for server in (self.postgres, self.valkey) if server and not server.is_running]
        for server in ended:
            server.stop()
            server.start()
        return [type(server).__name__.removeprefix("Embedded") for server in ended]


@contextmanager
def running_servers(
    data_dir: Path,
    environment: Mapping[str, str],
    *,
    on_step: Callable[[str], None] = lambda _step: None,
) -> Iterator[Servers]:
    """The servers of DATABASE_URL and REDIS_URL; embedded ones, in `data_dir`, for what is not set.

    Embedded ones are stopped at the end, their data stays.

    Raises:
        Problem: one of the two is no address.
        ServerDidNotStart: an embedded one did not.
        NoPlaceToRun: an embedded PostgreSQL cannot have its data there.
    """
    for variable in KINDS:
        if given := environment.get(variable):
            checked_url(variable, given)
    with ExitStack() as stack:
        database_url, redis_url = environment.get("DATABASE_URL"), environment.get("REDIS_URL")
        postgres = valkey = None
        if not database_url:
            started_seconds = time.monotonic()
            postgres = stack.enter_context(shop_postgres(data_dir))
            database_url = _database_url(postgres)
            on_step(_started("PostgreSQL", postgres.port, postgres.data_dir, started_seconds))
            if postgres.data_dir != _wanted(data_dir):
                on_step(
                    f"its data are there: it runs as `nobody`, who could not enter {_wanted(data_dir)}"
                )
        if not redis_url:
            started_seconds = time.monotonic()
            valkey = stack.enter_context(EmbeddedValkey(data_dir / "valkey"))
            redis_url = valkey.url
            on_step(_started("Valkey", valkey.port, valkey.data_dir, started_seconds))
        yield Servers(database_url, redis_url, postgres, valkey)


@contextmanager
def shop_postgres(data_dir: Path) -> Iterator[EmbeddedPostgres]:
    """The embedded PostgreSQL of a shop until the block ends, wherever its data are.

    Raises:
        ServerDidNotStart: it did not.
        NoPlaceToRun: it cannot have its data there.
    """
    wanted = _wanted(data_dir)
    home = postgres_home(wanted, is_chosen=data_dir != DEFAULT_DATA_DIR)
    with EmbeddedPostgres(home) as server:
        leave_word(wanted, home)
        yield server


def _wanted(data_dir: Path) -> Path:
    return data_dir.absolute() / "postgres"


def _started(name: str, port: int, data_dir: Path, started_seconds: float) -> str:
    took_seconds = time.monotonic() - started_seconds
    return f"embedded {name} on port {port} ({took_seconds:.1f} s), data in {data_dir}"


def _database_url(postgres: EmbeddedPostgres) -> str:
    """The shop's own database, made when it is missing."""
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        found = connection.execute("SELECT FROM pg_database WHERE datname = %s", [DATABASE]).fetchone()
        if found is None:
            connection.execute(SQL("CREATE DATABASE {}").format(Identifier(DATABASE)))
    return postgres.url(DATABASE)
