"""A batch on PostgreSQL: the statements of each step, and in which round trip they go.

The order is what keeps the promises: docs/adr/0002 tells why each stands where it does.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

import sqlalchemy as sa

from command_service.errors import Failure
from command_service.keyed_rows import take_back_rows
from command_service.pipeline import Row, Statement
from command_service.repository import Repository
from command_service.requests import CLAIM, KNOWN
from command_service.session import Session
from command_service.submission import Answer
from command_service.unit_of_work import (
    HASTE_SECONDS,
    Claimed,
    Found,
    Known,
    Named,
    NewAnswer,
    Told,
    Work,
)
from command_service.world import LockRank
from event_log.appending import (
    APPEND,
    INCARNATION,
    LAST_POSITION,
    LOCK_LOG,
    LOG_END,
    NOTIFY_CHANNEL,
)
from event_log.codec import encode_event
from event_log.events import Event
from event_log.tokens import ConsistencyToken

BEGIN = Statement("BEGIN ISOLATION LEVEL READ COMMITTED")
BEGIN_SNAPSHOT = Statement("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
COMMIT = Statement("COMMIT")
HURRY = Statement(f"SET LOCAL lock_timeout = {round(HASTE_SECONDS * 1000)}")
TAKE_TIME = Statement("SET LOCAL lock_timeout TO DEFAULT")
CLOCK = Statement("SELECT clock_timestamp()")

APPEND_EVENTS = f"""
WITH base AS MATERIALIZED ({LAST_POSITION}),
appended AS ({APPEND} RETURNING position)
SELECT max(position), pg_notify('{NOTIFY_CHANNEL}', max(position)::text) FROM appended
"""

STORE_ANSWERS = f"""
INSERT INTO requests (request_id, method, fingerprint, code, response, position, create_time)
SELECT row.request_id, row.method, row.fingerprint, row.code, row.response,
       log.position, %(now)s::timestamptz
FROM ({LOG_END}) AS log,
     unnest(%(ids)s::uuid[], %(methods)s::text[], %(fingerprints)s::bytea[], %(codes)s::int8[],
         %(responses)s::bytea[]) AS row(request_id, method, fingerprint, code, response)
