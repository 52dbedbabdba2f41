"""Processes that share a database, and clients that never take no answer for an answer."""

import asyncio
import itertools
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from random import Random
from typing import Any, cast
from uuid import UUID

from command_service.checkout.expiry import ExpiryWorker
from command_service.checkout.payment_driver import PaymentDriver
from command_service.checkout.payment_worker import PaymentWorker
from command_service.checkout.process import next_steps
from command_service.checkout.report_payment import ReportProviderEvent
from command_service.committer import Committer, Lane, Limits
from command_service.errors import Failure, Internal, RequestIdReused
from command_service.payment.gateway import Gateway
from command_service.payment.reports import Told
from command_service.rehearsal import Rehearsal
from command_service.submission import Answer, Submission
from command_service.world import Command, LockRank
from payment_providers.port import ProviderPayment, ProviderRefund
from tests.simulation.database import KEY_ROW, Database, Place
from tests.simulation.lookouts import (
    ExpiryLookoutInMemory,
    LookoutInMemory,
    PaymentLookoutInMemory,
    expiring,
)
from tests.simulation.provider import ProviderInMemory
from tests.simulation.unit_of_work import Conditions, MemoryUnitOfWork
from tests.simulation.verdicts import Asked, Watched

WAIT_SECONDS = 30.0
"""For a command to be begun, unless a client is in a hurry."""

ATTEMPT_COUNT_MAX = 6
"""Of one client while things go wrong; once they are mended it asks until it knows."""

SETTLE_COUNT_MAX = 200

PROVIDER_FAULT_RATES = (0.0, 0.2, 0.5)

PENDING_RATES = (0.0, 0.5)

CLOCK_STEP_SECONDS_MAX = 6.0

REHEARSAL_RATE = 0.04

REPLAY_RATE = 0.12
"""Of what was answered: asked for again in the end, it must be answered the same."""

REST_COUNT_MAX = 2_000
"""Seconds: calls are put off for minutes, and unknown outcomes for ten of them."""

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
    decided: dict[bytes, tuple[Any, float]] = field(default_factory=dict)

    @property
    def method(self) -> str:
        return type(self.command).__name__

    @property
    def is_done(self) -> bool:
        return bool(self.answers) and self.answers[0].code == 0

    @property
    def answer(self) -> Any:
        """What its command decided; None if it was refused."""
        return self._decided[0]

    @property
    def decided_seconds(self) -> float:
        """When it did."""
        return self._decided[1]

    @property
    def _decided(self) -> tuple[Any, float]:
        return self.decided.get(self.answers[0].body, (None, 0.0))


Client = Callable[["Shop"], Coroutine[Any, Any, None]]


@dataclass(frozen=True, slots=True)
class Workload:
    """What there is at first, what each client does, and which workers there are for it."""

    rows: dict[Place, Any]
    clients: list[Client]
    expires: bool
    is_paid_at_provider: bool = False


class WatchedCommitter(Committer):
    """Notes every command that comes in, and what it decides."""

    def __init__(self, short: Lane, bulk: Lane, asked: dict[UUID, Asked]) -> None:
        super().__init__(short, bulk)
        self._asked = asked

    async def submit(self, submission: Submission) -> Answer:
        command = submission.command
        asked = self._asked.get(submission.request_id)
        if asked is None:
            asked = self._asked[submission.request_id] = Asked(command, submission.actor)
        submission.command = cast("Command[Any]", Watched(command, asked.verdicts))
        return await super().submit(submission)


class Process:
    """One command service: a committer of two lanes, and the workers that the workload calls for."""

    def __init__(self, shop: "Shop", name: str) -> None:
        database, conditions, chance = shop.database, shop.conditions, shop.chance
        self.name = name
        self.units = [
            MemoryUnitOfWork(database, conditions, f"{name}.{lane}") for lane in ("s", "b", "r")
        ]
        short, bulk = (
            Lane(lane, unit, shop.limits, jitter=lambda: 0.5 + chance.random() / 2)
            for lane, unit in zip(("short", "bulk"), self.units, strict=False)
        )
        self.committer = WatchedCommitter(short, bulk, shop.asked)
        self.rehearsal = Rehearsal(self.units[-1])
        self.lookouts: list[LookoutInMemory] = []
        self.workers: list[ExpiryWorker | PaymentWorker] = []
        self.drivers: list[PaymentDriver] = []
        """One, where there is something to pay."""
        if shop.workload.expires:
            expiry = ExpiryLookoutInMemory(database, conditions)
            self.lookouts.append(expiry)
            self.workers.append(ExpiryWorker(expiry, self.committer, new_id=shop.new_worker_id))
        if shop.workload.is_paid_at_provider:
            gateway = Gateway({"stripe": shop.provider})
            driver = PaymentDriver(self.committer, gateway, new_id=shop.new_worker_id)
            payments = PaymentLookoutInMemory(database, conditions)
            self.drivers.append(driver)
            self.lookouts.append(payments)
            self.workers.append(PaymentWorker(payments, driver))

    async def start(self) -> None:
        await self.committer.start()
        for worker in self.workers:
            await worker.start()

    async def drain(self) -> None:
        for worker in self.workers:
            await worker.drain()
        for driver in self.drivers:
            await driver.drain()
        await self.committer.drain()

    def kill(self) -> None:
        """SIGKILL: its tasks are gone, the server notices, its clients are told nothing but that."""
        tasks = [worker._worker._task for worker in self.workers]
        tasks += [task for driver in self.drivers for task in driver._tasks]
        for task in (*self.committer._workers, *tasks):
            assert task is not None
            task.cancel()
        for unit in self.units:
            unit.drop()
        for lookout in self.lookouts:
            lookout.drop()
        for submission in list(self.committer._in_flight.values()):
            submission.future.cancel()


