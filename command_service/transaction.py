"""One batch of commands as one PostgreSQL transaction: claim, load, decide, write.

The order of the steps is what keeps the promises; docs/adr/0002 tells why each stands where it does.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, Protocol
from uuid import UUID, uuid4

import sqlalchemy as sa
import structlog

from command_service.errors import Failure, Internal, Refusal, RequestIdReused
from command_service.keyed_rows import take_back_rows
from command_service.repository import Changed, Keys, Repository
from command_service.requests import CLAIM, KNOWN
from command_service.session import Row, Session, Statement
from command_service.submission import SUCCESS, Answer, Submission
from command_service.world import (
    FIRST_DEPENDENT_RANK,
    Decision,
    Kind,
    LockRank,
    Mode,
    NotLoadedError,
    Touch,
    World,
)
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

log = structlog.get_logger(__name__)

BEGIN = Statement("BEGIN ISOLATION LEVEL READ COMMITTED")
BEGIN_SNAPSHOT = Statement("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
COMMIT = Statement("COMMIT")
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


NEED_COUNT_MAX = 5_000
"""Keys that the commands of a batch may need beyond those that they name themselves.

How many lines a cart or an order has is known only once it is loaded: 200 orders of 500 lines would
take longer than transaction_timeout. As many as 200 new orders of 8 lines, or 10 cancelled ones of 500:
half a second, and still within the time on a machine that is six times as slow. Four times as many
were no faster in all.
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


@dataclass(slots=True)
class Outcome:
    """What became of the commands of a batch.

    postponed: they need a key that they could not name in time, or more keys than the batch may have;
    they go into the next batch.
    """

    answers: list[tuple[Submission, Answer]] = field(default_factory=list)
    failures: list[tuple[Submission, Failure]] = field(default_factory=list)
    in_flight_elsewhere: list[Submission] = field(default_factory=list)
    postponed: list[Submission] = field(default_factory=list)


@dataclass(slots=True)
class _Decided:
    submission: Submission
    code: int
    body: bytes
    events: Sequence[Event] = ()
    encoded: Sequence[tuple[str, bytes]] = ()


@dataclass(frozen=True, slots=True)
class Storage:
    """All that a transaction writes to: the repository of each kind, the ledgers, the refusals' form.

    key_tables: where the key rows stand of those kinds whose absence is locked by one.
    """

    repositories: Mapping[LockRank, Repository[Any, Any]]
    ledgers: Sequence[Ledger]
    encode_failure: Callable[[Failure], bytes]
    key_tables: Mapping[LockRank, sa.Table] = field(default_factory=dict)


