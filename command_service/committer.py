"""Group commit: commands that arrive while a commit is in flight form the next batch.

The one place that opens a transaction. An idle committer adds no wait: a lone command is a batch of
one. Each process has two lanes, one for bulk commands, so that short ones never wait behind long ones.
"""

import asyncio
import random
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import structlog

from command_service.database_failures import (
    ConnectionLost,
    DatabaseFailure,
    FellSilent,
    LockedOut,
    TookTooLong,
    Unacceptable,
)
from command_service.errors import (
    DatabaseUnavailable,
    DeadlineMissed,
    Draining,
    Failure,
    QueueFull,
    RequestIdReused,
    RequestInProgress,
)
from command_service.metrics import BATCH_SIZE, COMMIT_SECONDS, QUEUE_LENGTH, RETRIES
from command_service.outage import Outage
from command_service.submission import Answer, Submission
from command_service.transaction import Outcome, Transaction, internal_failure
from command_service.unit_of_work import UnitOfWork

log = structlog.get_logger(__name__)

IN_FLIGHT_RETRY_SECONDS = 0.01
"""Pause before an id that another process works on is claimed again: about one commit."""

ATTEMPT_COUNT_MAX = 6
"""Tries of a batch after serialization failures, lock timeouts and lost connections."""

LOCKOUT_COUNT_MAX = 3
"""Lock timeouts of a batch that together take longer than transaction_timeout: whoever still has the
lock is none of us, but somebody with psql, say."""

SORTING_SECONDS_MAX = 4.0
"""Unless told otherwise: how long a batch that is locked out may hold up the next ones, to find out whom
the lock concerns."""

WARY_SECONDS = 30.0
"""Unless told otherwise, after some were kept out: how long batches are sorted out at the first lock
that is not had in haste. A lock of ours may then fail a command, to be sent again; else each batch would
cost others seconds."""

BACKOFF_SECONDS = 0.02
"""First pause between tries; doubled each time and jittered."""

TOO_LONG = 7 / 8
"""A batch that failed after this part of what a statement may take was too long for statement_timeout or
transaction_timeout. The clock tells it, since a session that the server ends cannot be told why."""

GROWTH = TOO_LONG / 2
"""A batch that took longer is not followed by a larger one, which might take too long."""

QUIET_TURNS = 5
"""Turns of the event loop in which no command came: gRPC takes one call up in each, if there are any.

A batch costs the same whether it holds one command or fifty. Under load the loop is busy with what has
just come in, and to begin with the first of them would leave the others to wait for its commit. An idle
loop turns in microseconds.
"""

GATHERING_SECONDS_MAX = 0.02
"""About what a full batch takes to commit."""


class _BatchTooLong(Exception):
    """The commands of a batch are too much for one transaction; its cause is how the server said so."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of a lane.

    batch_rows_max: rows that the commands of a transaction are about; most are about one. More makes
    the first wait longer than it saves the last. A longer command goes alone.
    queue_length_max: commands waiting; beyond it callers are told to come back.
    queue_rows_max: rows that those are about; likewise. One command finds an empty queue open to it.
    statement_seconds_max: what the database lets a statement take.
    sorting_seconds_max: how long a batch that is locked out may hold up the next ones.
    wary_seconds: how long after that batches are sorted out at the first lock not had in haste.
    """

    batch_rows_max: int = 200
    queue_length_max: int = 5_000
    queue_rows_max: int = 50_000
    statement_seconds_max: float = 4.0
    sorting_seconds_max: float = SORTING_SECONDS_MAX
    wary_seconds: float = WARY_SECONDS


