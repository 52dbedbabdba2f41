"""Real processes, real sockets: command services of one database, as in production."""

import json
import os
import urllib.request
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import psycopg
import pytest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from ops.ports import HOST, free_port
from ops.service_process import LogLine, LogSink, ServiceProcess
from ops.services import free_addresses
from ops.supervisor import Deployment, is_serving
from tests.eventually import eventually
from tests.invariants import broken_invariants
from tests.sandboxes.stripe.server import StripeSandbox
from tests.system.client import Client


class CommandServices:
    """Several processes of the command service on one database, each with ports of its own."""

    def __init__(
        self,
        database_url: str,
        processes: list[ServiceProcess],
        addresses: list[str],
        metrics_ports: list[int],
        lines: list[LogLine],
    ) -> None:
        self.database_url = database_url
        self.processes = processes
        self.addresses = addresses
        self.metrics_ports = metrics_ports
        self._lines = lines

    def client(self, index: int = 0) -> Client:
        """A client of one of the processes."""
        return Client(self.addresses[index % len(self.addresses)])

    def fetch(self, sql: str, *parameters: object) -> list[tuple[object, ...]]:
        """Rows of a query on the shop's database."""
        return _rows(self.database_url, sql, parameters)

    def logged(self, event: str) -> list[dict[str, str]]:
        """What the processes have logged of this event, each line as its JSON."""
        entries = [json.loads(line.text) for line in self._lines if line.text.startswith("{")]
        return [entry for entry in entries if entry["event"] == event]

    def retry_counts(self) -> dict[str, float]:
        """How often batches were tried again by SQLSTATE class: 40 deadlocks, 55 lock timeouts."""
        counts: dict[str, float] = defaultdict(float)
        for port in self.metrics_ports:
            for sample in scraped(port):
                if sample.name == "shopkeeper_batch_retries_total":
                    counts[sample.labels["sqlstate_class"]] += sample.value
        return counts

    def broken_invariants(self) -> dict[str, list[tuple[Any, ...]]]:
        """Of what every inv_* view returns a few rows, where it returns anything."""
        return broken_invariants(self.database_url)


def _rows(database_url: str, sql: str, parameters: tuple[object, ...]) -> list[tuple[object, ...]]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        return connection.execute(sql.encode(), parameters).fetchall()


def scraped(metrics_port: int) -> list[Sample]:
    """What Prometheus would read of a process."""
    with urllib.request.urlopen(f"http://{HOST}:{metrics_port}/metrics", timeout=30) as answer:
        text = answer.read().decode()
    return [sample for family in text_string_to_metric_families(text) for sample in family.samples]


@dataclass(frozen=True)
class WholeShop:
    """Everything that runs, and where it is."""

    database_url: str
    redis_url: str
    environment: dict[str, str]
    deployment: Deployment

    @property
    def command_address(self) -> str:
        return self.environment["COMMAND_ADDRESS"]

    @property
    def query_address(self) -> str:
        return self.environment["QUERY_ADDRESS"]

    def fetch(self, sql: str, *parameters: object) -> list[tuple[object, ...]]:
        """Rows of a query on the shop's database."""
        return _rows(self.database_url, sql, parameters)


@asynccontextmanager
async def command_services(
    database_url: str, count: int, **environment: str
) -> AsyncIterator[CommandServices]:
    """Starts processes and waits until they serve; drains them at the end.

    environment: further variables; DATABASE_URL leads the processes to the database by another way.
    """
    lines: list[LogLine] = []
    async with AsyncExitStack() as stack:
        processes, addresses, metrics_ports = [], [], []
        for index in range(count):
            address, metrics_port = f"{HOST}:{free_port()}", free_port()
            variables = {
                **os.environ,
                "DATABASE_URL": database_url,
                "COMMAND_ADDRESS": address,
                "COMMAND_METRICS_PORT": str(metrics_port),
            }
            process = ServiceProcess(
                f"command_service#{index}",
                "command_service",
                environment={**variables, **environment},
                on_log=lines.append,
            )
            await process.start()
            stack.push_async_callback(process.end, seconds_max=20)
            processes.append(process)
            addresses.append(address)
            metrics_ports.append(metrics_port)
        for address in addresses:
            await eventually(partial(is_serving, address), seconds=40)
        yield CommandServices(database_url, processes, addresses, metrics_ports, lines)


@pytest.fixture
async def one_service(database_url: str) -> AsyncIterator[CommandServices]:
    async with command_services(database_url, 1) as services:
        yield services


@pytest.fixture
async def two_services(database_url: str) -> AsyncIterator[CommandServices]:
    async with command_services(database_url, 2) as services:
        yield services


@pytest.fixture
async def two_paid_services(database_url: str) -> AsyncIterator[CommandServices]:
    """Two processes whose customers pay at a sandbox of Stripe."""
    async with paid_services(database_url, 2) as services:
        yield services


@asynccontextmanager
async def paid_services(database_url: str, count: int) -> AsyncIterator[CommandServices]:
    """Processes whose customers pay at a sandbox of Stripe."""
    async with StripeSandbox().running() as url:
        stripe = {"STRIPE_API_KEY": "sk_test_sandbox", "STRIPE_API_URL": url}
        async with command_services(database_url, count, **stripe) as services:
            yield services


@asynccontextmanager
async def running_shop(database_url: str, redis_url: str, **settings: str) -> AsyncIterator[WholeShop]:
    """All services, two processes of the command and of the query service, until the block ends."""
    async with listened_shop(database_url, redis_url, settings, lambda _line: None) as shop:
        yield shop


@asynccontextmanager
async def listened_shop(
    database_url: str,
    redis_url: str,
    settings: Mapping[str, str],
    on_log: LogSink,
    *,
    workers: int = 2,
) -> AsyncIterator[WholeShop]:
    """The same, for who wants to know what is logged."""
    environment = {
        **os.environ,
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        **free_addresses(),
        **settings,
    }
    async with Deployment(environment, workers=workers, on_log=on_log) as deployment:
        yield WholeShop(database_url, redis_url, environment, deployment)


@pytest.fixture
async def whole_shop(database_url: str, redis_url: str) -> AsyncIterator[WholeShop]:
    """All services at work."""
    # A machine that runs the tests may freeze for longer than a Redis at hand is given to answer.
    async with running_shop(database_url, redis_url, QUERY_REDIS_ANSWER_SECONDS_MAX="10") as shop:
        yield shop
