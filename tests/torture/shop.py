"""A whole shop: servers, services in processes of their own, and a link between every two of them."""

import asyncio
import os
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO
from urllib.parse import urlsplit

from ops.embedded import EmbeddedPostgres, EmbeddedValkey
from ops.migrate import migrate
from ops.ports import HOST, free_port
from ops.service_process import LogLine, ServiceProcess
from ops.services import SERVICES, Service
from ops.supervisor import is_serving
from tests.eventually import eventually
from tests.sandboxes.deliveries import DeliverySettings
from tests.sandboxes.stripe import trouble
from tests.sandboxes.stripe.server import StripeSandbox
from tests.sandboxes.stripe.settings import StripeSettings
from tests.system.service_logs import error_in
from tests.torture.calls import Doors
from tests.torture.disk import Disk, small_disk
from tests.torture.implants import SteppedClock
from tests.torture.links import Link

COMMAND, QUERY, PROJECTIONS = "command_service", "query_service", "projections"
HISTORY, WEBHOOKS = "history_service", "webhooks"
COUNTS = {COMMAND: 2, QUERY: 2, PROJECTIONS: 2, HISTORY: 1, WEBHOOKS: 1}
"""Processes of each service."""
ASKED_BY_CLIENTS = (COMMAND, QUERY, HISTORY)

READY_SECONDS_MAX = 120.0
"""For all of them to start, on a machine that is busy with other tests."""

END_SECONDS_MAX = 20.0

POSTGRES_SETTINGS = {
    # Processes die here, not the machine: what was written is there, and a restart need not wait for a
    # thousand files to be on disk.
    "fsync": "off",
    "max_wal_size": "256MB",
    # Few segments of the log in advance: where there is no room it shall soon need one.
    "min_wal_size": "32MB",
}

SERVICES_LOG, POSTGRES_LOG = "services.log", "postgres.log"

PROVIDER_ATTEMPT_SECONDS = 1.0
PROVIDER_WEBHOOKS = f"provider {WEBHOOKS}#0"

SETTINGS = {
    # A frozen machine is not a broken Redis, and a command that waits is worth nothing after seconds.
    "QUERY_REDIS_ANSWER_SECONDS_MAX": "1",
    "LOG_LEVEL": "INFO",
}


@dataclass(slots=True)
class Member:
    """One process, its service, and whether it is to run: who ends unasked has failed."""

    process: ServiceProcess
    service: Service
    address: str
    clock: SteppedClock
    is_wanted: bool = True

    @property
    def name(self) -> str:
        """As in command_service#0."""
        return self.process.name

    async def is_well(self) -> bool:
        """Whether it answers its health check, asked directly."""
        return self.process.is_running and await is_serving(self.address, is_http=self.service.is_http)


