"""Commands carried out alone or in batches, through the real transaction, on a real PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest_asyncio

from command_service.errors import Failure
from command_service.pipeline import Row
from command_service.postgresql import PostgresqlUnitOfWork
from command_service.session import Session
from command_service.storage import storage
from command_service.submission import Submission
from command_service.transaction import Transaction
from command_service.world import AnswerT, Command
from serving.status import encode_failure


class CarryOut:
    """Carries commands out; see the fixture `carry_out`."""

    def __init__(self, database_url: str, session: Session) -> None:
        self.database_url = database_url
        self.session = session
        self.storage = storage()

    async def __call__(self, command: Command[AnswerT]) -> AnswerT:
        """Commits the command alone.

        Raises:
            Failure: what the command was refused with.
        """
        [answer] = await self.together([command])
        if isinstance(answer, Failure):
            raise answer
        result: AnswerT = answer
        return result

    async def together(self, commands: Iterable[Command[Any]]) -> list[Any]:
        """Commits one batch; what cannot go into it follows in a further one, as in the committer."""
        answers: dict[UUID, Any] = {}
        submissions = [_submission(command, answers) for command in commands]
        waiting = submissions
        while waiting:
            outcome = await Transaction(self._recording(answers)).run(waiting)
            answers.update({s.request_id: failure for s, failure in outcome.failures})
            waiting = outcome.postponed
        return [answers[submission.request_id] for submission in submissions]

    def _recording(self, answers: dict[UUID, Any]) -> PostgresqlUnitOfWork:
        """Refusals are kept as exceptions, not as bytes, in the order in which they are decided."""
        storage = replace(self.storage, encode_failure=_Refusals(answers))
        return PostgresqlUnitOfWork(self.session, storage)

    async def rehearse(self, command: Command[AnswerT]) -> AnswerT:
        """What validate_only would answer."""
        answers: dict[UUID, Any] = {}
        submission = _submission(command, answers)
        await Transaction(self._recording(answers)).rehearse(submission)
        answer = answers[submission.request_id]
        if isinstance(answer, Failure):
            raise answer
        result: AnswerT = answer
        return result

    async def fetch(self, sql: str, *parameters: object) -> list[Row]:
        """Rows of a query on a connection of its own: what was committed."""
        async with await psycopg.AsyncConnection.connect(self.database_url, autocommit=True) as c:
            cursor = await c.execute(sql.encode(), parameters)
            return await cursor.fetchall() if cursor.description else []


class _Refusals:
    """Stands for encode_failure: notes whose refusal it was."""

    def __init__(self, answers: dict[UUID, Any]) -> None:
        self._answers = answers

    def __call__(self, failure: Failure) -> bytes:
        self._answers[_deciding[0]] = failure
        return encode_failure(failure)


# The submission whose command is being decided: decisions are made one after another.
_deciding: list[UUID] = [uuid4()]


class _Watched(Command[Any]):
    """A command that notes that it is being decided."""

    def __init__(self, command: Command[Any], request_id: UUID) -> None:
        self.command = command
        self.request_id = request_id

    def touches(self) -> Any:
        return self.command.touches()

    def needs(self, world: Any) -> Any:
        return self.command.needs(world)

    def decide(self, world: Any, now: Any) -> Any:
        _deciding[0] = self.request_id
        return self.command.decide(world, now)


def _submission(command: Command[Any], answers: dict[UUID, Any]) -> Submission:
    request_id = uuid4()

    def encode(answer: Any) -> bytes:
        answers[request_id] = answer
        return b""

    return Submission(
        request_id=request_id,
        method=type(command).__name__,
        fingerprint=b"",
        actor="tester",
        command=_Watched(command, request_id),
        encode=encode,
        deadline=asyncio.get_running_loop().time() + 30,
    )


@pytest_asyncio.fixture
async def carry_out(database_url: str) -> AsyncIterator[CarryOut]:
    """Commits a command alone, or several in one batch by its method `together`."""
    session = Session(database_url, "tests")
    await session.connect()
    yield CarryOut(database_url, session)
    await session.close()
