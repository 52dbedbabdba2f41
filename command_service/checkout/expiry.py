"""Expiry: what nobody paid for, committed or came back to in time is given back, within a second.

Nothing rests on it being in time: a hold is valid exactly while now is before its expire_time,
whoever has or has not been here.
"""

import asyncio
from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple, Protocol
from uuid import UUID, uuid4

from command_service.cart.commands import ExpireCart
from command_service.checkout.expire_order import ExpireOrder
from command_service.committer import Committer
from command_service.errors import Internal
from command_service.inventory.reservation_commands import ExpireReservation
from command_service.lone_worker import (
    PATIENCE,
    LoneWorker,
    Patience,
    WorkerLock,
    WorkerSession,
    submit,
)
from command_service.submission import SUCCESS, Answer
from command_service.world import Command

PAUSE_SECONDS = 0.1
"""Between two looks. What comes due just after one waits for that round's commits, for a pause and for
its own: with commits of a quarter of a second, on a busy machine, that is still less than a second."""

DUE_COUNT_MAX = 500
"""Of each kind a round, so that a backlog after an outage does not fill the queue."""

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


class Due(NamedTuple):
    """One thing whose time is up."""

    expirable: Expirable
    key: str
    expire_time: datetime

    @property
    def resting(self) -> Resting:
        """As it is left alone."""
        return Resting(self.expirable.name, self.key, self.expire_time)


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
    """Finds what is due and has it expired; one process at a time does.

    new_id: makes request ids that nobody else has. A command finds out by itself whether somebody was
    here before; an id made of the thing could be used first by whoever knows the thing.
    """

    def __init__(
        self,
        lookout: Lookout,
        committer: Committer,
        patience: Patience = PATIENCE,
        *,
        new_id: Callable[[], UUID] = uuid4,
    ) -> None:
        self._committer = committer
        self._patience = patience
        self._new_id = new_id
        self._rest_until: dict[Resting, float] = {}
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
        await asyncio.gather(*map(self._expire, _due(results)))

    async def _expire(self, due: Due) -> None:
        outcome = await submit(
            self._committer,
            due.expirable.command(due.key),
            request_id=self._new_id(),
            actor=ACTOR,
            is_urgent=due.expirable.is_urgent,
            patience=self._patience,
        )
        was_refused = isinstance(outcome, Answer) and outcome.code != SUCCESS
        if was_refused or isinstance(outcome, Internal):
            loop_now = asyncio.get_running_loop().time()
            self._rest_until[due.resting] = loop_now + self._patience.rest_seconds


def _due(results: Sequence[Sequence[tuple[str, datetime]]]) -> Iterator[Due]:
    for expirable, rows in zip(EXPIRABLES, results, strict=True):
        yield from (Due(expirable, key, expire_time) for key, expire_time in rows)