@dataclass(slots=True)
class Shop:
    """What runs. links: by name, "command_service#0 postgres" and the like."""

    postgres: EmbeddedPostgres
    valkey: EmbeddedValkey
    database_url: str
    clocks_dir: Path
    provider_url: str
    settings: Mapping[str, str]
    links: dict[str, Link] = field(default_factory=dict)
    members: dict[str, Member] = field(default_factory=dict)
    deaths: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    locks: dict[str, asyncio.Lock] = field(default_factory=lambda: defaultdict(asyncio.Lock))
    services_log: TextIO | None = None
    """Takes all that services say; None where nobody keeps it."""

    @property
    def doors(self) -> Doors:
        """Where clients go: through links."""
        return Doors(self._doors_of(COMMAND), self._doors_of(QUERY), self._doors_of(HISTORY))

    @property
    def deciders(self) -> Mapping[str, str]:
        """Where the processes for commands are themselves, without a link, by name."""
        return {member.name: member.address for member in self.members_of(COMMAND)}

    def members_of(self, module: str) -> list[Member]:
        """The processes of a service."""
        return [member for member in self.members.values() if member.service.module == module]

    def hear(self, line: LogLine) -> None:
        """Keeps what only a mistake of ours can have caused, and in the log all of it."""
        if self.services_log is not None:
            # By our clock: theirs are stepped.
            self.services_log.write(f"{time.time():.3f} {line.source} {line.text}\n")
        told = error_in(line.text)
        if told is not None:
            self.errors.append(f"{line.source}: {told}")

    async def start(self, member: Member) -> None:
        """Starts a process, which from then on is to run."""
        await member.process.start()
        # Not before: while it starts it does not run yet, and has not ended unasked.
        member.is_wanted = True

    async def all_are_well(self) -> bool:
        """Whether every process answers."""
        return all(await asyncio.gather(*(member.is_well() for member in self.members.values())))

    async def until_well(self) -> None:
        """Returns when every process answers, or one has ended unasked, which is noted."""

        async def is_decided() -> bool:
            await self.note_deaths()
            return bool(self.deaths) or await self.all_are_well()

        try:
            await eventually(is_decided, seconds=READY_SECONDS_MAX)
        except TimeoutError:
            self.deaths += [
                f"{member.name} is not well: {member.process.last_words}"
                for member in self.members.values()
                if not await member.is_well()
            ]

    async def drain(self, member: Member) -> None:
        """Has a process end by itself; that it does, and well, is part of what is judged."""
        await self.note_deaths()
        member.is_wanted = False
        if not member.process.is_running:
            return
        # One that has only just been started has nothing in hand yet, and may end as Python does.
        was_serving = member.process.is_serving
        await member.process.end(seconds_max=END_SECONDS_MAX)
        status = await member.process.wait()
        if status != 0 and was_serving:
            self.deaths.append(f"{member.name} was to drain, and ended with status {status}")

    async def note_deaths(self) -> None:
        """Remembers who has ended unasked, and how; once."""
        for member in self.members.values():
            if member.is_wanted and not member.process.is_running:
                member.is_wanted = False
                status = await member.process.wait()
                last = member.process.last_words.rpartition("\n")[2]
                self.deaths.append(
                    f"{member.name} ended by itself, status {status}, after saying {last}"
                )

    def _doors_of(self, module: str) -> Mapping[str, str]:
        return {
            member.name: self.links[f"clients {member.name}"].address
            for member in self.members_of(module)
        }


@dataclass(frozen=True, slots=True)
class WholeShop:
    """A shop, and the servers around it that are its own."""

    shop: Shop
    disk: Disk
    provider: StripeSandbox
    kept_dir: Path | None = None
    """Where what is said is kept."""

    def set_log_aside(self) -> None:
        """Empties PostgreSQL's log, having kept what stood there."""
        keep_log(self.shop.postgres, self.kept_dir)


@asynccontextmanager
async def services_of(shop: Shop, counts: Mapping[str, int]) -> AsyncIterator[None]:
    """Starts processes and waits until they serve; nothing of them is left at the end.

    counts: how many of each service.
    """
    try:
        for service in SERVICES:
            for index in range(counts.get(service.module, 0)):
                await _add_member(shop, service, index)
        await shop.until_well()
        yield
    finally:
        await _close(shop)


@asynccontextmanager
async def open_shop(data_dir: Path, kept_dir: Path, *, seed: int = 0) -> AsyncIterator[WholeShop]:
    """Starts everything on servers of its own and returns when it serves.

    kept_dir: what services and PostgreSQL say is there at the end.
    """
    async with AsyncExitStack() as stack:
        services_log = stack.enter_context((kept_dir / SERVICES_LOG).open("w", encoding="utf-8"))
        disk = stack.enter_context(small_disk(data_dir / "disk"))
        postgres = postgres_on(disk, log_path=data_dir / "postgres.log")
        valkey = EmbeddedValkey(data_dir / "valkey")
        stack.callback(keep_log, postgres, kept_dir)
        await _start(stack, postgres)
        await _start(stack, valkey)
        await asyncio.to_thread(migrate, postgres.url())
        webhooks = Link(PROVIDER_WEBHOOKS)
        sandbox = StripeSandbox(_provider_settings(seed, webhooks))
        url = await stack.enter_async_context(sandbox.running())
        shop = Shop(postgres, valkey, postgres.url(), data_dir, url, SETTINGS, {webhooks.name: webhooks})
        shop.services_log = services_log
        await stack.enter_async_context(services_of(shop, COUNTS))
        yield WholeShop(shop, disk, sandbox, kept_dir)


