"""Processes that share a database, and clients that never take no answer for an answer."""

import asyncio
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from random import Random
from typing import Any
from uuid import UUID

from command_service.checkout.expiry import EXPIRABLES, ExpiryWorker
from command_service.committer import Committer, Lane, Limits
from command_service.database_failures import ConnectionLost
from command_service.errors import Failure, Internal, RequestIdReused
from command_service.submission import Answer, Submission
from command_service.world import Command
from tests.simulation.database import KEY_ROW, Database
from tests.simulation.unit_of_work import Conditions, MemoryUnitOfWork

WAIT_SECONDS = 30.0
"""For a command to be begun, unless a client is in a hurry."""

ATTEMPT_COUNT_MAX = 6
"""Of one client while things go wrong; once they are mended it asks until it knows."""

SETTLE_COUNT_MAX = 200

BATCH_ROWS_MAX = (1, 2, 200)
"""Small batches meet more often; large ones have more in them that may go wrong together."""


@dataclass(slots=True, eq=False)
class Request:
    """A command that a client wants carried out once, and all that it was ever answered."""

    number: int
    request_id: UUID
    command: Command[Any]
    is_hurried: bool = False
    is_doubled: bool = False
    answers: list[Answer] = field(default_factory=list)
    decided: dict[bytes, Any] = field(default_factory=dict)

    @property
    def method(self) -> str:
        return type(self.command).__name__

    @property
    def is_done(self) -> bool:
        return bool(self.answers) and self.answers[0].code == 0

    @property
    def answer(self) -> Any:
        """What its command decided; None if it was refused."""
        return self.decided.get(self.answers[0].body)


class ExpiryLookoutInMemory:
    """Finds what is due, and waits a little when there is nothing, as nothing else would happen."""

    def __init__(self, database: Database, conditions: Conditions) -> None:
        self._database = database
        self._conditions = conditions

    async def take_worker_lock(self, number: int) -> bool:
        await self._trip()
        return self._database.worker_locks.setdefault(number, self) is self

    def drop(self) -> None:
        for number, holder in list(self._database.worker_locks.items()):
            if holder is self:
                del self._database.worker_locks[number]

    async def close(self) -> None:
        self.drop()

    async def due(self, count_max: int) -> Sequence[Sequence[tuple[str, datetime]]]:
        await self._trip()
        now = self._database.now
        found: dict[str, list[tuple[str, datetime]]] = {each.name: [] for each in EXPIRABLES}
        for kind, key, expire_time in due_rows(self._database):
            if expire_time <= now:
                found[kind].append((key, expire_time))
        return [sorted(rows, key=lambda row: row[1])[:count_max] for rows in found.values()]

    async def _trip(self) -> None:
        await self._database.loop.pause(0.001)
        if self._conditions.draw() is not None:
            self.drop()
            raise ConnectionLost("the connection is lost", code="08")


def due_rows(database: Database) -> list[tuple[str, str, datetime]]:
    """Everything that expires at some time: its kind, key and time."""
    found = []
    for (rank, key), row in database.rows.items():
        if row is not KEY_ROW and rank in _EXPIRING:
            kind, state_values = _EXPIRING[rank]
            is_own = rank != _RESERVATION_RANK or not row.is_of_order
            if row.state in state_values and is_own:
                found.append((kind, key, row.expire_time))
    return found


_RESERVATION_RANK = 4
_EXPIRING: dict[int, tuple[str, tuple[int, ...]]] = {
    1: ("cart", (1,)),
    2: ("order", (1, 2)),
    4: ("reservation", (1,)),
}


class Process:
    """One command service: a committer of two lanes, and the workers."""

    def __init__(
        self,
        database: Database,
        conditions: Conditions,
        chance: Random,
        name: str,
        *,
        limits: Limits,
        expires: bool,
    ) -> None:
        self.name = name
        self.is_dead = False
        self.units = [MemoryUnitOfWork(database, conditions, f"{name}.{lane}") for lane in ("s", "b")]
        short, bulk = (
            Lane(lane, unit, limits, jitter=lambda: 0.5 + chance.random() / 2)
            for lane, unit in zip(("short", "bulk"), self.units, strict=True)
        )
        self.committer = Committer(short, bulk)
        self.lookout = ExpiryLookoutInMemory(database, conditions)
        self.expiry = ExpiryWorker(self.lookout, self.committer) if expires else None

    async def start(self) -> None:
        await self.committer.start()
        if self.expiry is not None:
            await self.expiry.start()

    async def drain(self) -> None:
        if self.expiry is not None:
            await self.expiry.drain()
        await self.committer.drain()

    def kill(self) -> None:
        """SIGKILL: its tasks are gone, the server notices, its clients are told nothing but that."""
        self.is_dead = True
        for task in self.committer._workers:
            task.cancel()
        if self.expiry is not None:
            worker = self.expiry._worker._task
            assert worker is not None
            worker.cancel()
        for unit in self.units:
            unit.drop()
        self.lookout.drop()
        for submission in list(self.committer._in_flight.values()):
            if not submission.future.done():
                submission.future.cancel()