class Shop:
    """Processes, the requests of clients, and what they found."""

    def __init__(
        self, database: Database, conditions: Conditions, chance: Random, workload: Workload
    ) -> None:
        self.database = database
        self.conditions = conditions
        self.chance = chance
        self.workload = workload
        self.provider = ProviderInMemory(
            database.loop,
            chance,
            self.deliver,
            fault_rate=PROVIDER_FAULT_RATES[int(chance.random() * len(PROVIDER_FAULT_RATES))],
            tell_rate=1.0 if chance.random() < 0.5 else 0.3,
            pending_rate=PENDING_RATES[int(chance.random() * len(PENDING_RATES))],
        )
        self.limits = Limits(batch_rows_max=BATCH_ROWS_MAX[int(chance.random() * len(BATCH_ROWS_MAX))])
        self.processes: list[Process] = []
        self._started: list[Process] = []
        """All that ever were."""
        self.requests: list[Request] = []
        self.deliveries: list[asyncio.Task[None]] = []
        self.asked: dict[UUID, Asked] = {}
        """Every request that was ever sent, also by workers."""
        self._turn = 0
        self._worker_numbers = itertools.count(1)
        self._answer_numbers = itertools.count(1)
        self._process_numbers = itertools.count(1)

    def new_id(self) -> UUID:
        return UUID(int=self.chance.getrandbits(128), version=4)

    def new_worker_id(self) -> UUID:
        """Of a request of ours: counted, so what workers do changes nothing of what chance has in store.

        Clients' ids are drawn from 122 bits, and so are none of these.
        """
        return UUID(int=next(self._worker_numbers), version=4)

    def names(self) -> dict[UUID, str]:
        """What requests are called in a history: a client's by its number, a worker's by its command."""
        names = {id_: repr(asked.command) for id_, asked in self.asked.items()}
        names.update({request.request_id: f"#{request.number}" for request in self.requests})
        return names

    def say(self, *happening: Any) -> None:
        """Adds to the history."""
        self.database.trace.append((happening[0], self.database.loop.time(), *happening[1:]))

    # --- processes ---------------------------------------------------------------------------------

    async def open(self, process_count: int) -> None:
        for _ in range(process_count):
            await self._start_process()

    async def _start_process(self) -> None:
        process = Process(self, f"p{next(self._process_numbers)}")
        await process.start()
        self.processes.append(process)
        self._started.append(process)

    async def replace_one(self) -> None:
        """Kills or drains a process, and starts another in its place a moment later."""
        process = self._any_process()
        self.processes.remove(process)
        if self.chance.random() < 0.7:
            self.say("kill", process.name)
            process.kill()
        else:
            self.say("drain", process.name)
            self.deliveries.append(asyncio.ensure_future(process.drain()))
        if self.processes:
            await self.database.loop.pause(self.chance.random())
        await self._start_process()

    def step_the_clock(self) -> None:
        """The database's clock jumps by some seconds, back or forth."""
        seconds = (self.chance.random() - 0.5) * CLOCK_STEP_SECONDS_MAX
        self.database.clock_offset += timedelta(seconds=seconds)
        self.say("clock", seconds)

    def _next_process(self) -> Process:
        """Each in turn, as a load balancer does: requests of one moment meet in the database."""
        self._turn += 1
        return self.processes[self._turn % len(self.processes)]

    def _any_process(self) -> Process:
        return self.processes[int(self.chance.random() * len(self.processes))]

    async def close(self) -> None:
        # What comes late, and who was replaced: one that fails, or never ends, is found by it.
        await asyncio.gather(*self.deliveries)
        for process in self.processes:
            await process.drain()

    def let_go(self) -> None:
        """Breaks the circles of references, once all is over and judged.

        What a seed has used is free at once then, for the next one, while it is near the processor.
        """
        for process in self._started:
            for worker in process.workers:
                vars(worker._worker).clear()
        self.processes.clear()
        self._started.clear()
        self.provider.tell = lambda _: None
        self.database.loop.forget()

    # --- clients -----------------------------------------------------------------------------------

    def request(self, command: Command[Any], **facts: Any) -> Request:
        request = Request(len(self.requests), self.new_id(), command, **facts)
        self.requests.append(request)
        return request

    async def carry_out(self, request: Request) -> None:
        """Asks some process after another; gives up after a while, not knowing what became of it."""
        if self.chance.random() < REHEARSAL_RATE:
            await self.rehearse(request)
        for _ in range(ATTEMPT_COUNT_MAX):
            twin = asyncio.ensure_future(self.ask(request)) if request.is_doubled else None
            await self.ask(request)
            if twin is not None:
                await twin
            if request.answers:
                return
            await self.database.loop.pause(self.chance.random())

    async def ask(self, request: Request) -> None:
        """Sends the request to a process and notes what it answers."""
        process = self._next_process()
        self.say("send", f"#{request.number}", f"to {process.name}", request.command)
        seconds = 0.005 if request.is_hurried else WAIT_SECONDS
        try:
            answer = await process.committer.submit(self._submission(request, seconds))
        except Failure as failure:
            self._note(request, failure)
        except asyncio.CancelledError:
            self.say("lost", f"#{request.number}", process.name)  # it was killed: nobody cancels clients
        else:
            request.answers.append(answer)
            self.say("answer", f"#{request.number}", answer.code, answer.body)

    def _note(self, request: Request, failure: Failure) -> None:
        self.say("failure", f"#{request.number}", type(failure).__name__)
        if isinstance(failure, Internal | RequestIdReused):
            self.database.violations.append(f"request {request.number} {request.method}: {failure!r}")

    async def rehearse(self, request: Request) -> None:
        """Asks what would be answered; nothing may come of it."""
        process = self._any_process()
        submission = self._submission(request, WAIT_SECONDS)
        self.say("rehearse", f"#{request.number}", process.name)
        try:
            await process.rehearsal.rehearse(submission)
        except Failure as failure:
            self._note(request, failure)

    def _submission(self, request: Request, seconds: float) -> Submission:
        def encode(answer: Any) -> bytes:
            body = b"%d" % next(self._answer_numbers)
            request.decided[body] = answer, self.database.loop.time()
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

    # --- what the provider tells, and what is asked of it ------------------------------------------

    def deliver(self, told: ProviderPayment | ProviderRefund) -> None:
        """The provider tells of it at least once, at any time, in any order."""
        request = self.request(ReportProviderEvent("stripe", Told(told)))
        for _ in range(1 + int(self.chance.random() * 2.5)):
            seconds = self.chance.random() ** 3 * 4.0
            self.deliveries.append(asyncio.ensure_future(self._deliver_late(request, seconds)))

    async def _deliver_late(self, request: Request, seconds: float) -> None:
        await self.database.loop.pause(seconds)
        await self.carry_out(request)

    async def drive(self, started: Request) -> None:
        """Makes the call that was claimed; whoever should may not be there any more."""
        process, seconds = self._any_process(), started.decided_seconds
        driving = process.drivers[0].drive(started.answer, claimed_seconds=seconds)
        await self._driven(process, driving)

    async def drive_refunds(self, asked: Request) -> None:
        """Likewise."""
        process, seconds = self._any_process(), asked.decided_seconds
        driving = process.drivers[0].drive_refunds(asked.answer, claimed_seconds=seconds)
        await self._driven(process, driving)

    async def _driven(self, process: Process, driving: Coroutine[Any, Any, object]) -> None:
        try:
            await driving
        except Failure as failure:
            self.say("not driven", type(failure).__name__)
        except asyncio.CancelledError:
            self.say("lost", process.name)

    # --- the end -----------------------------------------------------------------------------------

    async def settle(self) -> None:
        """Asks once more for many things, all at once, and for what is not known until it is."""
        asked = [r for r in self.requests if not r.answers or self.chance.random() < REPLAY_RATE]
        for _ in range(SETTLE_COUNT_MAX):
            counts = [len(request.answers) for request in asked]
            for request in asked:
                request.is_hurried = False
            await asyncio.gather(*map(self.ask, asked))
            asked = [r for r, count in zip(asked, counts, strict=True) if len(r.answers) == count]
            if not asked:
                return
            await self.database.loop.pause(0.1)
        self.database.violations.extend(
            f"request {request.number} is never answered" for request in asked
        )

    async def come_to_rest(self) -> None:
        """Returns when nothing is due any more, and nothing is on its way."""
        for _ in range(REST_COUNT_MAX):
            await self.database.loop.pause(1.0)
            if not any(self._open_questions()):
                return
        self.database.violations.extend(f"never at rest: {each}" for each in self._open_questions())

    def _open_questions(self) -> Iterator[str]:
        if not all(delivery.done() for delivery in self.deliveries):
            yield "deliveries"
        now = self.database.now
        if self.workload.expires:
            yield from (key for _, key, expire_time in expiring(self.database) if expire_time <= now)
        for (rank, order_id), row in self.database.rows.items():
            if rank is LockRank.ORDER_PAYMENTS and row is not KEY_ROW:
                order = self.database.rows[LockRank.ORDER, order_id]
                if any(each.errand for each in (*row.payments, *row.refunds)):
                    yield f"an errand of {order_id}"
                elif any(next_steps(order, row, now, can_be_had=False)):
                    yield f"a step of {order_id}"
