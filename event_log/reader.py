"""How everyone reads the log: what follows a position, in commit order, and a bell for more.

Position order is commit order (see event_log.appending), so whoever remembers the last position that
it has seen misses nothing by asking for what is greater.
"""

import asyncio
from collections.abc import Awaitable, Sequence
from datetime import datetime
from typing import Any, NamedTuple, TypeVar

import psycopg

from event_log.appending import NOTIFY_CHANNEL
from event_log.parting import cut_off, never_mind

ResultT = TypeVar("ResultT")

BATCH_EVENTS_MAX = 1000
"""Events a read, unless told otherwise: a few hundred kilobytes."""

LOOKED_THROUGH_MAX = 100_000
"""Positions that one read for events of some contexts looks through, which no index finds: well below a
second, while the few of a rare context in all of a big log would take longer than a statement may."""

_POSITION_MAX = 2**63 - 1

ANSWER_SECONDS_MAX = 12.0
"""Unless told otherwise. A database that says nothing for longer is gone."""

STATEMENT_SHARE = 5 / 6
"""Of it: after that the server ends a statement, so that one which is only slow is told so."""

SESSION_OPTIONS = (
    "-c default_transaction_read_only=on"
    " -c tcp_keepalives_idle=5 -c tcp_keepalives_interval=2 -c tcp_keepalives_count=3"
    " -c jit=off"
)

# One statement is one snapshot: incarnation, end and events belong together. The outer join keeps the
# row that tells the first three when there are no events.
_READ = """
SELECT log.incarnation, log.last_position, pg_is_in_recovery(), event.position, event.recorded_time,
       event.context, event.type, event.key, event.payload, event.actor, event.request_id::text
FROM (SELECT incarnation, (SELECT coalesce(max(position), 0) FROM events) AS last_position
      FROM log_incarnation) AS log
LEFT JOIN LATERAL (
    SELECT * FROM events WHERE position > %(after)s{filters}
    ORDER BY position LIMIT %(limit)s) AS event ON true
ORDER BY event.position
"""
_OF_CONTEXTS = " AND context = ANY(%(contexts)s::text[])"
_UP_TO = " AND position <= %(up_to)s"
_OF_KEY = " AND key = %(key)s"


class StoredEvent(NamedTuple):
    """An event as it stands in the log. `type` is the payload's full protobuf name."""

    position: int
    recorded_time: datetime
    context: str
    type: str
    key: str
    payload: bytes
    actor: str
    request_id: str


class LogBatch(NamedTuple):
    """What one read found.

    last_position: where the log ended in the moment of the read. through_position: up to where
    nothing is missing from `events`; read on from there. is_standby: others may have seen more.
    """

    incarnation: str
    last_position: int
    through_position: int
    events: tuple[StoredEvent, ...]
    is_standby: bool


