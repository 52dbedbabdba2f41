"""validate_only: a command decided on a snapshot, without effect."""

import asyncio

from command_service.database_failures import DatabaseFailure, Interrupted, LockedOut, Unacceptable
from command_service.errors import DatabaseUnavailable, DeadlineMissed, QueueFull
from command_service.submission import Answer, Submission
from command_service.transaction import Transaction
from command_service.unit_of_work import UnitOfWork

WAITING_COUNT_MAX = 300
"""Callers that wait for their turn. A rehearsal is a few trips to the database, some milliseconds: the
last of them waits for a second or two. More would wait in vain, and each keeps its request in memory."""

ATTEMPT_COUNT_MAX = 2
"""Tries of one that is interrupted: a lane may have let go of what was kept from the book of before."""


class Rehearsal:
    """Rehearses commands one after another, on a session of its own."""

    def __init__(self, unit: UnitOfWork) -> None:
        self._unit = unit
        self._turn = asyncio.Lock()
        self._waiting_count = 0
        self._at_work: asyncio.Task[Answer] | None = None

    async def rehearse(self, submission: Submission) -> Answer:
        """What the command would be answered if it came now; neither its id nor its effect is kept.

        Raises:
            Failure: likewise.
            QueueFull: too many are waiting.
            DeadlineMissed: its turn came too late.
            DatabaseUnavailable: the database cannot be reached.
        """
        await self._take_turn(submission)
        # Shielded: a caller who gives up in the midst of a trip would cost the session its connection.
        self._at_work = asyncio.create_task(self._rehearse(submission))
        self._at_work.add_done_callback(lambda _: self._turn.release())
        return await asyncio.shield(self._at_work)

    async def _take_turn(self, submission: Submission) -> None:
        if self._waiting_count >= WAITING_COUNT_MAX:
            raise QueueFull
        self._waiting_count += 1
        try:
            await self._turn.acquire()
        finally:
            self._waiting_count -= 1
        if submission.deadline <= asyncio.get_running_loop().time():
            self._turn.release()
            raise DeadlineMissed

    async def _rehearse(self, submission: Submission) -> Answer:
        for attempt in range(1, ATTEMPT_COUNT_MAX + 1):
            try:
                await self._unit.connect()
                return await Transaction(self._unit).rehearse(submission)
            except Unacceptable:
                raise
            except DatabaseFailure as error:
                may_go_well = isinstance(error, Interrupted) and not isinstance(error, LockedOut)
                if attempt == ATTEMPT_COUNT_MAX or not may_go_well:
                    raise DatabaseUnavailable from error
        raise AssertionError("the last attempt returns or raises")