class Transaction:
    """Carries out one batch. Made anew for each; `run` may raise any psycopg error."""

    def __init__(self, session: Session, storage: Storage) -> None:
        self._session = session
        self._storage = storage
        self._world = World()
        self._outcome = Outcome()
        self._decided: list[_Decided] = []
        self._creatable: list[tuple[Kind[Any, Any], list[Any]]] = []

    async def run(self, submissions: Sequence[Submission]) -> Outcome:
        """Claims, loads, decides, writes and commits.

        Raises:
            psycopg.Error, TimeoutError: nothing can be said about any of the commands.
        """
        live = await self._claim(submissions)
        if not live:
            # Nothing was written. A ROLLBACK would also cost the session its prepared statements.
            await self._session.run([COMMIT])
            return self._outcome
        now, ready = await self._load(live)
        self._decide_all(ready, now)
        self._outcome.postponed.extend(live[len(ready) :])
        if not self._decided:
            await self._session.roll_back()
            return self._outcome
        token = await self._write(now)
        for done in self._decided:
            self._outcome.answers.append((done.submission, Answer(done.code, done.body, token)))
        return self._outcome

    async def rehearse(self, submission: Submission) -> Answer:
        """Decides on a snapshot, without locks, ids or effects: what validate_only asks for.

        Raises:
            Failure: what the command itself would be answered with, if that is not stored.
        """
        try:
            await self._session.run([BEGIN_SNAPSHOT])
            now, _ = await self._load([submission], is_rehearsal=True)
            [[end]] = await self._session.run([Statement(LOG_END)])
        finally:
            await self._session.roll_back()
        self._decide_all([submission], now)
        if self._outcome.failures:
            raise self._outcome.failures[0][1]
        if not self._decided:
            raise NotLoadedError("a command names all that it needs from a snapshot")
        return Answer(self._decided[0].code, self._decided[0].body, ConsistencyToken(*end))

    # --- claim ---------------------------------------------------------------------------------

    async def _claim(self, submissions: Sequence[Submission]) -> list[Submission]:
        ids = sorted(str(submission.request_id) for submission in submissions)
        _, claimed_rows, known_rows = await self._session.run(
            [BEGIN, Statement(CLAIM, (ids,)), Statement(KNOWN, (ids,))]
        )
        claimed = {row[0] for row in claimed_rows}
        known = {row[0]: row for row in known_rows}
        return [s for s in submissions if self._is_live(s, claimed, known)]

    def _is_live(self, submission: Submission, claimed: set[UUID], known: Mapping[UUID, Row]) -> bool:
        stored = known.get(submission.request_id)
        if stored is None and submission.request_id in claimed:
            return True
        if stored is None:
            self._outcome.in_flight_elsewhere.append(submission)
        elif submission.is_same_request(stored[1], stored[2]):
            _, _, _, code, body, *end = stored
            answer = Answer(code, body, ConsistencyToken(*end))
            self._outcome.answers.append((submission, answer))
        else:
            self._outcome.failures.append((submission, RequestIdReused()))
        return False

    # --- load ----------------------------------------------------------------------------------

    async def _load(
        self, submissions: Sequence[Submission], *, is_rehearsal: bool = False
    ) -> tuple[datetime, Sequence[Submission]]:
        """Locks and reads all that the batch touches, in lock order.

        Returns the time after that, and the submissions that can be decided: the first ones.
        """
        named = [touch for s in submissions for touch in _named(s, s.command.touches)]
        roots = [touch for touch in named if touch.kind.rank < FIRST_DEPENDENT_RANK]
        await self._load_kinds(roots, is_rehearsal=is_rehearsal)
        needed, ready_count = self._needed(submissions)
        assert all(t.kind.rank >= FIRST_DEPENDENT_RANK for t in needed), "needs() names dependents"
        dependents = needed + [t for t in named if t.kind.rank >= FIRST_DEPENDENT_RANK]
        [[(now,)]] = await self._load_kinds(dependents, CLOCK, is_rehearsal=is_rehearsal)
        return now, submissions[:ready_count]

    def _needed(self, submissions: Sequence[Submission]) -> tuple[list[Touch], int]:
        """What the first submissions need, and how many they are: at least one, if there is one."""
        needed: list[Touch] = []
        for count, submission in enumerate(submissions):
            own = _named(submission, partial(submission.command.needs, self._world))
            if count > 0 and len(needed) + len(own) > NEED_COUNT_MAX:
                return needed, count
            needed.extend(own)
        return needed, len(submissions)

    async def _load_kinds(
        self, touches: Iterable[Touch], *last: Statement, is_rehearsal: bool
    ) -> list[list[Row]]:
        named = _merge(touches)
        plan: list[tuple[Repository[Any, Any], Keys[Any], int]] = []
        statements: list[Statement] = []
        for rank in sorted(named):
            kind, modes = named[rank]
            unlocked = [key for key, mode in modes.items() if mode is Mode.READ]
            self._world.load(kind, dict.fromkeys(modes), unlocked=unlocked)
            keys = _keys(modes, is_rehearsal=is_rehearsal)
            if keys.modes:
                loads = self._storage.repositories[rank].load(keys)
                plan.append((self._storage.repositories[rank], keys, len(loads)))
                statements.extend(loads)
                self._creatable.append((kind, keys.created))
        statements.extend(last)
        results = await self._session.run(statements) if statements else []
        for repository, keys, count in plan:
            self._world.load(repository.kind, repository.assemble(keys, results[:count]))
            results = results[count:]
        return results

    # --- decide --------------------------------------------------------------------------------

    def _decide_all(self, submissions: Iterable[Submission], now: datetime) -> None:
        for submission in submissions:
            try:
                self._decide(submission, now)
            except NotLoadedError as error:
                self._postpone(submission, error)
            except Refusal as refusal:
                body = self._storage.encode_failure(refusal)
                self._decided.append(_Decided(submission, int(refusal.code), body))
            except Failure as failure:
                self._outcome.failures.append((submission, failure))
            except Exception as error:  # noqa: BLE001 one command's bug must not fail its neighbours
                self._outcome.failures.append((submission, internal_failure(submission, error)))

    def _postpone(self, submission: Submission, error: NotLoadedError) -> None:
        """Leaves the command to the next batch, where it comes first and sees what it waits for."""
        if self._decided:
            self._outcome.postponed.append(submission)
        else:
            # Nothing was changed before it, so it forgot to name the key: it would come back for ever.
            self._outcome.failures.append((submission, internal_failure(submission, error)))

    def _decide(self, submission: Submission, now: datetime) -> None:
        decision: Decision[Any] = submission.command.decide(self._world, now)
        body = submission.encode(decision.answer)
        encoded = [encode_event(event) for event in decision.events]
        self._world.apply(decision.changes)
        self._decided.append(_Decided(submission, SUCCESS, body, decision.events, encoded))

    # --- write ---------------------------------------------------------------------------------

    async def _write(self, now: datetime) -> ConsistencyToken:
        """Everything that can conflict or wait first, then the log lock, then what it guards."""
        saves = [*self._saves(), *self._take_back()]
        appends = self._appends(now)
        results = await self._session.run([*saves, *appends, self._store_answers(now), COMMIT])
        # The answers are written last, behind the batch's own events.
        return ConsistencyToken(*results[-2][0])

    def _saves(self) -> Iterable[Statement]:
        for kind, rows in self._world.changed():
            yield from self._storage.repositories[kind.rank].save(
                [Changed(key, before, after) for key, before, after in rows]
            )

    def _take_back(self) -> Iterable[Statement]:
        """Deletes the key rows of what was not created after all: refused, or left to the next batch.

        Here, and not in a worker that sweeps: a refused creation is rare, costs one statement more, and
        no other transaction ever sees a row that might be swept away under it.
        """
        for kind, keys in self._creatable:
            table = self._storage.key_tables.get(kind.rank)
            absent = [key for key in keys if self._world.get(kind, key) is None]
            if table is not None and absent:
                yield take_back_rows(table, absent)

    def _appends(self, now: datetime) -> list[Statement]:
        sources = [(done.submission, event) for done in self._decided for event in done.events]
        if not sources:
            return []
        encoded = [event for done in self._decided for event in done.encoded]
        append = {
            "recorded_time": now,
            "contexts": [event.context for _, event in sources],
            "types": [name for name, _ in encoded],
            "keys": [event.key for _, event in sources],
            "payloads": [payload for _, payload in encoded],
            "actors": [submission.actor for submission, _ in sources],
            "request_ids": [submission.request_id for submission, _ in sources],
        }
        rows = [(n, event, s.actor) for n, (s, event) in enumerate(sources, start=1)]
        ledgers = [s for ledger in self._storage.ledgers for s in ledger.record(rows, len(rows), now)]
        return [Statement(LOCK_LOG), Statement(APPEND_EVENTS, append), *ledgers]

    def _store_answers(self, now: datetime) -> Statement:
        return Statement(
            STORE_ANSWERS,
            {
                "now": now,
                "ids": [done.submission.request_id for done in self._decided],
                "methods": [done.submission.method for done in self._decided],
                "fingerprints": [done.submission.fingerprint for done in self._decided],
                "codes": [done.code for done in self._decided],
                "responses": [done.body for done in self._decided],
            },
        )


