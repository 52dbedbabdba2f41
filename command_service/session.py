"""A database session of the write side: its limits in time, and what its failures are called."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import psycopg
from psycopg.errors import ReadOnlySqlTransaction

from command_service.database_failures import (
    ConnectionLost,
    DatabaseFailure,
    FellSilent,
    Interrupted,
    LockedOut,
    TookTooLong,
    Unacceptable,
)
from command_service.pipeline import Pipeline, Row, Statement


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
        seconds_by_setting = {
            "lock_timeout": self.lock_seconds_max,
            "statement_timeout": self.statement_seconds_max,
            "transaction_timeout": self.transaction_seconds_max,
        }
        # In milliseconds, of which none would be no limit at all.
        return " ".join(f"-c {n}={max(1, round(s * 1000))}" for n, s in seconds_by_setting.items())

    @property
    def patient(self) -> "Timeouts":
        """Of a worker that looks through everything and holds nobody up: nearly as long as it waits."""
        longest = self.trip_seconds_max
        return replace(self, statement_seconds_max=0.9 * longest, transaction_seconds_max=0.95 * longest)


TIMEOUTS = Timeouts()

SESSION_OPTIONS = (
    "-c tcp_keepalives_idle=5 -c tcp_keepalives_interval=2 -c tcp_keepalives_count=3"
    " -c client_connection_check_interval=1s"
    " -c default_transaction_isolation=read\\ committed"
    " -c jit=off"
    # East of it, what ends with the year 9999 would end later than Python can say.
    " -c timezone=UTC"
)

_ROLLBACK = Statement("ROLLBACK")

# Held by the session, so it is free as soon as the process or its connection is gone; a process that
# is stopped in mid-air keeps its connection, so the server ends one that has not asked for seconds.
_TAKE_WORKER_LOCK = "SELECT pg_try_advisory_lock(2, %s::int)"
_LIMIT_IDLENESS = Statement("SET idle_session_timeout = '10s'")

_CONNECTION_CLASS = "08"
_DATA_CLASS = "22"
_STALE_CLASSES = ("0A", "26")
"""A statement was prepared for tables that have since changed, or is no longer: one begins anew."""
_FAILURES_BY_SQLSTATE_CLASS: Mapping[str, type[DatabaseFailure]] = {
    _CONNECTION_CLASS: ConnectionLost,
    # Bad data, a constraint, a limit of the database.
    _DATA_CLASS: Unacceptable,
    "23": Unacceptable,
    "54": Unacceptable,
}


def _translated(error: psycopg.Error) -> DatabaseFailure:
    """What psycopg raised, in the words of the write side.

    A server that said nothing is gone, unless it is what it said before that psycopg cannot read.
    """
    unsaid = _DATA_CLASS if isinstance(error, psycopg.DataError) else _CONNECTION_CLASS
    code = (error.sqlstate or unsaid)[:2]
    told = str(error).strip()
    if isinstance(error, psycopg.errors.QueryCanceled | psycopg.errors.TransactionTimeout):
        return TookTooLong(told, code=code)
    if isinstance(error, psycopg.errors.LockNotAvailable):
        return LockedOut(told, code=code)
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
        self._pipeline: Pipeline | None = None
        self.trip_count = 0
        self.statement_count = 0

    async def connect(self) -> None:
        """Opens the connection if there is none.

        Raises:
            ConnectionLost: the server cannot be reached.
        """
        if self._pipeline is not None and not self._pipeline.is_closed:
            return
        try:
            connection = await self._open()
        except psycopg.Error as error:
            raise _translated(error) from error
        self._pipeline = Pipeline(connection)

    async def _open(self) -> psycopg.AsyncConnection[Row]:
        return await psycopg.AsyncConnection.connect(
            self._conninfo,
            autocommit=True,
            connect_timeout=5,
            # What parameters are sent in, whatever the database keeps them in.
            client_encoding="UTF8",
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
        assert self._pipeline is not None, "connect first"
        self.trip_count += 1
        self.statement_count += len(statements)
        try:
            async with asyncio.timeout(self._timeouts.trip_seconds_max):
                return await self._pipeline.run(statements)
        except TimeoutError as error:
            raise FellSilent("the database did not answer", code=_CONNECTION_CLASS) from error
        except psycopg.Error as error:
            failure = _translated(error)
            # After a failover another server may answer at the address of one that only reads.
            if failure.code in _STALE_CLASSES or isinstance(error, ReadOnlySqlTransaction):
                self.drop()
            raise failure from error

    async def take_worker_lock(self, number: int) -> bool:
        """See command_service.lone_worker.WorkerSession; one trip."""
        await self.connect()
        _, [(is_taken,)] = await self.run([_LIMIT_IDLENESS, Statement(_TAKE_WORKER_LOCK, (number,))])
        return bool(is_taken)

    async def roll_back(self) -> None:
        """Ends the open transaction, if the connection still works; drops the connection if not."""
        if self._pipeline is None or self._pipeline.is_closed:
            return
        try:
            await self.run([_ROLLBACK])
        except DatabaseFailure:
            self.drop()

    def drop(self) -> None:
        """Lets go of the connection at once; whatever it was at is undone by the server."""
        if self._pipeline is not None:
            self._pipeline.close()
            self._pipeline = None

    async def close(self) -> None:
        """Closes the connection."""
        self.drop()
