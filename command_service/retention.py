"""Forgetting: answers and closed carts are kept for as long as is stated, and not for ever.

Answers go in silence: nobody but a caller who sends the same request again ever sees them. A cart has a
view, so that it goes as it came: by a command and an event.
"""

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from uuid import uuid4

from command_service.cart.commands import ForgetCart
from command_service.cart.repository import CARTS_TO_FORGET
from command_service.committer import Committer
from command_service.lone_worker import PATIENCE, LoneWorker, Patience, WorkerLock, submit
from command_service.pipeline import Statement
from command_service.requests import FORGET_OLD, STATE_RETENTION
from command_service.session import Session, Timeouts

PAUSE_SECONDS = 5.0
"""Between two rounds, unless told otherwise: well below the idleness at which the server ends a worker's
session."""

REQUEST_COUNT_MAX = 20_000
"""Rows a round: short enough for statement_timeout, and more than a busy shop adds meanwhile."""

CART_COUNT_MAX = 1_000
"""Carts a round, 200 a second: a fifth of the queue, so that buyers hardly notice."""

ACTOR = "retention worker"


@dataclass(frozen=True, slots=True)
class Kept:
    """For how long: answers since they were given, carts since they were closed."""

    requests: timedelta
    carts: timedelta


class RetentionWorker:
    """Forgets what is older than it has to be; one process at a time does."""

    def __init__(
        self,
        database_url: str,
        committer: Committer,
        kept: Kept,
        timeouts: Timeouts | None = None,
        patience: Patience = PATIENCE,
        *,
        pause_seconds: float = PAUSE_SECONDS,
    ) -> None:
        """pause_seconds: between two rounds."""
        self._committer = committer
        self._patience = patience
        self._kept = kept
        session = Session(database_url, "shopkeeper retention", timeouts)
        self._worker = LoneWorker(
            WorkerLock.RETENTION, session, self.forget_old, pause_seconds=pause_seconds
        )

    async def start(self) -> None:
        """Begins."""
        await self._worker.start()

    async def drain(self) -> None:
        """Ends after the round in hand."""
        await self._worker.drain()

    async def forget_old(self, session: Session) -> None:
        """One round."""
        requests, carts = self._kept.requests, self._kept.carts
        *_, rows = await session.run(
            [
                Statement(STATE_RETENTION, {"requests": requests, "carts": carts}),
                Statement(FORGET_OLD, (requests, REQUEST_COUNT_MAX)),
                Statement(CARTS_TO_FORGET, (carts, CART_COUNT_MAX)),
            ]
        )
        await asyncio.gather(*(self._forget(cart_id) for (cart_id,) in rows))

    async def _forget(self, cart_id: str) -> None:
        # A new id each time: the command finds out by itself whether there is anything to do. Whatever
        # becomes of it, the next round finds what is left.
        command = ForgetCart(cart_id, self._kept.carts)
        await submit(
            self._committer,
            command,
            request_id=uuid4(),
            actor=ACTOR,
            is_urgent=False,
            patience=self._patience,
        )
