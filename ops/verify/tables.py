"""The tables as of one moment, and how far the log had come in it."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import psycopg

from command_service.pipeline import Row
from command_service.repository import Repository
from command_service.unit_of_work import Keys
from command_service.world import Mode
from event_log.tokens import ConsistencyToken
from ops.failures import NO_SHOP, Problem

# Over all orders of a big shop; a check that takes longer would not be run.
SESSION_OPTIONS = "-c default_transaction_read_only=on -c statement_timeout=10min -c jit=off"

BEGIN = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"

# The first query fixes the snapshot: token and time belong to all that is read after it.
MOMENT = """
SELECT incarnation, (SELECT coalesce(max(position), 0) FROM events), now(), pg_is_in_recovery()
FROM log_incarnation
"""


class Tables:
    """A snapshot of the database. is_standby: others may have seen more of the log than it."""

    def __init__(self, connection: psycopg.AsyncConnection[Row], moment: Row) -> None:
        self._connection = connection
        incarnation, position, self.now, self.is_standby = moment
        self.token = ConsistencyToken(incarnation, position)

    async def rows(
        self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] | None = None
    ) -> list[Row]:
        """The rows of a query."""
        cursor = await self._connection.execute(sql.encode(), parameters)
        return await cursor.fetchall()

    async def column(self, sql: str, *parameters: object) -> list[str]:
        """The only column of a query."""
        return [row[0] for row in await self.rows(sql, parameters)]

    async def aggregates(self, repository: Repository[Any, Any], keys: Sequence[str]) -> dict[str, Any]:
        """The aggregates of these keys, read as commands read them; without those that do not exist."""
        wanted: Keys[Any] = Keys([(key, Mode.READ) for key in sorted(keys)])
        statements = repository.load(wanted)
        results = [await self.rows(*statement) for statement in statements]
        assembled = repository.assemble(wanted, results)
        return {key: aggregate for key, aggregate in assembled.items() if aggregate is not None}


@asynccontextmanager
async def snapshot(database_url: str) -> AsyncIterator[Tables]:
    """The tables as they are now, for as long as the context lasts.

    Raises:
        psycopg.OperationalError: the database cannot be reached.
        Problem: there is no log to compare with.
    """
    connection = await psycopg.AsyncConnection.connect(
        database_url,
        autocommit=True,
        connect_timeout=5,
        application_name="shopkeeper verify",
        options=SESSION_OPTIONS,
    )
    async with connection:
        await connection.execute(BEGIN.encode())
        moment = await (await connection.execute(MOMENT.encode())).fetchone()
        if moment is None:
            raise Problem(NO_SHOP)
        yield Tables(connection, moment)
