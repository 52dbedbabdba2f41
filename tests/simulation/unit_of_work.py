"""The port below group commit, on the database in memory, over a line that may break at any trip."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto
from random import Random
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

from command_service.database_failures import (
    ConnectionLost,
    DatabaseFailure,
    FellSilent,
    Interrupted,
    TookTooLong,
)
from command_service.errors import Failure
from command_service.unit_of_work import HASTE_SECONDS, Claimed, Found, Named, Work
from command_service.world import Mode
from event_log.events import Event
from event_log.tokens import ConsistencyToken
from tests.simulation.database import (
    INCARNATION,
    LOCK_SECONDS_MAX,
    TRANSACTION_SECONDS_MAX,
    Database,
    Place,
    Txn,
    read,
)
from tests.simulation.loop import SimulatedLoop

ResultT = TypeVar("ResultT")

TRIP_SECONDS_MAX = 10.0
"""As command_service.session gives up."""

LINGER_SECONDS_MAX = 6.0
"""How long a server may go on without noticing that its client has gone: until its limits end it."""


class Fault(Enum):
    """What may happen to a trip."""

    CUT_BEFORE = auto()
    """The connection is reset before the server hears of it."""
    CUT_AFTER = auto()
    """The server does all of it, and its answer is lost: the client is told at any time meanwhile."""
    SILENCE_BEFORE = auto()
    """Nothing arrives, and nobody says so."""
    SILENCE_AFTER = auto()
    """The answer does not arrive, and nobody says so."""
    TERMINATED = auto()
    """The server ends the session, and says so."""
    STALL = auto()
    """The client stops for a while, between two trips."""


@dataclass(slots=True)
class Conditions:
    """How the line is: drawn for each seed, and healed in the end.

    fault_rate: of trips, from 0 to 1; where it is 0 none has a fault. trips_to_fault: the last of so
    many has one whatever the rate; 0: that is left to chance. latency_seconds_max: of a trip; most take
    less. answer_rate: of trips whose answer takes time of its own. replace_count: of processes that are
    killed or drained.
    """

    chance: Random
    latency_seconds_max: float = 0.001
    fault_rate: float = 0.0
    trips_to_fault: int = 0
    faults: tuple[Fault, ...] = tuple(Fault)
    answer_rate: float = 0.0
    fault_count: int = 0
    replace_count: int = 0
    steps_clock: bool = False

    def draw(self) -> Fault | None:
        if not self.fault_rate:
            return None
        self.trips_to_fault -= 1
        if self.trips_to_fault != 0 and self.chance.random() >= self.fault_rate:
            return None
        self.fault_count += 1
        return self.faults[int(self.chance.random() * len(self.faults))]


class Snapshot(NamedTuple):
    """What a rehearsal sees."""

    rows: dict[Place, Any]
    position: int


class Link:
    """A connection, and what it has open on the server. A dead one is never mended."""

    __slots__ = ("is_dead", "snapshot", "txn")

    def __init__(self) -> None:
        self.txn: Txn | None = None
        self.snapshot: Snapshot | None = None
        self.is_dead = False


class MemoryUnitOfWork:
    """See the port, command_service.unit_of_work.UnitOfWork."""

    def __init__(self, database: Database, conditions: Conditions, name: str) -> None:
        self.database = database
        self.conditions = conditions
        self.name = name
        self._loop: SimulatedLoop = database.loop
        self._link: Link | None = None
        self._answer_count = 0

    # --- the port ----------------------------------------------------------------------------------

    async def connect(self) -> None:
        if self._link is None or self._link.is_dead:
            self._link = Link()

    def claim(
        self, request_ids: Sequence[UUID], *, is_hasty: bool = False
    ) -> Coroutine[Any, Any, Claimed]:
        seconds = HASTE_SECONDS if is_hasty else LOCK_SECONDS_MAX
        return self._trip(self._claim, request_ids, seconds)

    async def load(self, named: Sequence[Named]) -> list[Found]:
        return await self._trip(self._load, named) if named else []

    def load_last(self, named: Sequence[Named]) -> Coroutine[Any, Any, tuple[list[Found], datetime]]:
        return self._trip(self._load_last, named)

    def encode_event(self, event: Event) -> Any:
        return None

    def encode_failure(self, failure: Failure) -> bytes:
        self._answer_count += 1
        return f"{type(failure).__name__} {self.name} {self._answer_count}".encode()

    def write(self, work: Work) -> Coroutine[Any, Any, ConsistencyToken]:
        return self._trip(self._write, work)

    def end(self) -> Coroutine[Any, Any, None]:
        return self._trip(self._end)

    async def roll_back(self) -> None:
        link = self._link
        if link is not None and not link.is_dead and link.txn is not None:
            self.database.abort(link.txn)
            link.txn = link.snapshot = None

    def begin_rehearsal(self) -> Coroutine[Any, Any, None]:
        return self._trip(self._begin_rehearsal)

    def log_end(self) -> Coroutine[Any, Any, ConsistencyToken]:
        return self._trip(self._log_end)

    def drop(self) -> None:
        """The process is gone: the server notices at once."""
        if self._link is not None:
            self._bury(self._link)
            self._link = None

    # --- what the server does ----------------------------------------------------------------------

    async def _claim(self, link: Link, request_ids: Sequence[UUID], lock_seconds_max: float) -> Claimed:
        assert link.txn is None, "one transaction at a time"
        link.txn = self.database.begin(self.name)
        link.txn.lock_seconds_max = lock_seconds_max
        return self.database.claim(link.txn, request_ids)

    async def _load_last(self, link: Link, named: Sequence[Named]) -> tuple[list[Found], datetime]:
        found = await self._load(link, named)
        return found, self.database.now

    async def _load(self, link: Link, named: Sequence[Named]) -> list[Found]:
        txn = _open(link)
        if link.snapshot is None:
            return await self.database.load(txn, named)
        assert all(mode is Mode.READ for _, keys in named for _, mode in keys.modes)
        rows = link.snapshot.rows
        return [read(rows, kind.rank, keys) for kind, keys in named]

    async def _begin_rehearsal(self, link: Link) -> None:
        assert link.txn is None, "one transaction at a time"
        link.txn = self.database.begin(self.name)
        link.snapshot = Snapshot(dict(self.database.rows), self.database.last_position)

    async def _log_end(self, link: Link) -> ConsistencyToken:
        _open(link)
        assert link.snapshot is not None, "begin a rehearsal first"
        return ConsistencyToken(INCARNATION, link.snapshot.position)

    async def _write(self, link: Link, work: Work) -> ConsistencyToken:
        token = await self.database.write(_open(link), work)
        link.txn = None
        return token

    async def _end(self, link: Link) -> None:
        self.database.commit(_open(link))
        link.txn = None

    # --- the line ----------------------------------------------------------------------------------

    async def _trip(self, talk: Callable[..., Awaitable[ResultT]], *said: Any) -> ResultT:
        conditions = self.conditions
        link = self._link
        if link is None or link.is_dead:
            raise ConnectionLost("there is no connection", code="08")
        try:
            await self._loop.pause(conditions.chance.random() * conditions.latency_seconds_max)
            if link.is_dead:
                raise ConnectionLost("the connection is lost", code="08")
            fault = conditions.draw() if conditions.fault_rate else None
            if fault is not None:
                return await self._faulty(fault, link, talk, said)
            if link.txn is not None and link.txn.is_over:
                raise Interrupted("the server ended the session", code="57")
            result = await talk(link, *said)
            if conditions.answer_rate and conditions.chance.random() < conditions.answer_rate:
                await self._loop.pause(conditions.chance.random() * conditions.latency_seconds_max)
        except DatabaseFailure as failure:
            self._failed(link, failure)
            raise
        except asyncio.CancelledError:
            self._bury(link)
            raise
        return result

    def _failed(self, link: Link, failure: DatabaseFailure) -> None:
        """An error ends the transaction at once; some end the session with it."""
        if failure.code in ("08", "57", "25"):
            if not isinstance(failure, ConnectionLost):
                self._bury(link)
            link.is_dead = True
        elif link.txn is not None:
            self.database.abort(link.txn)
            link.txn = None

    def _bury(self, link: Link) -> None:
        link.is_dead = True
        if link.txn is not None:
            self.database.abort(link.txn)

    async def _faulty(
        self,
        fault: Fault,
        link: Link,
        talk: Callable[..., Awaitable[ResultT]],
        said: tuple[Any, ...],
    ) -> ResultT:
        chance, loop = self.conditions.chance, self._loop
        self.database.trace.append(("fault", loop.time(), self.name, fault.name))
        if fault is Fault.STALL:
            if link.txn is not None:
                loop.call_at(link.txn.begun + TRANSACTION_SECONDS_MAX, self._time_out, link)
            await loop.pause(chance.random() * LINGER_SECONDS_MAX)
            if link.is_dead or (link.txn is not None and link.txn.is_over):
                raise TookTooLong("transaction timeout", code="25")
            return await talk(link, *said)
        if fault is Fault.TERMINATED:
            raise Interrupted("terminated by an administrator", code="57")
        link.is_dead = True
        is_silent = fault in (Fault.SILENCE_BEFORE, Fault.SILENCE_AFTER)
        if fault in (Fault.CUT_AFTER, Fault.SILENCE_AFTER):
            loop.create_task(self._alone(link, talk, said))
        else:
            self._leave(link)
        if is_silent:
            await loop.pause(TRIP_SECONDS_MAX)
            raise FellSilent("the database did not answer", code="08")
        await loop.pause(chance.random() * self.conditions.latency_seconds_max * 2)
        raise ConnectionLost("the connection is lost", code="08")

    async def _alone(
        self, link: Link, talk: Callable[..., Awaitable[object]], said: tuple[Any, ...]
    ) -> None:
        """The server goes on with what it has been sent, and then finds that nobody is there."""
        await self._loop.pause(self.conditions.chance.random() * self.conditions.latency_seconds_max)
        try:
            await talk(link, *said)
        except DatabaseFailure:
            if link.txn is not None:
                self.database.abort(link.txn)
            return
        self._leave(link)

    def _leave(self, link: Link) -> None:
        """What is open stays so until the server notices."""
        if link.txn is not None:
            # As soon as it is told, or when a limit ends the transaction.
            seconds = self.conditions.chance.random() ** 3 * LINGER_SECONDS_MAX
            end = min(
                self._loop.time() + seconds,
                max(self._loop.time(), link.txn.begun + TRANSACTION_SECONDS_MAX),
            )
            self._loop.call_at(end, self.database.abort, link.txn)

    def _time_out(self, link: Link) -> None:
        if link.txn is not None and not link.txn.is_over:
            self._bury(link)


def _open(link: Link) -> Txn:
    assert link.txn is not None, "claim first"
    if link.txn.is_over:
        raise Interrupted("the server ended the session", code="57")
    return link.txn
