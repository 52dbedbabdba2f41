"""One batch of commands as one PostgreSQL transaction: claim, load, decide, write.

The order of the steps is what keeps the promises; docs/adr/0002 tells why each stands where it does.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID, uuid4

import structlog

from command_service.errors import Failure, Internal, Refusal, RequestIdReused
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
from event_log.appending import APPEND, LAST_POSITION, LOCK_LOG, NOTIFY_CHANNEL
from event_log.codec import encode_event
from event_log.events import Event

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
       last.position, %(now)s::timestamptz
FROM ({LAST_POSITION}) AS last(position),
     unnest(%(ids)s::uuid[], %(methods)s::text[], %(fingerprints)s::bytea[], %(codes)s::int8[],
         %(responses)s::bytea[]) AS row(request_id, method, fingerprint, code, response)
RETURNING position
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

    postponed: their request id is in flight elsewhere, or they need a key that they could not name in
    time; they go into a later batch.
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
    events: Sequence[Event]


@dataclass(frozen=True, slots=True)
class Storage:
    """All that a transaction writes to: the repository of each kind, the ledgers, the refusals' form."""

    repositories: Mapping[LockRank, Repository[Any, Any]]
    ledgers: Sequence[Ledger]
    encode_failure: Callable[[Failure], bytes]


class Transaction:
    """Carries out one batch. Made anew for each; `run` may raise any psycopg error."""

    def __init__(self, session: Session, storage: Storage) -> None:
        self._session = session
        self._storage = storage
        self._world = World()
        self._outcome = Outcome()
        self._decided: list[_Decided] = []

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
        now = await self._load(live)
        self._decide_all(live, now)
        if not self._decided:
            await self._session.roll_back()
            return self._outcome
        position = await self._write(now)
        for done in self._decided:
            self._outcome.answers.append((done.submission, Answer(done.code, done.body, position)))
        return self._outcome

    async def rehearse(self, submission: Submission) -> Answer:
        """Decides on a snapshot, without locks, ids or effects: what validate_only asks for.

        Raises:
            Failure: what the command itself would be answered with, if that is not stored.
        """
        await self._session.run([BEGIN_SNAPSHOT])
        now = await self._load([submission], is_rehearsal=True)
        [[(position,)]] = await self._session.run([Statement(LAST_POSITION)])
        await self._session.roll_back()
        self._decide_all([submission], now)
        if self._outcome.failures:
            raise self._outcome.failures[0][1]
        if not self._decided:
            raise NotLoadedError("a command names all that it needs from a snapshot")
        return Answer(self._decided[0].code, self._decided[0].body, position)

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
            self._outcome.answers.append((submission, Answer(stored[3], stored[4], stored[5])))
        else:
            self._outcome.failures.append((submission, RequestIdReused()))
        return False

    # --- load ----------------------------------------------------------------------------------

    async def _load(self, submissions: Sequence[Submission], *, is_rehearsal: bool = False) -> datetime:
        """Locks and reads all that the batch touches, in lock order; returns the time after that."""
        named = self._named(submissions, lambda s: s.command.touches())
        roots = [touch for touch in named if touch.kind.rank < FIRST_DEPENDENT_RANK]
        await self._load_kinds(_merge(roots, is_rehearsal=is_rehearsal))
        needed = self._named(submissions, lambda s: s.command.needs(self._world))
        assert all(t.kind.rank >= FIRST_DEPENDENT_RANK for t in needed), "needs() names dependents"
        dependents = needed + [t for t in named if t.kind.rank >= FIRST_DEPENDENT_RANK]
        [[(now,)]] = await self._load_kinds(_merge(dependents, is_rehearsal=is_rehearsal), CLOCK)
        moment: datetime = now
        return moment

    def _named(
        self, submissions: Iterable[Submission], name: Callable[[Submission], Iterable[Touch]]
    ) -> list[Touch]:
        touches: list[Touch] = []
        for submission in submissions:
            try:
                touches.extend(name(submission))
            except NotLoadedError:
                continue  # decide() will miss the same key and postpone the command
            except Exception:  # noqa: BLE001 decide() meets it again, and answers for it
                log.warning("a command could not name its keys", method=submission.method)
        return touches

    async def _load_kinds(
        self,
        named: Mapping[LockRank, tuple[Kind[Any, Any], dict[Any, Mode]]],
        *last: Statement,
    ) -> list[list[Row]]:
        plan: list[tuple[Repository[Any, Any], Keys[Any], int]] = []
        statements: list[Statement] = []
        for rank in sorted(named):
            kind, modes = named[rank]
            self._world.load(kind, dict.fromkeys(modes))
            keys = Keys(sorted((k, m) for k, m in modes.items() if m is not Mode.FRESH))
            if keys.modes:
                loads = self._storage.repositories[rank].load(keys)
                plan.append((self._storage.repositories[rank], keys, len(loads)))
                statements.extend(loads)
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
                self._decided.append(_Decided(submission, refusal.code, body, ()))
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
        self._world.apply(decision.changes)
        self._decided.append(_Decided(submission, SUCCESS, body, decision.events))

    # --- write ---------------------------------------------------------------------------------

    async def _write(self, now: datetime) -> int:
        """Everything that can conflict or wait first, then the log lock, then what it guards."""
        saves = list(self._saves())
        appends = self._appends(now)
        results = await self._session.run([*saves, *appends, self._store_answers(now), COMMIT])
        position: int = results[-2][0][0]
        return position

    def _saves(self) -> Iterable[Statement]:
        for kind, rows in self._world.changed():
            yield from self._storage.repositories[kind.rank].save(
                [Changed(key, before, after) for key, before, after in rows]
            )

    def _appends(self, now: datetime) -> list[Statement]:
        sources = [(done.submission, event) for done in self._decided for event in done.events]
        if not sources:
            return []
        encoded = [encode_event(event) for _, event in sources]
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


def _merge(
    touches: Iterable[Touch], *, is_rehearsal: bool
) -> dict[LockRank, tuple[Kind[Any, Any], dict[Any, Mode]]]:
    """Touches by kind, each key with its strongest mode; a rehearsal reads where it would lock."""
    merged: dict[LockRank, tuple[Kind[Any, Any], dict[Any, Mode]]] = {}
    for touch in touches:
        mode = Mode.READ if is_rehearsal and touch.mode > Mode.READ else touch.mode
        modes = merged.setdefault(touch.kind.rank, (touch.kind, {}))[1]
        modes[touch.key] = max(mode, modes.get(touch.key, mode))
    return merged