class LogReader:
    """Reads the log over one connection of its own, opened when needed and again after it broke.

    Not for two tasks at once.
    """

    def __init__(
        self,
        conninfo: str,
        *,
        application_name: str = "log reader",
        answer_seconds_max: float = ANSWER_SECONDS_MAX,
    ) -> None:
        """answer_seconds_max: a database that says nothing for longer is gone."""
        self._conninfo = conninfo
        self._answer_seconds_max = answer_seconds_max
        self._application_name = application_name
        self._connection: psycopg.AsyncConnection[tuple[Any, ...]] | None = None

    async def read(
        self,
        *,
        after: int,
        limit: int = BATCH_EVENTS_MAX,
        contexts: Sequence[str] = (),
        key: str | None = None,
    ) -> LogBatch:
        """At most `limit` events with positions greater than `after`, in order.

        contexts, key: only events of these; none means all. There may be more than were looked through:
        see the batch's through_position.

        Raises:
            psycopg.OperationalError, TimeoutError: the log cannot be reached; the next call connects
                anew.
        """
        up_to = after + LOOKED_THROUGH_MAX if contexts and key is None else None
        facts = {
            "after": after,
            "limit": limit,
            "contexts": list(contexts),
            "key": key,
            "up_to": up_to,
        }
        rows = await self._guarded(self._fetch(_statement(contexts, key), facts))
        incarnation, last_position, is_standby = rows[0][:3]
        # Of a list: a tuple made of a generator leaves Python one more to keep for later, each read.
        events = tuple([StoredEvent(*row[3:]) for row in rows if row[3] is not None])
        through = max(after, last_position if up_to is None else min(last_position, up_to))
        if len(events) == limit:
            through = events[-1].position
        if through < last_position:
            # Whoever catches up reads on, for hours perhaps, and psycopg keeps each bell until then.
            await self._guarded(self._listen(0))
        return LogBatch(incarnation, last_position, through, events, is_standby)

    async def read_end(self) -> LogBatch:
        """Where the log ends, without events.

        Raises:
            as `read`.
        """
        return await self.read(after=_POSITION_MAX, limit=1)

    async def wait(self, *, seconds_max: float) -> None:
        """Returns when events were committed since the last read, or after `seconds_max`.

        It may return early for no reason; a bell that was missed, or that a standby cannot ring, is made
        up for by the time limit.

        Raises:
            psycopg.OperationalError, TimeoutError: the log cannot be reached; the next call connects
                anew.
        """
        await self._guarded(self._listen(seconds_max), seconds_more=seconds_max)

    async def close(self) -> None:
        """Closes the connection."""
        if self._connection is not None:
            await self._connection.close()
            self._connection = None

    async def _guarded(self, work: Awaitable[ResultT], *, seconds_more: float = 0.0) -> ResultT:
        """The result of the work; the connection is dropped when it broke or answers no more."""
        task = asyncio.ensure_future(work)
        never_mind(task)
        is_answered = False
        try:
            done, _ = await asyncio.wait({task}, timeout=self._answer_seconds_max + seconds_more)
            if done:
                result = task.result()
                is_answered = True
                return result
        finally:
            if not is_answered:
                # Also when we are cancelled: psycopg would politely ask a dead server for ten more
                # seconds, and a half-read answer must not meet the next question.
                self._part_with(task)
        raise TimeoutError("the log does not answer")

    async def _fetch(self, statement: str, facts: dict[str, Any]) -> list[tuple[Any, ...]]:
        connection = await self._connected()
        cursor = await connection.execute(statement.encode(), facts)
        return await cursor.fetchall()

    async def _listen(self, seconds_max: float) -> None:
        connection = await self._connected()
        async for _ in connection.notifies(timeout=seconds_max, stop_after=1):
            pass

    async def _connected(self) -> psycopg.AsyncConnection[tuple[Any, ...]]:
        if self._connection is None or self._connection.closed:
            # None would be no limit at all.
            statement_milliseconds = max(1, round(STATEMENT_SHARE * self._answer_seconds_max * 1_000))
            self._connection = await psycopg.AsyncConnection.connect(
                self._conninfo,
                autocommit=True,
                prepare_threshold=0,
                connect_timeout=5,
                application_name=self._application_name,
                options=f"{SESSION_OPTIONS} -c statement_timeout={statement_milliseconds}",
            )
            # A standby refuses LISTEN: there the poll alone tells of new events.
            cursor = await self._connection.execute("SELECT pg_is_in_recovery()")
            if await cursor.fetchone() == (False,):
                await self._connection.execute(f"LISTEN {NOTIFY_CHANNEL}".encode())
        return self._connection

    def _part_with(self, task: "asyncio.Future[Any]") -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            task.cancel()
        else:
            cut_off(connection, task)


def _statement(contexts: Sequence[str], key: str | None) -> str:
    """Only the filters in use: each statement is planned for the index that serves it."""
    if key is not None:
        return _READ.format(filters=(_OF_CONTEXTS if contexts else "") + _OF_KEY)
    return _READ.format(filters=_OF_CONTEXTS + _UP_TO if contexts else "")
