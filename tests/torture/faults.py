"""What goes wrong. Each fault begins, lasts, and is healed by whoever began it."""

import asyncio
from abc import ABC, abstractmethod
from typing import ClassVar

from tests.torture.shop import Member, Shop


class Fault(ABC):
    """One thing that goes wrong with one target."""

    kind: ClassVar[str]
    seconds: ClassVar[tuple[float, float]] = (0.2, 3.0)
    """How long it lasts: at least, at most."""
    resource: ClassVar[str] = ""
    """What it shares with other faults, which wait for each other; "" for its target."""

    def __init__(self, target: str) -> None:
        self.target = target

    def exclusively(self, shop: Shop) -> asyncio.Lock:
        """Held while it lasts: what is down cannot be struck again."""
        return shop.locks[self.resource or self.target]

    @classmethod
    @abstractmethod
    def targets(cls, shop: Shop) -> list[str]:
        """What it can strike."""

    @abstractmethod
    async def begin(self, shop: Shop) -> None:
        """Strikes."""

    @abstractmethod
    async def heal(self, shop: Shop) -> None:
        """Puts it right, as whoever is on call would."""

    def __str__(self) -> str:
        return f"{self.kind} {self.target}".strip()


class _OfProcess(Fault):
    """Strikes a process of a service."""

    @classmethod
    def targets(cls, shop: Shop) -> list[str]:
        """Every process."""
        return sorted(shop.members)

    def member(self, shop: Shop) -> Member:
        """The one that is struck."""
        return shop.members[self.target]


class Kill(_OfProcess):
    """SIGKILL, as when the machine's memory is full; it is started again."""

    kind = "kill"

    async def begin(self, shop: Shop) -> None:
        """Kills."""
        member = self.member(shop)
        member.is_wanted = False
        member.process.kill()
        await member.process.wait()

    async def heal(self, shop: Shop) -> None:
        """Starts."""
        await shop.start(self.member(shop))


class CrashPostgres(Fault):
    """An immediate stop: every connection is cut, and recovery replays the log."""

    kind = "crash postgres"
    resource = "postgres"

    @classmethod
    def targets(cls, shop: Shop) -> list[str]:
        """The one."""
        return [""]

    async def begin(self, shop: Shop) -> None:
        """Stops."""
        await asyncio.to_thread(shop.postgres.crash)

    async def heal(self, shop: Shop) -> None:
        """Starts."""
        await asyncio.to_thread(shop.postgres.start)


FAULTS: tuple[type[Fault], ...] = (Kill, CrashPostgres)
