"""validate_only: a command decided on a snapshot, without effect."""

import asyncio

from command_service.database_failures import DatabaseFailure, Unacceptable
from command_service.errors import DatabaseUnavailable
from command_service.submission import Answer, Submission
from command_service.transaction import Transaction
from command_service.unit_of_work import UnitOfWork


class Rehearsal:
    """Rehearses commands one after another, on a session of its own."""

    def __init__(self, unit: UnitOfWork) -> None:
        self._unit = unit
        self._turn = asyncio.Lock()
        self._at_work: asyncio.Task[Answer] | None = None

    async def rehearse(self, submission: Submission) -> Answer:
        """What the command would be answered if it came now; neither its id nor its effect is kept.

        Raises:
            Failure: likewise.
            DatabaseUnavailable: the database cannot be reached.
        """
        await self._turn.acquire()
        # Shielded: a caller who gives up in the midst of a trip would cost the session its connection.
        self._at_work = asyncio.create_task(self._rehearse(submission))
        self._at_work.add_done_callback(lambda _: self._turn.release())
        return await asyncio.shield(self._at_work)

    async def _rehearse(self, submission: Submission) -> Answer:
        try:
            await self._unit.connect()
            return await Transaction(self._unit).rehearse(submission)
        except Unacceptable:
            raise
        except DatabaseFailure as error:
            raise DatabaseUnavailable from error
