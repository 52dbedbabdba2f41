"""A whole shop: servers, services in processes of their own, and a link between every two of them."""

import asyncio
import json
import os
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from ops.embedded import EmbeddedPostgres, EmbeddedValkey
from ops.migrate import migrate
from ops.ports import HOST, free_port
from ops.service_process import LogLine, ServiceProcess
from ops.services import SERVICES, Service
from ops.supervisor import is_serving
from tests.eventually import eventually
from tests.torture.calls import Doors
from tests.torture.links import Link

COMMAND, QUERY, PROJECTIONS = "command_service", "query_service", "projections"
HISTORY = "history_service"
COUNTS = {COMMAND: 2, QUERY: 2, PROJECTIONS: 2, HISTORY: 1}
"""Processes of each service."""

READY_SECONDS_MAX = 120.0
"""For all of them to start, on a machine that is busy with other tests."""

END_SECONDS_MAX = 20.0

POSTGRES_SETTINGS = {
    # Processes die here, not the machine: what was written is there, and a restart need not wait for a
    # thousand files to be on disk.
    "fsync": "off",
    "max_wal_size": "256MB",
}

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
    links: dict[str, Link] = field(default_factory=dict)
    members: dict[str, Member] = field(default_factory=dict)
    deaths: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    log_counts: Counter[str] = field(default_factory=Counter)
    locks: dict[str, asyncio.Lock] = field(default_factory=lambda: defaultdict(asyncio.Lock))

    @property
    def doors(self) -> Doors:
        """Where clients go: through links."""
        return Doors(self._doors_of(COMMAND), self._doors_of(QUERY))

    def members_of(self, module: str) -> list[Member]:
        """The processes of a service."""
        return [member for member in self.members.values() if member.service.module == module]

    def hear(self, line: LogLine) -> None:
        """Counts what a process logs, and keeps what only a mistake of ours can have caused."""
        if not line.text.startswith("{"):
            self.errors.append(f"{line.source}: {line.text}")
            return
        entry = json.loads(line.text)
        self.log_counts[entry["event"]] += 1
        if entry.get("level") in {"error", "critical"}:
            self.errors.append(f"{line.source}: {line.text}")

    async def start(self, member: Member) -> None:
        """Starts a process, which from then on is to run."""
        member.is_wanted = True
        await member.process.start()

    async def all_are_well(self) -> bool:
        """Whether every process answers."""
        return all(await asyncio.gather(*(member.is_well() for member in self.members.values())))

    async def until_well(self) -> None:
        """Returns when every process answers."""
        await eventually(self.all_are_well, seconds=READY_SECONDS_MAX)

    def note_deaths(self) -> None:
        """Remembers who has ended unasked, and says so once."""
        for member in self.members.values():
            if member.is_wanted and not member.process.is_running:
                member.is_wanted = False
                self.deaths.append(f"{member.name} ended by itself: {member.process.last_words}")

    def _doors_of(self, module: str) -> Mapping[str, str]:
        return {
            member.name: self.links[f"clients {member.name}"].address
            for member in self.members_of(module)
        }


@asynccontextmanager
async def open_shop(data_dir: Path) -> AsyncIterator[Shop]:
    """Starts everything and returns when it serves; nothing of it is left at the end."""
    async with AsyncExitStack() as stack:
        postgres = EmbeddedPostgres(data_dir / "postgres", settings=POSTGRES_SETTINGS)
        valkey = EmbeddedValkey(data_dir / "valkey")
        await _start(stack, postgres)
        await _start(stack, valkey)
        await asyncio.to_thread(migrate, postgres.url())
        shop = Shop(postgres, valkey)
        stack.push_async_callback(_close, shop)
        for service in SERVICES:
            for index in range(COUNTS.get(service.module, 0)):
                await _add_member(shop, service, index)
        await shop.until_well()
        yield shop


async def _start(stack: AsyncExitStack, server: EmbeddedPostgres | EmbeddedValkey) -> None:
    await asyncio.to_thread(server.start)
    stack.push_async_callback(asyncio.to_thread, server.stop)


async def _add_member(shop: Shop, service: Service, index: int) -> None:
    name = f"{service.module}#{index}"
    address = f"{HOST}:{free_port()}"
    servers = {"DATABASE_URL": shop.postgres.url(), "REDIS_URL": shop.valkey.url}
    own = {f"{service.prefix}_ADDRESS": address}
    for variable in set(service.server_urls) & servers.keys():
        label = "postgres" if variable == "DATABASE_URL" else "valkey"
        link = await _linked(shop, f"{name} {label}", servers[variable])
        own[variable] = link.leading_to(servers[variable])
    await _linked(shop, f"clients {name}", f"tcp://{address}")
    environment = service.environment({**os.environ, **SETTINGS, **own}, 0)
    process = ServiceProcess(name, service.module, environment=environment, on_log=shop.hear)
    member = Member(process, service, address)
    shop.members[name] = member
    await shop.start(member)


async def _linked(shop: Shop, name: str, url: str) -> Link:
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    link = shop.links[name] = Link(name)
    await link.start(parts.hostname, parts.port)
    return link


async def _close(shop: Shop) -> None:
    for link in shop.links.values():
        link.release()
    for member in shop.members.values():
        member.is_wanted = False
    await asyncio.gather(
        *(member.process.end(seconds_max=END_SECONDS_MAX) for member in shop.members.values())
    )
    await asyncio.gather(*(link.close() for link in shop.links.values()))