def keep_log(postgres: EmbeddedPostgres, kept_dir: Path | None) -> None:
    """Moves what the server has said so far to what is kept of it; it writes on from the beginning."""
    if kept_dir is not None:
        with (kept_dir / POSTGRES_LOG).open("ab") as kept:
            kept.write(postgres.log_path.read_bytes())
    os.truncate(postgres.log_path, 0)


def postgres_on(disk: Disk, *, log_path: Path) -> EmbeddedPostgres:
    """A server whose data is on that disk, and what it says of that disk elsewhere."""
    postgres = EmbeddedPostgres(disk.path / "postgres", settings=POSTGRES_SETTINGS)
    postgres.data_dir.mkdir(parents=True, exist_ok=True)
    postgres.log_path.symlink_to(log_path)
    return postgres


async def _start(stack: AsyncExitStack, server: EmbeddedPostgres | EmbeddedValkey) -> None:
    await asyncio.to_thread(server.start)
    stack.push_async_callback(asyncio.to_thread, server.stop)


def _provider_settings(seed: int, webhooks: Link) -> StripeSettings:
    return trouble.troubled(
        webhooks.address,
        seed=seed,
        attempt_seconds_max=PROVIDER_ATTEMPT_SECONDS,
        fault_probability=0.1,
        deliveries=DeliverySettings(
            duplicate_probability=0.3,
            duplicates_max=3,
            delay_seconds_max=0.5,
            late_seconds=3.0,
            timeout_seconds=3.0,
        ),
    )


async def _add_member(shop: Shop, service: Service, index: int) -> None:
    name = f"{service.module}#{index}"
    address = f"{HOST}:{free_port()}"
    clock = SteppedClock(shop.clocks_dir / f"{name}.clock")
    own = await _servers_of(shop, service, name) | {f"{service.prefix}_ADDRESS": address}
    front = shop.links.get(f"provider {name}")
    if service.module in ASKED_BY_CLIENTS:
        front = Link(f"clients {name}")
    if front is not None:
        await _lead(shop, front, f"tcp://{address}")
    environment = service.environment({**os.environ, **clock.environment, **shop.settings, **own}, 0)
    process = ServiceProcess(name, service.module, environment=environment, on_log=shop.hear)
    member = Member(process, service, address, clock)
    shop.members[name] = member
    await shop.start(member)


async def _servers_of(shop: Shop, service: Service, name: str) -> dict[str, str]:
    """Where a process finds what it needs: each by a link of its own."""
    own: dict[str, str] = {}
    servers = {
        "DATABASE_URL": ("postgres", shop.database_url),
        "REDIS_URL": ("valkey", shop.valkey.url),
    }
    for variable in sorted(set(service.server_urls) & servers.keys()):
        label, url = servers[variable]
        own[variable] = await _linked(shop, f"{name} {label}", url)
    if service.module in {COMMAND, WEBHOOKS}:
        url = shop.provider_url
        # Webhooks ask the provider only of refunds that people made there, which nobody does here.
        if service.module == COMMAND:
            url = await _linked(shop, f"{name} provider", url)
        own |= trouble.environment(url, attempt_seconds_max=PROVIDER_ATTEMPT_SECONDS)
    if service.module == WEBHOOKS:
        url = f"tcp://{shop.members_of(COMMAND)[-1].address}"
        own["COMMAND_ADDRESS"] = (await _linked(shop, f"{name} {COMMAND}", url)).removeprefix("tcp://")
    return own


async def _linked(shop: Shop, name: str, url: str) -> str:
    """The URL, changed to lead through a new link."""
    link = Link(name)
    await _lead(shop, link, url)
    return link.leading_to(url)


async def _lead(shop: Shop, link: Link, url: str) -> None:
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    shop.links[link.name] = link
    await link.start(parts.hostname, parts.port)


async def _close(shop: Shop) -> None:
    for link in shop.links.values():
        link.release()
    await asyncio.gather(*(shop.drain(member) for member in shop.members.values()))
    await asyncio.gather(*(link.close() for link in shop.links.values()))
