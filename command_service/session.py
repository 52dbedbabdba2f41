"""A database session of the committer: one connection, statements sent as pipelines.

A pipeline is one round trip: all statements go out together and the results are read together, yet
each statement has a snapshot of its own.
"""

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import psycopg
from psycopg.adapt import Dumper
from psycopg.types.numeric import Int8BinaryDumper, Int8Dumper

from command_service.arrays import ArrayDumper
from command_service.database_failures import (
    ConnectionLost,
    DatabaseFailure,
    FellSilent,
    Interrupted,
    TookTooLong,
    Unacceptable,
)
from event_log.parting import cut_off

Row = tuple[Any, ...]
TalkT = TypeVar("TalkT")


class Statement(NamedTuple):
    """One SQL statement and its parameters."""

    sql: str
    parameters: Sequence[Any] | dict[str, Any] = ()


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long a session waits, and how long the server lets it; why each: see docs/adr/0003."""

    lock_seconds_max: float = 2.0
    statement_seconds_max: float = 4.0
    transaction_seconds_max: float = 5.0
    """A session that stops while it holds locks is ended by the server."""
    trip_seconds_max: float = 10.0
    """A round trip takes longer than any server-side limit only when the connection is dead."""

    @property
    def options(self) -> str:
        """What the server is told of them."""
        # Not idle_in_transaction_session_timeout: the Flush that ends a pipeline disarms it again.
        return (
            f"-c lock_timeout={self.lock_seconds_max * 1000:.0f}"
            f" -c statement_timeout={self.statement_seconds_max * 1000:.0f}"
            f" -c transaction_timeout={self.transaction_seconds_max * 1000:.0f}"
        )


TIMEOUTS = Timeouts()

SESSION_OPTIONS = (
    "-c tcp_keepalives_idle=5 -c tcp_keepalives_interval=2 -c tcp_keepalives_count=3"
    " -c client_connection_check_interval=1s"
    " -c default_transaction_isolation=read\\ committed"
    " -c jit=off"
)

# Held by the session, so it is free as soon as the process or its connection is gone; a process that
# is stopped in mid-air keeps its connection, so the server ends one that has not asked for seconds.
_TAKE_WORKER_LOCK = "SELECT pg_try_advisory_lock(2, %s::int)"
_LIMIT_IDLENESS = Statement("SET idle_session_timeout = '10s'")

_CONNECTION_CLASS = "08"
_FAILURES_BY_SQLSTATE_CLASS: Mapping[str, type[DatabaseFailure]] = {
    _CONNECTION_CLASS: ConnectionLost,
    # Bad data, a constraint, a limit of the database.
    "22": Unacceptable,
    "23": Unacceptable,
    "54": Unacceptable,
}


def _translated(error: psycopg.Error) -> DatabaseFailure:
    """What psycopg raised, in the words of the write side. A server that said nothing is gone."""
    code = (error.sqlstate or _CONNECTION_CLASS)[:2]
    told = str(error).strip()
    if isinstance(error, psycopg.errors.QueryCanceled | psycopg.errors.TransactionTimeout):
        return TookTooLong(told, code=code)
    return _FAILURES_BY_SQLSTATE_CLASS.get(code, Interrupted)(told, code=code)


class Session:
    """One connection to PostgreSQL, reopened by `connect` after it broke.

    When the database fails every method but `roll_back` raises a DatabaseFailure, with what psycopg
    raised as its cause; anything else that is raised is a bug of ours.
    """

    def __init__(self, conninfo: str, application_name: str, timeouts: Timeouts | None = None) -> None:
        """timeouts: TIMEOUTS if it is None."""
        self._timeouts = timeouts or TIMEOUTS
        self._conninfo = conninfo
        self._application_name = application_name
        self._connection: psycopg.AsyncConnection[Row] | None = None
        self.trip_count = 0
        self.statement_count = 0

    async def connect(self) -> None:
        """Opens the connection if there is none.

        Raises:
            ConnectionLost: the server cannot be reached.
        """
        if self._connection is not None and not self._connection.closed:
            return
        try:
            connection = await self._open()
        except psycopg.Error as error:
            raise _translated(error) from error
        # One wire type for every int, so that a statement is prepared once whatever its numbers are.
        dumpers: tuple[type[Dumper], ...] = (Int8Dumper, Int8BinaryDumper)
        for dumper in dumpers:
            connection.adapters.register_dumper(int, dumper)
        connection.adapters.register_dumper(list, ArrayDumper)
        self._connection = connection

    async def _open(self) -> psycopg.AsyncConnection[Row]:
        return await psycopg.AsyncConnection.connect(
            self._conninfo,
            autocommit=True,
            prepare_threshold=0,
            connect_timeout=5,
            application_name=self._application_name,
            options=f"{SESSION_OPTIONS} {self._timeouts.options}",
            keepalives_idle=5,
            keepalives_interval=2,
            keepalives_count=3,
        )

    async def run(self, statements: Sequence[Statement]) -> list[list[Row]]:
        """Sends the statements in one round trip; returns the rows of each, [] where there are none.

        Raises:
            DatabaseFailure: of the first statement that failed; those after it were not carried out.
            FellSilent: the connection is dead; it was dropped.
        """
        self.statement_count += len(statements)
        try:
            return await self._trip(self._run(statements))
        except psycopg.Error as error:
            raise _translated(error) from error

    async def take_worker_lock(self, number: int) -> bool:
        """See command_service.lone_worker.WorkerSession; one trip."""
        await self.connect()
        _, [(is_taken,)] = await self.run([_LIMIT_IDLENESS, Statement(_TAKE_WORKER_LOCK, (number,))])
        return bool(is_taken)

    async def _trip(self, talk: Coroutine[Any, Any, TalkT]) -> TalkT:
        self.trip_count += 1
        trip = asyncio.ensure_future(talk)
        try:
            done, _ = await asyncio.wait({trip}, timeout=self._timeouts.trip_seconds_max)
        except asyncio.CancelledError:
            # Who asked has gone away, in the middle of a transaction perhaps: the next one starts anew.
            self._abandon(trip)
            raise
        if not done:
            self._abandon(trip)
            raise FellSilent("the database did not answer", code=_CONNECTION_CLASS)
        return trip.result()

    def _abandon(self, trip: asyncio.Future[TalkT]) -> None:
        # Cancelling psycopg would politely ask a dead server for ten more seconds.
        connection, self._connection = self._connection, None
        if connection is None:
            trip.cancel()
        else:
            cut_off(connection, trip)

    async def _run(self, statements: Sequence[Statement]) -> list[list[Row]]:
        assert self._connection is not None, "connect first"
        cursors: list[psycopg.AsyncCursor[Row]] = []
        async with self._connection.pipeline():
            for statement in statements:
                cursor = self._connection.cursor()
                await cursor.execute(statement.sql.encode(), statement.parameters)
                cursors.append(cursor)
        return [await c.fetchall() if _has_rows(c) else [] for c in cursors]

    async def roll_back(self) -> None:
        """Ends the open transaction, if the connection still works; drops the connection if not."""
        if self._connection is None or self._connection.closed:
            return
        self.statement_count += 1
        try:
            # After a ROLLBACK psycopg forgets its prepared statements and has the server drop them. In a
            # pipeline the drop would come behind the first statement prepared anew, and take it along.
            await self._trip(self._connection.execute("ROLLBACK"))
        except (psycopg.Error, FellSilent):
            self.drop()

    def drop(self) -> None:
        """Lets go of the connection without a word to the server, which may not be listening."""
        if self._connection is not None:
            # Closing the socket at once is what frees a half-done transaction's locks on the server.
            self._connection.pgconn.finish()
            self._connection = None

    async def close(self) -> None:
        """Closes the connection."""
        if self._connection is not None:
            await self._connection.close()
            self._connection = None


def _has_rows(cursor: psycopg.AsyncCursor[Row]) -> bool:
    """Not by `description`, which describes each column."""
    result = cursor.pgresult
    return result is not None and result.status == psycopg.pq.ExecStatus.TUPLES_OK
