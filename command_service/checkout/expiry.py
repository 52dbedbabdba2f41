"""Expiry: what nobody paid for, committed or came back to in time is given back, within a second.

Nothing rests on it being in time: a hold is valid exactly while now is before its expire_time,
whoever has or has not been here.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, NamedTuple, Protocol
from uuid import UUID, uuid5

from command_service.cart.commands import ExpireCart
from command_service.checkout.expire_order import ExpireOrder
from command_service.committer import Committer
from command_service.errors import Internal
from command_service.inventory.reservation_commands import ExpireReservation
from command_service.lone_worker import LoneWorker, WorkerLock, WorkerSession, submit
from command_service.submission import SUCCESS, Answer
from command_service.world import Command

NAMESPACE = UUID("0b6ae2f4-6d0a-5c0c-9f0e-2f7f2b0c3a51")
"""Of the request ids made here, so that they meet nobody else's."""

PAUSE_SECONDS = 0.1
"""Between two looks. What comes due just after one waits for that round's commits, for a pause and for
its own: with commits of a quarter of a second, on a busy machine, that is still less than a second."""

DUE_COUNT_MAX = 500
"""Of each kind a round, so that a backlog after an outage does not fill the queue."""

REST_SECONDS = 60.0
"""How long a command that hit an error of ours, or was refused, is left alone: it would come back ten
times a second."""

ACTOR = "expiry worker"


class Expirable(NamedTuple):
    """A kind of thing that expires, and the command for it.

    is_urgent: others wait for what it holds; so it goes before buyers' commands.
    """

    name: str
    command: Callable[[str], Command[Any]]
    is_urgent: bool


EXPIRABLES = (
    Expirable("order", ExpireOrder, is_urgent=True),
    Expirable("reservation", ExpireReservation, is_urgent=True),
    Expirable("cart", ExpireCart, is_urgent=False),
)


class Resting(NamedTuple):
    """What is due and left alone for a while: the kind and key of a thing, until its time is moved."""

    name: str
    key: str
    expire_time: datetime


@dataclass(frozen=True, slots=True)
class Due:
    """One thing whose time is up."""

    expirable: Expirable
    key: str
    expire_time: datetime
    refusal_count: int = 0
    """How often it was refused though it was due: by a database whose clock had gone back."""

    @property
    def resting(self) -> Resting:
        """As it is left alone."""
        return Resting(self.expirable.name, self.key, self.expire_time)

    @property
    def place(self) -> tuple[str, str]:
        """What tells it from everything else that expires."""
        return self.expirable.name, self.key

    @property
    def request_id(self) -> UUID:
        """The same for everyone who finds it, until its time is moved.

        Another one after a refusal, which would be replayed for as long as answers are kept.
        """
        name = f"{self.expirable.name}:{self.key}:expire:{self.expire_time.isoformat()}"
        return uuid5(NAMESPACE, f"{name}:{self.refusal_count}" if self.refusal_count else name)


class Lookout(WorkerSession, Protocol):
    """What the worker asks of the database."""

    async def due(
        self, count_max: int, *, resting: Collection[Resting]
    ) -> Sequence[Sequence[tuple[str, datetime]]]:
        """Of each of EXPIRABLES in turn: keys and times of what is due, longest overdue first.

        resting: is left out, so that it takes nobody's place.
        """
        ...


class ExpiryWorker:
    """Finds what is due and has it expired; one process at a time does."""

    def __init__(self, lookout: Lookout, committer: Committer) -> None:
        self._committer = committer
        self._rest_until: dict[Resting, float] = {}
        self._refusal_counts: Counter[tuple[str, str]] = Counter()
        self._worker = LoneWorker(
            WorkerLock.EXPIRY, lookout, self.expire_due, pause_seconds=PAUSE_SECONDS
        )

    async def start(self) -> None:
        """Begins."""
        await self._worker.start()

    async def drain(self) -> None:
        """Ends after the round in hand."""
        await self._worker.drain()

    async def expire_due(self, lookout: Lookout) -> None:
        """One round: everything that is due now, up to DUE_COUNT_MAX of each kind."""
        loop_now = asyncio.get_running_loop().time()
        self._rest_until = {rest: end for rest, end in self._rest_until.items() if end > loop_now}
        results = await lookout.due(DUE_COUNT_MAX, resting=self._rest_until.keys())
        counts = self._refusal_counts
        found = [replace(due, refusal_count=counts[due.place]) for due in _due(results)]
        # What is no longer due was refused for good reason.
        resting = {(rest.name, rest.key) for rest in self._rest_until}
        self._refusal_counts = Counter(
            {due.place: due.refusal_count for due in found}
            | {place: count for place, count in counts.items() if place in resting}
        )
        await asyncio.gather(*map(self._expire, found))

    async def _expire(self, due: Due) -> None:
        outcome = await submit(
            self._committer,
            due.expirable.command(due.key),
            request_id=due.request_id,
            actor=ACTOR,
            is_urgent=due.expirable.is_urgent,
        )
        was_refused = isinstance(outcome, Answer) and outcome.code != SUCCESS
        if was_refused:
            self._refusal_counts[due.place] += 1
        if was_refused or isinstance(outcome, Internal):
            self._rest_until[due.resting] = asyncio.get_running_loop().time() + REST_SECONDS


def _due(results: Sequence[Sequence[tuple[str, datetime]]]) -> Iterator[Due]:
    for expirable, rows in zip(EXPIRABLES, results, strict=True):
        yield from (Due(expirable, key, expire_time) for key, expire_time in rows)
