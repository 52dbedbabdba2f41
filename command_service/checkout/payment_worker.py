"""Leads orders through their payments: follows the log, and picks up what a crash has left behind.

One process at a time does. When it takes over it looks at every order once, then at those of which the
log tells; what it does with an order rests on where the order is, so to look twice does no harm.
"""

import asyncio
from typing import NamedTuple, Protocol

from command_service.checkout.payment_driver import PaymentDriver
from command_service.lone_worker import LoneWorker, WorkerLock, WorkerSession

PAUSE_SECONDS = 0.1
"""Between two looks at the log: what an authorized payment waits for its capture."""

EVENT_COUNT_MAX = 5_000
"""Of the log, a round."""

DUE_COUNT_MAX = 200
"""Errands a round: as many as can be under way at once, so that none is claimed and then waits."""

ADVANCED_AT_ONCE_MAX = 100
"""Orders whose next steps are decided together: half a batch of the committer."""


class Stretch(NamedTuple):
    """A part of the log, by its positions: what comes after the first, through the second."""

    after: int
    through: int


class Lookout(WorkerSession, Protocol):
    """What the worker asks of the database."""

    async def log_position(self) -> int:
        """How far the log has come."""
        ...

    async def orders_to_advance(self, told: Stretch | None, due_count_max: int) -> set[str]:
        """Orders with a call that is due, up to so many, and those that may have next steps.

        told: where of the latter only those are looked for that the log tells of there; None: all.
        """
        ...


class PaymentWorker:
    """Finds orders with next steps, and calls that nobody makes."""

    def __init__(self, lookout: Lookout, driver: PaymentDriver) -> None:
        self._driver = driver
        self._told_through: int | None = None
        self._worker = LoneWorker(WorkerLock.PAYMENTS, lookout, self.look, pause_seconds=PAUSE_SECONDS)

    async def start(self) -> None:
        """Begins."""
        await self._worker.start()

    async def drain(self) -> None:
        """Ends after the round in hand, and the calls that it began."""
        await self._worker.drain()
        await self._driver.drain()

    async def look(self, lookout: Lookout) -> None:
        """One round: what the log tells since the last one, and the calls that are due."""
        end = await lookout.log_position()
        told_through = self._told_through
        # Until this round is done, the next one has to look at all.
        self._told_through = None
        told = None
        if told_through is not None and end >= told_through:
            end = min(end, told_through + EVENT_COUNT_MAX)
            told = Stretch(told_through, end)
        failures: list[BaseException] = []
        order_ids = sorted(await lookout.orders_to_advance(told, DUE_COUNT_MAX))
        for start in range(0, len(order_ids), ADVANCED_AT_ONCE_MAX):
            part = order_ids[start : start + ADVANCED_AT_ONCE_MAX]
            done = await asyncio.gather(*map(self._driver.advance, part), return_exceptions=True)
            failures.extend(each for each in done if each is not None)
        if failures:
            # One order that fails must not keep the others waiting, nor be forgotten.
            raise failures[0]
        self._told_through = end
