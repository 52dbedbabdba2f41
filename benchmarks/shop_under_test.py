"""The processes that are measured: embedded servers, all services, and bare echo servers beside them."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg.sql import SQL, Identifier

from benchmarks.statements import track_statements
from ops.account import temporary_data_dir
from ops.embedded import EmbeddedPostgres, EmbeddedValkey
from ops.migrate import migrate
from ops.ports import HOST, free_port
from ops.servers import DATABASE, Servers
from ops.service_process import LogLine
from ops.services import free_addresses
from ops.supervisor import SUPERVISOR, Deployment

START_SECONDS_MAX = 30.0

POSTGRES_SETTINGS = {
    # 128 clients of pgbench beside the shop's own sessions.
    "max_connections": "200",
    # To count statements, where a figure does.
    "shared_preload_libraries": "pg_stat_statements",
}
"""Beside those of ops.embedded, for ours and for the baseline alike: both use this one server."""

SERVICES_WATCHED = ("command_service", "query_service", "projections")


@dataclass(frozen=True, slots=True)
class ShopUnderTest:
    """A shop of real processes. worker_count: of the command and query services, each."""

    servers: Servers
    deployment: Deployment
    worker_count: int

    @property
    def postgres(self) -> EmbeddedPostgres:
        """The server of the shop, and of whatever it is compared with."""
        assert self.servers.postgres is not None, "benchmarks start servers of their own"
        return self.servers.postgres

    @property
    def command_address(self) -> str:
        """Where commands go."""
        return self.deployment.command_address

    @property
    def query_address(self) -> str:
        """Where queries go."""
        return self.deployment.query_address

    @property
    def pids(self) -> Mapping[str, list[int]]:
        """The processes by name, servers included; those that they start count as theirs."""
        pids = {
            name: [p.pid for p in self.deployment.processes if p.name.partition("#")[0] == name]
            for name in SERVICES_WATCHED
        }
        assert self.servers.valkey is not None, "benchmarks start servers of their own"
        return {**pids, "postgres": [self.postgres.pid], "valkey": [self.servers.valkey.pid]}


@asynccontextmanager
async def shop_under_test(worker_count: int) -> AsyncIterator[ShopUnderTest]:
    """Starts everything on servers of its own, whose data are gone afterwards."""
    with (
        temporary_data_dir() as data_dir,
        EmbeddedPostgres(data_dir / "postgres", settings=POSTGRES_SETTINGS) as postgres,
    ):
        track_statements(postgres.url(), "none")
        async with _shop(postgres, data_dir, worker_count) as shop:
            yield shop


@asynccontextmanager
async def _shop(
    postgres: EmbeddedPostgres, data_dir: Path, worker_count: int
) -> AsyncIterator[ShopUnderTest]:
    make_database(postgres, DATABASE)
    url = postgres.url(DATABASE)
    migrate(url)
    # Whatever servers the caller uses otherwise, they are not to be filled with rubbish.
    given = {name: value for name, value in os.environ.items() if not name.endswith("_URL")}
    with EmbeddedValkey(data_dir / "valkey") as valkey:
        servers = Servers(url, valkey.url, postgres, valkey)
        environment = {**given, **servers.environment, **free_addresses(), "LOG_LEVEL": "INFO"}
        async with Deployment(environment, workers=worker_count, on_log=_pass_on) as deployment:
            yield ShopUnderTest(servers, deployment, worker_count)


def _pass_on(line: LogLine) -> None:
    """What a service complains of, for whoever reads the figures."""
    is_usual = any(f'"level": "{level}"' in line.text for level in ("info", "debug"))
    # What a benchmark itself has ended in order is started again by the supervisor.
    if not is_usual and not (line.source == SUPERVISOR and '"exit_status": 0' in line.text):
        sys.stderr.write(f"{line.source}: {line.text}\n")


def make_database(postgres: EmbeddedPostgres, name: str) -> None:
    """Makes an empty database."""
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        connection.execute(SQL("CREATE DATABASE {}").format(Identifier(name)))


@dataclass(frozen=True, slots=True)
class Echo:
    """Echo servers that share an address."""

    address: str
    pids: Mapping[str, list[int]]


@asynccontextmanager
async def echo(answer_bytes: int, worker_count: int) -> AsyncIterator[Echo]:
    """As many echo servers as the service has processes, with answers of the same size."""
    address = f"{HOST}:{free_port()}"
    processes = [
        await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "benchmarks.echo_server", address, str(answer_bytes)),
            # As each service has; see load.py.
            start_new_session=True,
            stdout=asyncio.subprocess.PIPE,
        )
        for _ in range(worker_count)
    ]
    try:
        async with asyncio.timeout(START_SECONDS_MAX):
            for process in processes:
                assert process.stdout is not None
                assert await process.stdout.readline() == b"serving\n", "an echo server did not start"
        yield Echo(address, {"echo": [process.pid for process in processes]})
    finally:
        for process in processes:
            if process.returncode is None:
                process.terminate()
            await process.wait()
