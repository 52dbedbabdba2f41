"""Read-only PostgreSQL: a few connections, each question answered from one snapshot.

The server may be a replica. Nothing is ever written: the sessions themselves refuse to.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar
from weakref import WeakSet

import psycopg
from psycopg.rows import class_row

from event_log.parting import cut_off, never_mind
from history_service.errors import DatabaseUnavailable, ReadersBusy
from serving.failures import DeadlineMissed, Failure

RowT = TypeVar("RowT")
ResultT = TypeVar("ResultT")
Connection = psycopg.AsyncConnection[Any]

# jit: compiling a plan takes longer than any of these queries. client_connection_check_interval: a
# query whose caller went away ends by itself.
SESSION_OPTIONS = (
    "-c default_transaction_read_only=on"
    " -c idle_in_transaction_session_timeout=5s"
    " -c client_connection_check_interval=1s"
    " -c jit=off"
)

ANSWER_SECONDS_MAX = 20.0
"""Unless told otherwise, also for callers without a deadline: nothing that is asked here takes longer
by rights."""

ANSWER_SECONDS_MIN = 0.01
"""With less than this left there is no point in asking."""

DEAD_SERVER_GRACE_SECONDS = 1.0
"""The server ends a late query itself; one that does not is not there any more."""

PLACE_SECONDS_MAX = 1.0
"""Unless told otherwise. Whoever waits longer for a connection is one of too many, and had better ask
another process."""

CONNECT_SECONDS_MAX = 5

BEGIN = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"


class Snapshot:
    """The database as of one moment; `fetch` may be called again and again."""

    def __init__(self, connection: Connection, deadline: float) -> None:
        self._connection = connection
        self._deadline = deadline

    async def fetch(
        self, sql: str, parameters: Mapping[str, object], row_type: type[RowT]
    ) -> list[RowT]:
        """The rows of a query, each as a `row_type` whose fields are named like the columns.

        Raises:
            psycopg.Error: the query failed.
            TimeoutError: the server did not answer in time.
        """
        return await _in_time(self._fetch(sql, parameters, row_type), self._deadline, self._connection)

    async def fetch_one(
        self, sql: str, parameters: Mapping[str, object], row_type: type[RowT]
    ) -> RowT | None:
        """The first row of a query, or None. Raises like `fetch`."""
        rows = await self.fetch(sql, parameters, row_type)
        return rows[0] if rows else None

    async def _fetch(
        self, sql: str, parameters: Mapping[str, object], row_type: type[RowT]
    ) -> list[RowT]:
        async with self._connection.cursor(row_factory=class_row(row_type)) as cursor:
            # Bytes, because a LiteralString is asked for; the SQL here is never made of input.
            await cursor.execute(sql.encode(), parameters)
            return await cursor.fetchall()


class Database:
    """Connections for readers, opened when needed and kept while they work."""

    def __init__(
        self,
        conninfo: str,
        *,
        connection_count_max: int,
        answer_seconds_max: float = ANSWER_SECONDS_MAX,
        place_seconds_max: float = PLACE_SECONDS_MAX,
    ) -> None:
        """answer_seconds_max: of a question. place_seconds_max: of the wait for a connection."""
        self._conninfo = conninfo
        self._answer_seconds_max = answer_seconds_max
        self._place_seconds_max = place_seconds_max
        self._idle: list[Connection] = []
        self._places = asyncio.Semaphore(connection_count_max)

    @asynccontextmanager
    async def snapshot(self, seconds_left: float | None) -> AsyncIterator[Snapshot]:
        """The database as of now, for at most `seconds_left` (None: for as long as any).

        Raises:
            DatabaseUnavailable, ReadersBusy, DeadlineMissed: it cannot be read in time.
        """
        longest = self._answer_seconds_max
        seconds = longest if seconds_left is None else min(seconds_left, longest)
        if seconds < ANSWER_SECONDS_MIN:
            raise DeadlineMissed
        deadline = asyncio.get_running_loop().time() + seconds
        await self._take_place(deadline)
        try:
            async with self._transaction(deadline) as connection:
                yield Snapshot(connection, deadline)
        except (psycopg.errors.QueryCanceled, TimeoutError) as error:
            raise DeadlineMissed from error
        except (psycopg.OperationalError, psycopg.InterfaceError) as error:
            # Among them: cancelled by a replica that could not keep the snapshot's rows any longer.
            raise DatabaseUnavailable from error
        finally:
            self._places.release()

    async def start(self) -> None:
        """Nothing to begin: connections are opened when they are needed."""

    async def drain(self) -> None:
        """Closes the connections; the questions have been answered by then."""
        while self._idle:
            await self._idle.pop().close()

    async def _take_place(self, deadline: float) -> None:
        try:
            seconds = seconds_for_a_place(_seconds_until(deadline), longest=self._place_seconds_max)
            await asyncio.wait_for(self._places.acquire(), seconds)
        except TimeoutError as error:
            raise ReadersBusy from error

    @asynccontextmanager
    async def _transaction(self, deadline: float) -> AsyncIterator[Connection]:
        connection = await self._begin(deadline)
        try:
            yield connection
        except Failure:
            # A refusal is an answer, made of what was read: nothing is wrong with the connection.
            await self._hand_back(connection, deadline)
            raise
        except BaseException:
            drop(connection)
            raise
        await self._hand_back(connection, deadline)

    async def _hand_back(self, connection: Connection, deadline: float) -> None:
        """Ends the transaction; the next caller takes the connection, unless it broke by that."""
        try:
            await _in_time(connection.execute("ROLLBACK"), deadline, connection)
        except BaseException:
            drop(connection)
            raise
        self._idle.append(connection)

    async def _begin(self, deadline: float) -> Connection:
        """A connection in a fresh transaction; one that broke while it was idle is replaced."""
        while self._idle:
            connection = self._idle.pop()
            try:
                return await self._started(connection, deadline)
            except psycopg.OperationalError:
                continue
        return await self._started(await _in_time(connect(self._conninfo), deadline), deadline)

    async def _started(self, connection: Connection, deadline: float) -> Connection:
        milliseconds = max(int(_seconds_until(deadline) * 1_000), 1)
        statements = f"{BEGIN}; SET LOCAL statement_timeout = {milliseconds}"
        try:
            await _in_time(connection.execute(statements.encode()), deadline, connection)
        except BaseException:
            # Also when cancelled: a connection in the midst of a statement is of no use to anybody.
            drop(connection)
            raise
        return connection


async def connect(conninfo: str) -> Connection:
    """A read-only connection that commits each statement by itself.

    Raises:
        psycopg.OperationalError: the server cannot be reached.
    """
    return await psycopg.AsyncConnection.connect(
        conninfo,
        autocommit=True,
        connect_timeout=CONNECT_SECONDS_MAX,
        application_name="shopkeeper history",
        options=SESSION_OPTIONS,
        keepalives_idle=5,
        keepalives_interval=2,
        keepalives_count=3,
    )


def drop(connection: Connection) -> None:
    """Lets go of a connection without a word to the server, which may not be listening."""
    if connection not in _CUT_OFF:
        connection.pgconn.finish()


def seconds_for_a_place(seconds_left: float, *, longest: float) -> float:
    """How long a caller with so much time left waits for a connection.

    The rest is for the question, or for telling them that all are busy before they stop to listen.
    """
    return min(seconds_left / 2, longest)


def _seconds_until(deadline: float) -> float:
    return deadline - asyncio.get_running_loop().time()


_CUT_OFF: WeakSet[Connection] = WeakSet()
"""Whose talk goes on for a moment, and closes them when it ends."""


async def _in_time(
    doing: Awaitable[ResultT], deadline: float, connection: Connection | None = None
) -> ResultT:
    """What `doing` returns. connection: what it talks to; None while there is none yet.

    asyncio.timeout() would not do: psycopg answers a cancellation by asking the server, which takes
    ten seconds if that is dead.
    """
    task = asyncio.ensure_future(doing)
    never_mind(task)
    try:
        done, _ = await asyncio.wait(
            {task}, timeout=_seconds_until(deadline) + DEAD_SERVER_GRACE_SECONDS
        )
    finally:
        if not task.done() and connection is not None:
            _CUT_OFF.add(connection)
            cut_off(connection, task)
        elif not task.done():
            task.cancel()
    if not done:
        raise TimeoutError("the database did not answer")
    return task.result()