def internal_failure(submission: Submission, error: Exception) -> Internal:
    """Logs the error and returns what the caller may know of it."""
    error_id = str(uuid4())
    log.error(
        "a command failed",
        exc_info=error,
        error_id=error_id,
        method=submission.method,
        request_id=str(submission.request_id),
    )
    return Internal(error_id=error_id)


def _named(submission: Submission, name: Callable[[], Iterable[Touch]]) -> list[Touch]:
    """The touches that a command names."""
    try:
        return list(name())
    except NotLoadedError:
        return []  # decide() will miss the same key and postpone the command
    except Exception:  # noqa: BLE001 decide() meets it again, and answers for it
        log.warning("a command could not name its keys", method=submission.method)
        return []


def _merge(touches: Iterable[Touch]) -> dict[LockRank, tuple[Kind[Any, Any], dict[Any, Mode]]]:
    """Touches by kind, each key with its strongest mode."""
    merged: dict[LockRank, tuple[Kind[Any, Any], dict[Any, Mode]]] = {}
    for touch in touches:
        modes = merged.setdefault(touch.kind.rank, (touch.kind, {}))[1]
        modes[touch.key] = max(touch.mode, modes.get(touch.key, touch.mode))
    return merged


def _keys(modes: Mapping[Any, Mode], *, is_rehearsal: bool) -> Keys[Any]:
    """The keys of one kind as they are asked of the database; a rehearsal reads where it would lock.

    One statement locks in one strength. So that all keys of a kind are locked in one order, those to be
    shared are locked for change wherever others of the kind are.
    """
    asked = {key: mode for key, mode in modes.items() if mode is not Mode.FRESH}
    if is_rehearsal:
        asked = dict.fromkeys(asked, Mode.READ)
    elif any(mode > Mode.SHARE for mode in asked.values()):
        asked = {k: Mode.CHANGE if mode is Mode.SHARE else mode for k, mode in asked.items()}
    return Keys(sorted(asked.items()))
