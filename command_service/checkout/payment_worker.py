"""Leads orders through their payments: follows the log, and picks up what a crash has left behind.

One process at a time does. When it takes over it looks at every order once, then at those of which the
log tells; what it does with an order rests on where the order is, so to look twice does no harm.
"""

import asyncio

from command_service.checkout.payment_driver import PaymentDriver
from command_service.lone_worker import LoneWorker, WorkerLock
from command_service.payment.repository import DUE_ERRANDS
from command_service.session import Session, Statement
from event_log.appending import LAST_POSITION

PAUSE_SECONDS = 0.1
"""Between two looks at the log: what an authorized payment waits for its capture."""

EVENT_COUNT_MAX = 5_000
"""Of the log, a round."""

DUE_COUNT_MAX = 200
"""Errands a round: as many as can be under way at once, so that none is claimed and then waits."""

ADVANCED_AT_ONCE_MAX = 100
"""Orders whose next steps are decided together: half a batch of the committer."""

# Whether an order has next steps is for checkout.process alone to say. This says which orders cannot
# have any, which are nearly all: it must let through whatever process.next_steps would act on.
_MAY_HAVE_STEPS = """
EXISTS (SELECT FROM payments WHERE payments.order_id = orders.order_id AND (
    payments.state = 4 AND (orders.state NOT IN (1, 2) OR payments.capture_mode <> 3
        OR payments.failure_code <> '')
    OR payments.state = 2 AND orders.state NOT IN (1, 2)
    OR payments.captured_minor > payments.refunded_minor
        AND (orders.state IN (6, 7) OR orders.paid_minor > orders.total_minor)))
"""

_OF_LOG = f"""
SELECT order_id FROM orders WHERE order_id IN (
    SELECT key FROM events WHERE position > %(after)s::bigint AND position <= %(through)s::bigint
    AND context IN ('ordering', 'payment'))
AND {_MAY_HAVE_STEPS}
"""

_OF_ALL = f"SELECT order_id FROM orders WHERE {_MAY_HAVE_STEPS}"


class PaymentWorker:
    """Finds orders with next steps, and calls that nobody makes."""

    def __init__(self, database_url: str, driver: PaymentDriver) -> None:
        self._driver = driver
        self._told_through: int | None = None
        session = Session(database_url, "shopkeeper payments")
        self._worker = LoneWorker(WorkerLock.PAYMENTS, session, self.look, pause_seconds=PAUSE_SECONDS)

    async def start(self) -> None:
        """Begins."""
        await self._worker.start()

    async def drain(self) -> None:
        """Ends after the round in hand, and the calls that it began."""
        await self._worker.drain()
        await self._driver.drain()

    async def look(self, session: Session) -> None:
        """One round: what the log tells since the last one, and the calls that are due."""
        [[(end,)]] = await session.run([Statement(LAST_POSITION)])
        told_through = self._told_through
        # Until this round is done, the next one has to look at all.
        self._told_through = None
        if told_through is None or end < told_through:
            looked_for = Statement(_OF_ALL)
        else:
            end = min(end, told_through + EVENT_COUNT_MAX)
            looked_for = Statement(_OF_LOG, {"after": told_through, "through": end})
        due = Statement(DUE_ERRANDS, (DUE_COUNT_MAX, DUE_COUNT_MAX))
        results = await session.run([looked_for, due] if end != told_through else [due])
        failures: list[BaseException] = []
        order_ids = sorted({order_id for rows in results for (order_id,) in rows})
        for start in range(0, len(order_ids), ADVANCED_AT_ONCE_MAX):
            part = order_ids[start : start + ADVANCED_AT_ONCE_MAX]
            done = await asyncio.gather(*map(self._driver.advance, part), return_exceptions=True)
            failures.extend(each for each in done if each is not None)
        if failures:
            # One order that fails must not keep the others waiting, nor be forgotten.
            raise failures[0]
        self._told_through = end
