"""Work that one process does at a time: whoever holds its lock in the database."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Generic, Protocol, TypeVar
from uuid import UUID

from command_service.committer import Committer
from command_service.database_failures import DatabaseFailure
from command_service.errors import Failure
from command_service.outage import Outage
from command_service.submission import SUCCESS, Answer, Submission, fingerprint
from command_service.world import AnswerT, Command
from event_log.tokens import ConsistencyToken


@dataclass(frozen=True, slots=True)
class Patience:
    """How long workers wait.

    command_seconds_max: for a command of theirs to be begun; else the next round sends it again.
    rest_seconds: before what hit a mistake of ours, or was refused, is tried again: it would come back
    ten times a second.
    """

    command_seconds_max: float = 10.0
    rest_seconds: float = 60.0


PATIENCE = Patience()
"""Unless told otherwise."""


class WorkerLock(IntEnum):
    """Second number of a worker's advisory lock; the first keeps workers apart from other locks."""

    EXPIRY = 1
    PRICE_WINDOWS = 2
    RETENTION = 3
    PAYMENTS = 4
    PAYMENT_ALARMS = 5


class WorkerSession(Protocol):
    """A session of the database that can hold a worker's lock."""

    async def take_worker_lock(self, number: int) -> bool:
        """Takes the lock of that number if nobody has it; it is held for as long as the session."""
        ...

    def drop(self) -> None:
        """Ends the session, and so lets go of the lock, without waiting for an answer."""
        ...

    async def close(self) -> None:
        """Ends the session."""
        ...


SessionT = TypeVar("SessionT", bound=WorkerSession)


class LoneWorker(Generic[SessionT]):
    """Does a round of its work again and again, while it holds the lock; else it stands by."""

    def __init__(
        self,
        lock: WorkerLock,
        session: SessionT,
        do_round: Callable[[SessionT], Awaitable[None]],
        *,
        pause_seconds: float,
    ) -> None:
        self._lock = lock
        self._session = session
        self._do_round = do_round
        self._pause_seconds = pause_seconds
        self._is_holder = False
        self._outage = Outage(worker=lock.name)
        self._is_draining = False
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begins."""
        self._task = asyncio.create_task(self._work())

    async def drain(self) -> None:
        """Ends after the round in hand and lets go of the lock."""
        self._is_draining = True
        self._wake.set()
        if self._task is not None:
            await self._task
        await self._session.close()

    async def _work(self) -> None:
        while not self._is_draining:
            try:
                if await self._holds_lock():
                    await self._do_round(self._session)
            except DatabaseFailure as error:
                self._outage.failed(error)
                self._let_go()
            except Exception as error:  # noqa: BLE001 a round that fails must not be the last one
                self._outage.failed(error)
            else:
                self._outage.succeeded()
            await self._pause()

    async def _holds_lock(self) -> bool:
        if not self._is_holder:
            self._is_holder = await self._session.take_worker_lock(self._lock.value)
        return self._is_holder

    def _let_go(self) -> None:
        self._is_holder = False
        self._session.drop()

    async def _pause(self) -> None:
        timer = asyncio.get_running_loop().call_later(self._pause_seconds, self._wake.set)
        await self._wake.wait()
        timer.cancel()
        self._wake.clear()


async def submit(
    committer: Committer,
    command: Command[Any],
    *,
    request_id: UUID,
    actor: str,
    is_urgent: bool = True,
    patience: Patience = PATIENCE,
) -> Answer | Failure:
    """Has a command carried out like everybody's; a failure is the next round's business.

    Nobody reads the answer's bytes, so none are kept. The fingerprint is the command itself.
    is_urgent: as of a Submission; False for what nobody waits for.
    """
    submission = _submission(command, request_id, actor, lambda _: b"", patience, is_urgent=is_urgent)
    try:
        return await committer.submit(submission)
    except Failure as failure:
        return failure


@dataclass(frozen=True, slots=True)
class Asked(Generic[AnswerT]):
    """How a command of ours went.

    decided: None when it was refused, or answered before. decided_seconds: when, by the loop's clock;
    the commit came later, and may have taken long.
    """

    decided: AnswerT | None
    decided_seconds: float
    token: ConsistencyToken
    is_refused: bool


async def ask(
    committer: Committer,
    command: Command[AnswerT],
    *,
    request_id: UUID,
    actor: str,
    patience: Patience = PATIENCE,
) -> Asked[AnswerT]:
    """Has a command of ours carried out, and tells what it decided.

    Raises:
        Failure: of a category that is not stored; to be sent again.
    """
    clock = asyncio.get_running_loop().time
    decided: list[AnswerT] = []
    decided_seconds = clock()

    def encode(answer: AnswerT) -> bytes:
        nonlocal decided_seconds
        decided.append(answer)
        decided_seconds = clock()
        return b""

    answer = await committer.submit(_submission(command, request_id, actor, encode, patience))
    is_refused = answer.code != SUCCESS
    last = decided[-1] if decided and not is_refused else None
    return Asked(last, decided_seconds, answer.token, is_refused)


def _submission(
    command: Command[Any],
    request_id: UUID,
    actor: str,
    encode: Callable[[Any], bytes],
    patience: Patience,
    *,
    is_urgent: bool = True,
) -> Submission:
    return Submission(
        request_id=request_id,
        method=type(command).__name__,
        fingerprint=fingerprint(repr(command).encode()),
        actor=actor,
        command=command,
        encode=encode,
        deadline=asyncio.get_running_loop().time() + patience.command_seconds_max,
        is_urgent=is_urgent,
    )