RETURNING ({INCARNATION}), position
"""


class Ledger(Protocol):
    """A table that keeps a row for certain events, with their positions in the log."""

    def record(
        self, events: Sequence[tuple[int, Event, str]], event_count: int, now: datetime
    ) -> list[Statement]:
        """Statements that write the rows; they run under the log lock, after the events.

        events: (ordinal from 1, event, actor) of the whole batch. The position of an event is
        max(position) - event_count + ordinal.
        """
        ...


@dataclass(frozen=True, slots=True)
class Storage:
    """All that a transaction writes to: the repository of each kind, the ledgers, the refusals' form.

    key_tables: where the key rows stand of those kinds whose absence is locked by one.
    """

    repositories: Mapping[LockRank, Repository[Any, Any]]
    ledgers: Sequence[Ledger]
    encode_failure: Callable[[Failure], bytes]
    key_tables: Mapping[LockRank, sa.Table] = field(default_factory=dict)


class PostgresqlUnitOfWork:
    """Transactions on one session; see the port, UnitOfWork."""

    def __init__(self, session: Session, storage: Storage) -> None:
        self._session = session
        self._storage = storage
        self._is_hasty = False

    async def connect(self) -> None:
        """Opens the session's connection if there is none."""
        await self._session.connect()

    async def claim(self, request_ids: Sequence[UUID], *, is_hasty: bool = False) -> Claimed:
        """One trip."""
        ids = sorted(map(str, request_ids))
        self._is_hasty = is_hasty
        begin = [BEGIN, HURRY] if is_hasty else [BEGIN]
        *_, claimed, known = await self._session.run(
            [*begin, Statement(CLAIM, (ids,)), Statement(KNOWN, (ids,))]
        )
        return Claimed({request_id for (request_id,) in claimed}, dict(map(_known, known)))

    async def load(self, named: Sequence[Named]) -> list[Found]:
        """One trip, or none if nothing is named."""
        found, _ = await self._load(named)
        return found

    async def load_last(self, named: Sequence[Named]) -> tuple[list[Found], datetime]:
        """One trip."""
        found, [[(now,)]] = await self._load(named, CLOCK)
        return found, now

    async def _load(
        self, named: Sequence[Named], *last: Statement
    ) -> tuple[list[Found], list[list[Row]]]:
        repositories = [self._storage.repositories[kind.rank] for kind, _ in named]
        loads = [r.load(keys) for r, (_, keys) in zip(repositories, named, strict=True)]
        statements = [statement for load in loads for statement in load] + list(last)
        results = await self._session.run(statements) if statements else []
        found: list[Found] = []
        for repository, (_, keys), load in zip(repositories, named, loads, strict=True):
            found.append(repository.assemble(keys, results[: len(load)]))
            results = results[len(load) :]
        return found, results

    def encode_event(self, event: Event) -> tuple[str, bytes]:
        """Its type's full name and its payload."""
        return encode_event(event)

    def encode_failure(self, failure: Failure) -> bytes:
        """A serialized google.rpc.Status."""
        return self._storage.encode_failure(failure)

    async def write(self, work: Work) -> ConsistencyToken:
        """One trip: what can conflict or wait first, then the log lock, then what it guards."""
        saves = [*self._saves(work), *self._take_back(work)]
        appends = self._appends(work.events, work.now)
        answers = _store_answers(work.answers, work.now)
        results = await self._session.run([*saves, *appends, answers, COMMIT])
        # The answers are written last, behind the batch's own events.
        return ConsistencyToken(*results[-2][0])

    def _saves(self, work: Work) -> Iterable[Statement]:
        for kind, changed in work.changed:
            yield from self._storage.repositories[kind.rank].save(changed)

    def _take_back(self, work: Work) -> Iterable[Statement]:
        """Deletes the key rows of what was not created after all: refused, or left to the next batch.

        Here, and not in a worker that sweeps: a refused creation is rare, costs one statement more, and
        no other transaction ever sees a row that might be swept away under it.
        """
        for kind, keys in work.not_created:
            table = self._storage.key_tables.get(kind.rank)
            if table is not None and keys:
                yield take_back_rows(table, keys)

    def _appends(self, told: Sequence[Told], now: datetime) -> list[Statement]:
        if not told:
            return []
        append = {
            "recorded_time": now,
            "contexts": [each.event.context for each in told],
            "types": [each.encoded[0] for each in told],
            "keys": [each.event.key for each in told],
            "payloads": [each.encoded[1] for each in told],
            "actors": [each.actor for each in told],
            "request_ids": [each.request_id for each in told],
        }
        rows = [(ordinal, each.event, each.actor) for ordinal, each in enumerate(told, start=1)]
        ledgers = [s for ledger in self._storage.ledgers for s in ledger.record(rows, len(rows), now)]
        # Others hold the log for as long as their commits take: to wait for that is no lockout.
        patience = [TAKE_TIME] if self._is_hasty else []
        return [*patience, Statement(LOCK_LOG), Statement(APPEND_EVENTS, append), *ledgers]

    async def end(self) -> None:
        """One trip."""
        await self._session.run([COMMIT])

    async def roll_back(self) -> None:
        """One trip; a connection that does not answer is dropped."""
        await self._session.roll_back()

    async def begin_rehearsal(self) -> None:
        """One trip."""
        await self._session.run([BEGIN_SNAPSHOT])

    async def log_end(self) -> ConsistencyToken:
        """One trip."""
        [[end]] = await self._session.run([Statement(LOG_END)])
        return ConsistencyToken(*end)


def _known(row: Row) -> tuple[UUID, Known]:
    request_id, method, fingerprint, code, body, *end = row
    return request_id, Known(method, fingerprint, Answer(code, body, ConsistencyToken(*end)))


def _store_answers(answers: Sequence[NewAnswer], now: datetime) -> Statement:
    return Statement(
        STORE_ANSWERS,
        {
            "now": now,
            "ids": [answer.request_id for answer in answers],
            "methods": [answer.method for answer in answers],
            "fingerprints": [answer.fingerprint for answer in answers],
            "codes": [answer.code for answer in answers],
            "responses": [answer.body for answer in answers],
        },
    )
