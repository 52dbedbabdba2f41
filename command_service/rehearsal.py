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

    async def rehearse(self, submission: Submission) -> Answer:
        """What the command would be answered if it came now; neither its id nor its effect is kept.

        Raises:
            Failure: likewise.
            DatabaseUnavailable: the database cannot be reached.
        """
        async with self._turn:
            try:
                await self._unit.connect()
                return await Transaction(self._unit).rehearse(submission)
            except Unacceptable:
                raise
            except DatabaseFailure as error:
                raise DatabaseUnavailable from error