class Shop:
    """Processes, the requests of clients, and what they found."""

    def __init__(
        self, database: Database, conditions: Conditions, chance: Random, *, expires: bool
    ) -> None:
        self.database = database
        self.conditions = conditions
        self.chance = chance
        self.expires = expires
        self.limits = Limits(batch_rows_max=BATCH_ROWS_MAX[int(chance.random() * len(BATCH_ROWS_MAX))])
        self.processes: list[Process] = []
        self.requests: list[Request] = []
        self._answer_numbers = itertools.count(1)
        self._process_numbers = itertools.count(1)

    async def open(self, process_count: int) -> None:
        for _ in range(process_count):
            await self.start_process()

    async def start_process(self) -> Process:
        process = Process(
            self.database,
            self.conditions,
            self.chance,
            f"p{next(self._process_numbers)}",
            limits=self.limits,
            expires=self.expires,
        )
        await process.start()
        self.processes.append(process)
        return process

    def request(self, command: Command[Any], **facts: Any) -> Request:
        request_id = UUID(int=self.chance.getrandbits(128), version=4)
        request = Request(len(self.requests), request_id, command, **facts)
        self.requests.append(request)
        return request

    async def carry_out(self, request: Request) -> None:
        """Asks some process after another; gives up after a while, not knowing what became of it."""
        for _ in range(ATTEMPT_COUNT_MAX):
            if request.is_doubled:
                twin = asyncio.ensure_future(self.ask(request))
                await self.ask(request)
                await twin
            else:
                await self.ask(request)
            if request.answers:
                return
            await self.database.loop.pause(self.chance.random())

    async def settle(self) -> None:
        """Asks once more for everything, all at once, and for what is not known until it is."""
        open_requests = self.requests
        for _ in range(SETTLE_COUNT_MAX):
            counts = [len(request.answers) for request in open_requests]
            for request in open_requests:
                request.is_hurried = False
            await asyncio.gather(*map(self.ask, open_requests))
            open_requests = [
                request
                for request, count in zip(open_requests, counts, strict=True)
                if len(request.answers) == count
            ]
            if not open_requests:
                return
            await self.database.loop.pause(0.1)
        for request in open_requests:
            self.database.violations.append(f"request {request.number} is never answered")

    async def ask(self, request: Request) -> None:
        """Sends the request to a process and notes what it answers."""
        living = self.processes
        process = living[int(self.chance.random() * len(living))]
        loop, trace = self.database.loop, self.database.trace
        trace.append(("send", loop.time(), process.name, request.number, request.method))
        seconds = 0.005 if request.is_hurried else WAIT_SECONDS
        try:
            answer = await process.committer.submit(self._submission(request, seconds))
        except Failure as failure:
            self._note(request, failure)
        except asyncio.CancelledError:
            # The process was killed. Nobody cancels clients.
            trace.append(("lost", loop.time(), process.name, request.number))
        else:
            request.answers.append(answer)
            trace.append(("answer", loop.time(), request.number, answer.code, answer.body))

    def _note(self, request: Request, failure: Failure) -> None:
        self.database.trace.append(
            ("failure", self.database.loop.time(), request.number, type(failure).__name__)
        )
        if isinstance(failure, Internal | RequestIdReused):
            self.database.violations.append(f"request {request.number} {request.method}: {failure!r}")

    def _submission(self, request: Request, seconds: float) -> Submission:
        def encode(answer: Any) -> bytes:
            body = b"%d" % next(self._answer_numbers)
            request.decided[body] = answer
            return body

        return Submission(
            request_id=request.request_id,
            method=request.method,
            fingerprint=b"",
            actor="client",
            command=request.command,
            encode=encode,
            deadline=self.database.loop.time() + seconds,
        )

    async def kill_one(self) -> None:
        """Kills a process, and starts another in its place a moment later."""
        index = int(self.chance.random() * len(self.processes))
        process = self.processes[index]
        self.database.trace.append(("kill", self.database.loop.time(), process.name))
        process.kill()
        self.processes.remove(process)
        if not self.processes:
            await self.start_process()
            return
        await self.database.loop.pause(self.chance.random())
        await self.start_process()

    async def close(self) -> None:
        for process in self.processes:
            await process.drain()
