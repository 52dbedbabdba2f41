"""What goes wrong. Each fault begins, lasts, and is healed by whoever began it."""

import asyncio
import contextlib
import os
import re
import signal
from abc import ABC, abstractmethod
from typing import ClassVar

import psycopg
from redis.asyncio import Redis

from tests.torture.history import History
from tests.torture.implants import SteppedClock
from tests.torture.links import Link, answers_call, answers_commit, answers_statement, any_answer
from tests.torture.shop import ASKED_BY_CLIENTS, COMMAND, Member, Shop, WholeShop

REQUEST_ID = re.compile(rb"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
"""As the command service gives it to PostgreSQL."""


class Fault(ABC):
    """One thing that goes wrong with one target."""

    kind: ClassVar[str]
    seconds: ClassVar[tuple[float, float]] = (0.2, 3.0)
    """How long it lasts: at least, at most."""
    resource: ClassVar[str] = ""
    """What it shares with other faults, which wait for each other; "" for its target."""
    weight: ClassVar[float] = 1.0
    """How often, beside others."""

    def __init__(self, target: str) -> None:
        self.target = target

    def exclusively(self, shop: Shop) -> asyncio.Lock:
        """Held while it lasts: what is down cannot be struck again."""
        return shop.locks[self.resource or self.target.rpartition(" by ")[0] or self.target]

    @classmethod
    @abstractmethod
    def targets(cls, shop: Shop) -> list[str]:
        """What it can strike."""

    @abstractmethod
    async def begin(self, whole: WholeShop) -> None:
        """Strikes."""

    @abstractmethod
    async def heal(self, whole: WholeShop) -> None:
        """Puts it right, as whoever is on call would."""

    def has_bitten(self, whole: WholeShop, history: History) -> bool:
        """Whether it hit anybody, asked once it is healed: what nobody met is no fault."""
        return True

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

    async def begin(self, whole: WholeShop) -> None:
        """Kills."""
        member = self.member(whole.shop)
        await whole.shop.note_deaths()
        member.is_wanted = False
        member.process.kill()
        await member.process.wait()

    async def heal(self, whole: WholeShop) -> None:
        """Starts."""
        await whole.shop.start(self.member(whole.shop))


class Drain(_OfProcess):
    """SIGTERM, as when a new version is rolled out: it ends well, and is started again."""

    kind = "drain"

    async def begin(self, whole: WholeShop) -> None:
        """Asks it to end."""
        await whole.shop.drain(self.member(whole.shop))

    async def heal(self, whole: WholeShop) -> None:
        """Starts."""
        await whole.shop.start(self.member(whole.shop))


class Pause(_OfProcess):
    """SIGSTOP, as when a machine is frozen or collects garbage: connections and locks stay."""

    kind = "pause"
    seconds = (0.5, 4.0)

    async def begin(self, whole: WholeShop) -> None:
        """Freezes."""
        self.member(whole.shop).process.pause()

    async def heal(self, whole: WholeShop) -> None:
        """Thaws."""
        self.member(whole.shop).process.resume()


class StepClock(_OfProcess):
    """The system's time jumps, for one process, and jumps back."""

    kind = "step clock"
    steps_seconds: ClassVar[tuple[float, ...]] = (-86400.0, -3600.0, -5.0, 5.0, 3600.0, 86400.0)
    weight = 2.0
    _was_read = False

    @classmethod
    def targets(cls, shop: Shop) -> list[str]:
        """Every process, and every jump."""
        return [
            f"{name} by {step:+.0f} s" for name in sorted(shop.members) for step in cls.steps_seconds
        ]

    async def begin(self, whole: WholeShop) -> None:
        """Jumps."""
        self._clock(whole.shop).step(float(self.target.split()[2]))

    async def heal(self, whole: WholeShop) -> None:
        """Jumps back."""
        clock = self._clock(whole.shop)
        self._was_read = clock.read_count > 0
        clock.step(0.0)

    def has_bitten(self, whole: WholeShop, history: History) -> bool:
        """Whether the process has asked what time it is."""
        return self._was_read

    def _clock(self, shop: Shop) -> SteppedClock:
        return shop.members[self.target.split()[0]].clock


# --- connections ----------------------------------------------------------------------------------


class _OfLink(Fault):
    """Strikes what lies between two parties: those who talk, for where nobody does nobody is hit."""

    weight = 3.0
    _hit_count_before = 0

    @classmethod
    def targets(cls, shop: Shop) -> list[str]:
        """Between any two."""
        return sorted(shop.links)

    def link(self, shop: Shop) -> Link:
        """The one that is struck."""
        return shop.links[self.target.rpartition(" by ")[0] or self.target]

    async def begin(self, whole: WholeShop) -> None:
        """Spoils it."""
        link = self.link(whole.shop)
        self._hit_count_before = link.hit_count
        self.spoil(link)

    @abstractmethod
    def spoil(self, link: Link) -> None:
        """What exactly happens to it."""

    async def heal(self, whole: WholeShop) -> None:
        """Lets everything through again."""
        self.link(whole.shop).release()

    def has_bitten(self, whole: WholeShop, history: History) -> bool:
        """Whether a connection or a byte met it."""
        return self.link(whole.shop).hit_count > self._hit_count_before


class Cut(_OfLink):
    """Every open connection is reset; new ones are let through."""

    kind = "cut"

    def spoil(self, link: Link) -> None:
        """Resets."""
        link.cut()


class Refuse(_OfLink):
    """Every connection is reset, and every new one."""

    kind = "refuse"

    def spoil(self, link: Link) -> None:
        """Resets, again and again."""
        link.refuse()


class BlackHole(_OfLink):
    """Bytes go in and nothing comes out, in both directions; then all of it does."""

    kind = "black hole"
    seconds = (0.5, 12.0)
    """Longer than any wait for an answer: whoever gives up a connection does so here."""

    def spoil(self, link: Link) -> None:
        """Keeps everything."""
        link.hold()


class Slow(_OfLink):
    """Everything takes longer."""

    kind = "slow"
    steps_seconds: ClassVar[tuple[float, ...]] = (0.005, 0.05, 0.3)

    @classmethod
    def targets(cls, shop: Shop) -> list[str]:
        """Between any two, by any delay."""
        return [f"{name} by {step} s" for name in sorted(shop.links) for step in cls.steps_seconds]

    def spoil(self, link: Link) -> None:
        """Delays each piece."""
        link.slow_seconds = float(self.target.split()[-2])


LOST_ANSWERS = 3
"""At a time: whoever asks again at once loses that as well."""


class LoseAnswer(_OfLink):
    """The next answers are lost with their connections: was it carried out?"""

    kind = "lose answer"

    def spoil(self, link: Link) -> None:
        """Loses the next few."""
        asked = link.name.split()[-1].partition("#")[0]
        is_answer = {"postgres": answers_statement, **dict.fromkeys(ASKED_BY_CLIENTS, answers_call)}
        link.lose(LOST_ANSWERS, is_answer.get(asked, any_answer))


class LoseCommit(_OfLink):
    """The next answers to a COMMIT are lost with their connections."""

    kind = "lose commit"

    @classmethod
    def targets(cls, shop: Shop) -> list[str]:
        """Between the deciding processes and the database."""
        return sorted(f"{member.name} postgres" for member in shop.members_of(COMMAND))

    def spoil(self, link: Link) -> None:
        """Loses the next few."""
        link.lose(LOST_ANSWERS, answers_commit)

    def has_bitten(self, whole: WholeShop, history: History) -> bool:
        """Whether one was of a client's request, and not of a worker's, or of a heartbeat's."""
        asked = {call.request_id.encode() for call in history.as_of(history.mark())}
        lost = self.link(whole.shop).lost
        return any(request_id in asked for each in lost for request_id in REQUEST_ID.findall(each))


# --- servers --------------------------------------------------------------------------------------


RECOVERY_SECONDS_MAX = 10.0
"""For PostgreSQL to come back by itself once there is room; then it is started anew."""
RECOVERY_POLL_SECONDS = 0.1


class _OfPostgres(Fault):
    """Strikes the database."""

    resource = "postgres"

    @classmethod
    def targets(cls, shop: Shop) -> list[str]:
        """The one."""
        return [""]


class CrashPostgres(_OfPostgres):
    """An immediate stop: every connection is cut, and recovery replays the log."""

    kind = "crash postgres"

    async def begin(self, whole: WholeShop) -> None:
        """Stops."""
        await asyncio.to_thread(whole.shop.postgres.crash)

    async def heal(self, whole: WholeShop) -> None:
        """Starts."""
        await asyncio.to_thread(whole.shop.postgres.start)


SEGMENTS_MAX = 32
"""Of the log, that the server may keep in advance: twice as many as its settings let it."""
NO_ROOM = ("No space left on device", "File too large")
"""What the server's log says of a write that failed, by the kind of disk."""


class FillDisk(_OfPostgres):
    """No room: the server may refuse what needs a new page, or end, if its own log needs one."""

    kind = "fill disk"
    seconds = (1.0, 4.0)

    @classmethod
    def targets(cls, shop: Shop) -> list[str]:
        """What there is no room for at once."""
        return ["of log", "of tables"]

    async def begin(self, whole: WholeShop) -> None:
        """Fills it."""
        # Where the size of files is limited it must have room to say so.
        whole.set_log_aside()
        whole.disk.fill(whole.shop.postgres.pid)
        if self.target == "of log":
            await asyncio.to_thread(_use_up_log, whole)

    def has_bitten(self, whole: WholeShop, history: History) -> bool:
        """Whether the server could not write something."""
        said = whole.shop.postgres.log_path.read_text(encoding="utf-8", errors="replace")
        return any(words in said for words in NO_ROOM)

    async def heal(self, whole: WholeShop) -> None:
        """Makes room, and starts the server again if it has ended, or does so yet."""
        shop = whole.shop
        whole.disk.free(shop.postgres.pid if shop.postgres.is_running else None)
        end = asyncio.get_running_loop().time() + RECOVERY_SECONDS_MAX
        while not await asyncio.to_thread(_answers, shop.database_url):
            is_late = asyncio.get_running_loop().time() > end
            if not shop.postgres.is_running or is_late:
                await asyncio.to_thread(shop.postgres.crash)
                await asyncio.to_thread(shop.postgres.start)
                return
            await asyncio.sleep(RECOVERY_POLL_SECONDS)


def _use_up_log(whole: WholeShop) -> None:
    """Has the server begin segments of its log until there is none that it made beforehand."""
    with contextlib.suppress(psycopg.Error):
        for _ in range(SEGMENTS_MAX):
            with psycopg.connect(
                whole.shop.database_url, autocommit=True, connect_timeout=5
            ) as connection:
                connection.execute("SELECT pg_switch_wal()")
                # Old ones are given up now and then: what that freed is taken at once.
                whole.disk.fill(whole.shop.postgres.pid)
                connection.execute("SELECT pg_logical_emit_message(true, 'torture', 'a new segment')")


def _answers(database_url: str) -> bool:
    """Whether the database can be connected to."""
    try:
        psycopg.connect(database_url, connect_timeout=5).close()
    except psycopg.OperationalError:
        return False
    return True


class _OfValkey(Fault):
    """Strikes the read models."""

    resource = "valkey"

    @classmethod
    def targets(cls, shop: Shop) -> list[str]:
        """The one."""
        return [""]


class KillValkey(_OfValkey):
    """The server dies and comes back empty."""

    kind = "kill valkey"

    async def begin(self, whole: WholeShop) -> None:
        """Kills."""
        await asyncio.to_thread(whole.shop.valkey.kill)

    async def heal(self, whole: WholeShop) -> None:
        """Starts it, empty."""
        await asyncio.to_thread(whole.shop.valkey.start)


class FlushValkey(_OfValkey):
    """Somebody says FLUSHALL."""

    kind = "flush valkey"
    seconds = (0.0, 0.1)

    async def begin(self, whole: WholeShop) -> None:
        """Says it."""
        async with Redis.from_url(whole.shop.valkey.url) as client:
            await client.flushall()

    async def heal(self, whole: WholeShop) -> None:
        """There is nothing to put right: it is rebuilt without being asked."""


class PauseValkey(_OfValkey):
    """SIGSTOP: connections stay open and nothing answers."""

    kind = "pause valkey"

    async def begin(self, whole: WholeShop) -> None:
        """Freezes."""
        os.kill(whole.shop.valkey.pid, signal.SIGSTOP)

    async def heal(self, whole: WholeShop) -> None:
        """Thaws."""
        os.kill(whole.shop.valkey.pid, signal.SIGCONT)


FAULTS: tuple[type[Fault], ...] = (
    Kill,
    Drain,
    Pause,
    StepClock,
    Cut,
    Refuse,
    BlackHole,
    Slow,
    LoseAnswer,
    LoseCommit,
    CrashPostgres,
    FillDisk,
    KillValkey,
    FlushValkey,
    PauseValkey,
)
