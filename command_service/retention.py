"""Forgetting: stored answers are kept for as long as they are promised, and not for ever."""

from command_service.lone_worker import LoneWorker, WorkerLock
from command_service.requests import FORGET_OLD, REQUEST_RETENTION_DAYS
from command_service.session import Session, Statement

PAUSE_SECONDS = 5.0
"""Between two rounds: well below the idleness at which the server ends a worker's session."""

FORGET_COUNT_MAX = 20_000
"""Rows a round: short enough for statement_timeout, and more than a busy shop adds meanwhile."""


class RetentionWorker:
    """Deletes stored answers that are older than promised; one process at a time does."""

    def __init__(self, database_url: str) -> None:
        session = Session(database_url, "shopkeeper retention")
        self._worker = LoneWorker(
            WorkerLock.RETENTION, session, self.forget_old, pause_seconds=PAUSE_SECONDS
        )

    async def start(self) -> None:
        """Begins."""
        await self._worker.start()

    async def drain(self) -> None:
        """Ends after the round in hand."""
        await self._worker.drain()

    async def forget_old(self, session: Session) -> None:
        """One round."""
        await session.run([Statement(FORGET_OLD, (REQUEST_RETENTION_DAYS, FORGET_COUNT_MAX))])
