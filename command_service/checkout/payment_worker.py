"""Leads orders through their payments: follows the log, and picks up what a crash has left behind.

One process at a time does. When it takes over it looks at every order once, then at those of which the
log tells; what it does with an order rests on where the order is, so to look twice does no harm.
An order that fails is remembered and tried again, so that one does not make every look a look at all.
"""

import asyncio
from collections.abc import Collection
from typing import NamedTuple, Protocol

from command_service.checkout.payment_driver import PaymentDriver
from command_service.errors import Failure, Internal
from command_service.lone_worker import PATIENCE, LoneWorker, Patience, WorkerLock, WorkerSession
from command_service.outage import Outage

PAUSE_SECONDS = 0.1
"""Between two looks at the log: what an authorized payment waits for its capture."""

EVENT_COUNT_MAX = 5_000
"""Of the log, a round."""

CUSTOMERS_PLACE_COUNT = 20
"""Of the driver's places for calls: what was left behind, thousands after an outage, leaves these to
customers who wait. At half a second a call they are 40 answers a second, of this process alone."""

ADVANCED_AT_ONCE_MAX = 100
"""Orders whose next steps are decided together: half a batch of the committer."""

REST_OF_PASSING_SECONDS = 0.25
"""How long an order is left alone that failed for want of a database or of room: what holds it up may
hold up others. Short, for its call is to be made within a second of healthy service. One that hit a
mistake of ours rests for longer, unless the log tells of it."""

FAILED_COUNT_MAX = EVENT_COUNT_MAX
"""Orders that are remembered to be tried again: all that one round's part of the log can tell of."""


class Stretch(NamedTuple):
    """A part of the log, by its positions: what comes after the first, through the second."""

    after: int
    through: int


class Lookout(WorkerSession, Protocol):
    """What the worker asks of the database."""

    async def log_position(self) -> int:
        """How far the log has come."""
        ...

    async def orders_to_advance(
        self, told: Stretch | None, due_count_max: int, *, resting: Collection[str]
    ) -> set[str]:
        """Orders with a call that is due, of up to so many calls, and those that may have next steps.

        told: where of the latter only those are looked for that the log tells of there; None: all.
        resting: orders whose due calls are left alone; they take nobody's place.
        """
        ...


class PaymentWorker:
    """Finds orders with next steps, and calls that nobody makes."""

    def __init__(self, lookout: Lookout, driver: PaymentDriver, patience: Patience = PATIENCE) -> None:
        self._driver = driver
        self._patience = patience
        self._told_through: int | None = None
        self._rest_until: dict[str, float] = {}
        """Orders that failed, which the log need not tell of again, by the loop's time."""
        self._outage = Outage(worker=WorkerLock.PAYMENTS.name, at="orders")
        self._worker = LoneWorker(WorkerLock.PAYMENTS, lookout, self.look, pause_seconds=PAUSE_SECONDS)

    async def start(self) -> None:
        """Begins."""
        await self._worker.start()

    async def drain(self) -> None:
        """Ends after the round in hand, and the calls that it began."""
        await self._worker.drain()
        await self._driver.drain()

    async def look(self, lookout: Lookout) -> None:
        """One round: what the log tells since the last one, the calls that are due, and what failed.

        Only what the database does not answer fails the round.
        """
        # The lock may be lost with the answer, and somebody else be the worker meanwhile: until it is
        # there, the next round has to look at all.
        told_through, self._told_through = self._told_through, None
        end = await lookout.log_position()
        told = None
        if told_through is not None and end >= told_through:
            end = min(end, told_through + EVENT_COUNT_MAX)
            told = Stretch(told_through, end)
        else:
            self._rest_until.clear()
        # A call that is claimed and then waits is nobody's until its lease ends: so only for room.
        room = max(0, self._driver.free_place_count - CUSTOMERS_PLACE_COUNT)
        again = self._rested()[:room]
        due_count_max = room - len(again)
        found = await lookout.orders_to_advance(told, due_count_max, resting=self._rest_until.keys())
        await self._advance_all(sorted(found.union(again)))
        if len(self._rest_until) <= FAILED_COUNT_MAX:
            self._told_through = end

    def _rested(self) -> list[str]:
        """Who may be tried again, the longest rested first."""
        loop_now = asyncio.get_running_loop().time()
        rested = [(end, order_id) for order_id, end in self._rest_until.items() if end <= loop_now]
        return [order_id for _, order_id in sorted(rested)]

    async def _advance_all(self, order_ids: list[str]) -> None:
        """One that fails keeps no other waiting."""
        for start in range(0, len(order_ids), ADVANCED_AT_ONCE_MAX):
            part = order_ids[start : start + ADVANCED_AT_ONCE_MAX]
            done = await asyncio.gather(*map(self._driver.advance, part), return_exceptions=True)
            for order_id, error in zip(part, done, strict=True):
                self._note(order_id, error)
        if not self._rest_until:
            self._outage.succeeded()

    def _note(self, order_id: str, error: BaseException | None) -> None:
        """Keeps in mind what failed, until it is done."""
        if error is None:
            self._rest_until.pop(order_id, None)
            return
        if not isinstance(error, Exception):
            raise error
        self._outage.failed(error)
        is_passing = isinstance(error, Failure) and not isinstance(error, Internal)
        rest_seconds = REST_OF_PASSING_SECONDS if is_passing else self._patience.rest_seconds
        self._rest_until[order_id] = asyncio.get_running_loop().time() + rest_seconds
