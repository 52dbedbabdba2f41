"""validate_only: a command decided on a snapshot, without effect."""

import asyncio

from command_service.errors import DatabaseUnavailable
from command_service.session import DATABASE_ERRORS, Session, is_of_one_command
from command_service.submission import Answer, Submission
from command_service.transaction import Storage, Transaction


class Rehearsal:
    """Rehearses commands one after another, on a session of its own."""

    def __init__(self, session: Session, storage: Storage) -> None:
        self._session = session
        self._storage = storage
        self._turn = asyncio.Lock()

    async def rehearse(self, submission: Submission) -> Answer:
        """What the command would be answered if it came now; neither its id nor its effect is kept.

        Raises:
            Failure: likewise.
            DatabaseUnavailable: the database cannot be reached.
        """
        async with self._turn:
            try:
                await self._session.connect()
                return await Transaction(self._session, self._storage).rehearse(submission)
            except DATABASE_ERRORS as error:
                if is_of_one_command(error):
                    raise
                raise DatabaseUnavailable from error
