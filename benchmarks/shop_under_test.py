"""The processes that are measured: embedded servers, all services, and bare echo servers beside them."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

from ops.account import temporary_data_dir
from ops.migrate import migrate
from ops.ports import HOST, free_port
from ops.servers import Servers, running_servers
from ops.services import free_addresses
from ops.supervisor import Deployment

START_SECONDS_MAX = 30.0

SERVICES_WATCHED = ("command_service", "query_service", "projections")


@dataclass(frozen=True, slots=True)
class ShopUnderTest:
    """A shop of real processes. worker_count: of the command and query services, each."""

    servers: Servers
    deployment: Deployment
    worker_count: int

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
        assert self.servers.postgres is not None, "benchmarks start servers of their own"
        assert self.servers.valkey is not None, "benchmarks start servers of their own"
        return {**pids, "postgres": [self.servers.postgres.pid], "valkey": [self.servers.valkey.pid]}


@asynccontextmanager
async def shop_under_test(worker_count: int) -> AsyncIterator[ShopUnderTest]:
    """Starts everything on servers of its own, whose data is on disk and gone afterwards."""
    # Whatever servers the caller uses otherwise, they are not to be filled with rubbish.
    given = {name: value for name, value in os.environ.items() if not name.endswith("_URL")}
    with temporary_data_dir() as data_dir, running_servers(data_dir, {}) as servers:
        migrate(servers.database_url)
        environment = {"LOG_LEVEL": "INFO", **given, **servers.environment, **free_addresses()}
        async with Deployment(environment, workers=worker_count) as deployment:
            yield ShopUnderTest(servers, deployment, worker_count)


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