class Lane:
    """A queue of commands and the session that commits them, one batch at a time.

    jitter: how much of a pause between tries is kept, so that two lanes do not meet again and again.
    """

    def __init__(
        self,
        name: str,
        unit: UnitOfWork,
        limits: Limits,
        *,
        jitter: Callable[[], float] = lambda: random.uniform(0.5, 1.0),  # noqa: S311 no secret
    ) -> None:
        self._name = name
        self._unit = unit
        self._limits = limits
        self._jitter = jitter
        self._queue: deque[Submission] = deque()
        self._queued_rows = 0
        self._wake = asyncio.Event()
        self._is_draining = False
        self._command_count_max = limits.batch_rows_max
        self._wary_until = 0.0
        self._queue_length = QUEUE_LENGTH.labels(name)
        self._batch_size = BATCH_SIZE.labels(name)
        self._commit_seconds = COMMIT_SECONDS.labels(name)
        self._outage = Outage(lane=name)

    def put(self, submission: Submission) -> None:
        """Queues a command; an urgent one in front, whatever the queue's length.

        Raises:
            QueueFull: too many are waiting.
            Draining: the lane takes no more.
        """
        if self._is_draining:
            raise Draining
        if submission.is_urgent:
            self._put_first([submission])
            self._wake.set()
            return
        if self._queue and self._is_full(submission.command.row_count):
            raise QueueFull
        self._requeue([submission])

    def _is_full(self, more_rows: int) -> bool:
        limits = self._limits
        is_long = len(self._queue) >= limits.queue_length_max
        return is_long or self._queued_rows + more_rows > limits.queue_rows_max

    def _requeue(self, submissions: Sequence[Submission]) -> None:
        self._queue.extend(submissions)
        self._queued_rows += _rows_of(submissions)
        self._queue_length.set(len(self._queue))
        self._wake.set()

    def _put_first(self, submissions: Sequence[Submission]) -> None:
        self._queue.extendleft(reversed(submissions))
        self._queued_rows += _rows_of(submissions)
        self._queue_length.set(len(self._queue))

    async def work(self) -> None:
        """Commits batch after batch until drained."""
        while True:
            while not self._queue:
                if self._is_draining:
                    return
                self._wake.clear()
                await self._wake.wait()
            await self._gather()
            batch = self._next_batch()
            if batch:
                await self._see_through(batch)

    async def _gather(self) -> None:
        """Lets in who is at the door: commands that have reached this process but not yet the queue."""
        queue, clock = self._queue, asyncio.get_running_loop().time
        until = clock() + GATHERING_SECONDS_MAX
        quiet_turns, length = 0, len(queue)
        while quiet_turns < QUIET_TURNS and length < self._command_count_max and clock() <= until:
            await asyncio.sleep(0)
            quiet_turns = quiet_turns + 1 if len(queue) == length else 0
            length = len(queue)

    def drain(self) -> None:
        """Takes no more; `work` returns once the queue is empty."""
        self._is_draining = True
        self._wake.set()

    def _next_batch(self) -> list[Submission]:
        batch: list[Submission] = []
        row_count = 0
        loop_now = asyncio.get_running_loop().time()
        while self._queue:
            submission = self._queue[0]
            row_count += submission.command.row_count
            if batch and row_count > self._limits.batch_rows_max:
                break
            if len(batch) >= self._command_count_max:
                break
            self._queue.popleft()
            self._queued_rows -= submission.command.row_count
            if submission.deadline <= loop_now:
                _fail(submission, RequestInProgress() if submission.is_begun else DeadlineMissed())
            else:
                batch.append(submission)
        self._queue_length.set(len(self._queue))
        return batch

    async def _see_through(self, batch: list[Submission]) -> None:
        """Commits a batch; if it is locked out, those of it who do not need what is locked."""
        loop = asyncio.get_running_loop()
        is_wary = loop.time() < self._wary_until
        lockout = await self._carry_out(batch, is_hasty=is_wary)
        kept_out = await self._sort_out(batch) if lockout else []
        if lockout and kept_out:
            await self._give_up(kept_out, lockout)
            if not is_wary:
                self._wary_until = loop.time() + self._limits.wary_seconds

    async def _sort_out(self, batch: list[Submission]) -> list[Submission]:
        """Commits smaller and smaller parts of a batch. Returns whom the lock, or the time, kept out."""
        loop = asyncio.get_running_loop()
        until = loop.time() + self._limits.sorting_seconds_max
        parts = deque([batch])
        kept_out: list[Submission] = []
        while parts:
            part = parts.popleft()
            if len(part) == 1 or loop.time() >= until:
                kept_out.extend(part)
                continue
            length = -(-len(part) // 4)
            for few in (part[first : first + length] for first in range(0, len(part), length)):
                if await self._carry_out(few, is_hasty=True):
                    parts.append(few)
        return kept_out

    async def _carry_out(self, batch: list[Submission], *, is_hasty: bool = False) -> LockedOut | None:
        """Commits a batch, whatever it takes, and answers each of its callers.

        But if it is locked out, nobody is answered, and that is returned.
        """
        self._batch_size.observe(len(batch))
        for submission in batch:
            submission.is_begun = True
        with self._commit_seconds.time():
            try:
                outcome = await self._attempt(batch, is_hasty=is_hasty)
            except LockedOut as error:
                await self._unit.roll_back()
                return error
            except _BatchTooLong as error:
                await self._unit.roll_back()
                self._put_back(batch, error)
            except Exception as error:  # noqa: BLE001 the lane must live on
                await self._unit.roll_back()
                await self._give_up(batch, error)
            else:
                self._answer(outcome)
        return None

    async def _attempt(self, batch: list[Submission], *, is_hasty: bool) -> Outcome:
        """Tries a batch again as long as that may help.

        A lost connection leaves the outcome unknown; to claim the ids again settles it, since whoever
        holds them has either committed, and is found, or is gone.

        Raises:
            _BatchTooLong: it would take too long again.
            LockedOut: it would be locked out again.
            Exception: one command is to blame, or the database is unavailable.
        """
        lockouts_left = 1 if is_hasty else LOCKOUT_COUNT_MAX
        for attempt in range(1, ATTEMPT_COUNT_MAX + 1):
            try:
                await self._unit.connect()
                return await self._run(batch, is_hasty=is_hasty)
            except DatabaseFailure as error:
                await self._unit.roll_back()
                lockouts_left -= isinstance(error, LockedOut)
                is_last = attempt == ATTEMPT_COUNT_MAX or lockouts_left == 0
                takes_too_long = isinstance(error, TookTooLong)
                if is_last or takes_too_long or isinstance(error, Unacceptable):
                    raise
                RETRIES.labels(self._name, error.code).inc()
                self._outage.failed(error)
            await asyncio.sleep(BACKOFF_SECONDS * 2**attempt * self._jitter())
        raise AssertionError("the last attempt returns or raises")

    async def _run(self, batch: list[Submission], *, is_hasty: bool) -> Outcome:
        """Tries a batch once, on a connection: how long it took to get one is no matter of size."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        try:
            outcome = await Transaction(self._unit, is_hasty=is_hasty).run(batch)
        except DatabaseFailure as error:
            if len(batch) > 1 and self._took_too_long(error, seconds=loop.time() - begun):
                raise _BatchTooLong from error
            raise
        self._outage.succeeded()
        self._learn(outcome, seconds=loop.time() - begun)
        return outcome

    def _took_too_long(self, error: DatabaseFailure, seconds: float) -> bool:
        """True when the server put an end to it, not when it fell silent: that is no matter of size."""
        was_cut_off = isinstance(error, ConnectionLost) and not isinstance(error, FellSilent)
        is_too_long = seconds >= TOO_LONG * self._limits.statement_seconds_max
        return isinstance(error, TookTooLong) or (was_cut_off and is_too_long)

    def _put_back(self, batch: list[Submission], error: _BatchTooLong) -> None:
        """Leaves the batch to the next ones, which are much smaller.

        Half would do more often than not, but each further try that fails costs all who wait seconds.
        """
        log.warning("batch takes too long", size=len(batch), error=str(error.__cause__).strip())
        self._put_first(batch)
        self._command_count_max = max(1, len(batch) // 4)

    async def _give_up(self, batch: list[Submission], error: Exception) -> None:
        """Halves the batch until the command that is to blame stands alone."""
        if isinstance(error, DatabaseFailure) and not isinstance(error, Unacceptable):
            self._outage.failed(error, lost_count=len(batch))
            for submission in batch:
                _fail(submission, DatabaseUnavailable())
        elif len(batch) == 1:
            _fail(batch[0], internal_failure(batch[0], error))
        else:
            log.warning("batch is halved", size=len(batch), error=str(error).strip())
            middle = len(batch) // 2
            await self._see_through(batch[:middle])
            await self._see_through(batch[middle:])

    def _answer(self, outcome: Outcome) -> None:
        for submission, answer in outcome.answers:
            if not submission.future.done():
                submission.future.set_result(answer)
        for submission, failure in outcome.failures:
            _fail(submission, failure)
        if outcome.postponed:
            self._put_first(outcome.postponed)
        if outcome.in_flight_elsewhere:
            loop = asyncio.get_running_loop()
            loop.call_later(IN_FLIGHT_RETRY_SECONDS, self._retry, outcome.in_flight_elsewhere)

    def _learn(self, outcome: Outcome, seconds: float) -> None:
        """Makes the next batch no larger than what could be done of one that was too much for once.

        How much a command is about may be known only when its cart or order is loaded. What is then put
        off was loaded in vain, so the size grows again in small steps.
        """
        done_count = len(outcome.answers) + len(outcome.failures)
        if outcome.postponed:
            self._command_count_max = max(1, done_count)
        elif seconds < GROWTH * self._limits.statement_seconds_max:
            larger = self._command_count_max + self._command_count_max // 4 + 1
            self._command_count_max = min(larger, self._limits.batch_rows_max)

    def _retry(self, submissions: list[Submission]) -> None:
        for submission in submissions:
            if self._is_draining:
                _fail(submission, RequestInProgress())
            else:
                self._requeue([submission])


class Committer:
    """The door to the write side: `submit` a command, get the one answer to its request id."""

    def __init__(self, short: Lane, bulk: Lane) -> None:
        self._short = short
        self._bulk = bulk
        self._in_flight: dict[object, Submission] = {}
        self._workers: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Starts committing."""
        self._workers = [asyncio.create_task(lane.work()) for lane in (self._short, self._bulk)]

    async def drain(self) -> None:
        """Takes no more commands and returns when all that were taken are answered."""
        for lane in (self._short, self._bulk):
            lane.drain()
        await asyncio.gather(*self._workers)

    async def submit(self, submission: Submission) -> Answer:
        """Carries a command out once and returns its answer.

        A caller that goes away cancels only its own waiting. The same request in flight twice waits
        for the one answer.

        Raises:
            Failure: of a category that is not stored.
        """
        twin = self._in_flight.get(submission.request_id)
        if twin is None:
            lane = self._bulk if submission.command.is_bulk else self._short
            lane.put(submission)
            self._in_flight[submission.request_id] = submission
            submission.future.add_done_callback(
                lambda _: self._in_flight.pop(submission.request_id, None)
            )
            twin = submission
        elif not twin.is_same_request(submission.method, submission.fingerprint):
            raise RequestIdReused
        # It is worth beginning as long as any of those who wait for it still does.
        twin.deadline = max(twin.deadline, submission.deadline)
        return await asyncio.shield(twin.future)


def _rows_of(submissions: Iterable[Submission]) -> int:
    return sum(submission.command.row_count for submission in submissions)


def _fail(submission: Submission, failure: Failure) -> None:
    if not submission.future.done():
        submission.future.set_exception(failure)
        # Nobody may be waiting any more; asyncio would warn of an exception never retrieved.
        submission.future.exception()
