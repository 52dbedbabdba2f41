"""One batch of commands as one transaction of the database: claim, load, decide, write.

The order of the steps is what keeps the promises; docs/adr/0002 tells why each stands where it does.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any
from uuid import uuid4

import structlog

from command_service.errors import Failure, Internal, Refusal, RequestIdReused
from command_service.submission import SUCCESS, Answer, Submission
from command_service.unit_of_work import (
    Changed,
    Claimed,
    Found,
    Keys,
    Named,
    NewAnswer,
    Told,
    UnitOfWork,
    Work,
)
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
from event_log.events import Event

log = structlog.get_logger(__name__)

NEED_COUNT_MAX = 5_000
"""Keys that the commands of a batch may need beyond those that they name themselves.

How many lines a cart or an order has is known only once it is loaded: 200 orders of 500 lines would
take longer than transaction_timeout. As many as 200 new orders of 8 lines, or 10 cancelled ones of 500:
half a second, and still within the time on a machine that is six times as slow. Four times as many
were no faster in all.
"""


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
    encoded: Sequence[Any] = ()


class Transaction:
    """Carries out one batch. Made anew for each; `run` may raise any DatabaseFailure.

    is_hasty: it waits for no lock for long.
    """

    def __init__(self, unit: UnitOfWork, *, is_hasty: bool = False) -> None:
        self._unit = unit
        self._is_hasty = is_hasty
        self._world = World()
        self._outcome = Outcome()
        self._decided: list[_Decided] = []
        self._creatable: list[tuple[Kind[Any, Any], list[Any]]] = []

    async def run(self, submissions: Sequence[Submission]) -> Outcome:
        """Claims, loads, decides, writes and commits.

        Raises:
            DatabaseFailure: nothing can be said about any of the commands.
        """
        live = await self._claim(submissions)
        if not live:
            await self._unit.end()
            return self._outcome
        now, ready = await self._load(live)
        self._decide_all(ready, now)
        self._outcome.postponed.extend(live[len(ready) :])
        if not self._decided:
            await self._unit.roll_back()
            return self._outcome
        token = await self._unit.write(self._work(now))
        for done in self._decided:
            self._outcome.answers.append((done.submission, Answer(done.code, done.body, token)))
        return self._outcome

    async def rehearse(self, submission: Submission) -> Answer:
        """Decides on a snapshot, without locks, ids or effects: what validate_only asks for.

        Raises:
            Failure: what the command itself would be answered with, if that is not stored.
        """
        try:
            await self._unit.begin_rehearsal()
            now, _ = await self._load([submission], is_rehearsal=True)
            end = await self._unit.log_end()
        finally:
            await self._unit.roll_back()
        self._decide_all([submission], now)
        if self._outcome.failures:
            raise self._outcome.failures[0][1]
        if not self._decided:
            raise NotLoadedError("a command names all that it needs from a snapshot")
        return Answer(self._decided[0].code, self._decided[0].body, end)

    # --- claim ---------------------------------------------------------------------------------

    async def _claim(self, submissions: Sequence[Submission]) -> list[Submission]:
        ids = [submission.request_id for submission in submissions]
        claimed = await self._unit.claim(ids, is_hasty=self._is_hasty)
        return [submission for submission in submissions if self._is_live(submission, claimed)]

    def _is_live(self, submission: Submission, claimed: Claimed) -> bool:
        known = claimed.known.get(submission.request_id)
        if known is None and submission.request_id in claimed.ids:
            return True
        if known is None:
            self._outcome.in_flight_elsewhere.append(submission)
        elif submission.is_same_request(known.method, known.fingerprint):
            self._outcome.answers.append((submission, known.answer))
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
        named_roots = self._keys_by_kind(roots, is_rehearsal=is_rehearsal)
        self._add(named_roots, await self._unit.load(named_roots))
        needed, ready_count = self._needed(submissions)
        assert all(t.kind.rank >= FIRST_DEPENDENT_RANK for t in needed), "needs() names dependents"
        dependents = needed + [t for t in named if t.kind.rank >= FIRST_DEPENDENT_RANK]
        named_last = self._keys_by_kind(dependents, is_rehearsal=is_rehearsal)
        found, now = await self._unit.load_last(named_last)
        self._add(named_last, found)
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

    def _keys_by_kind(self, touches: Iterable[Touch], *, is_rehearsal: bool) -> list[Named]:
        """What to load of each kind, in lock order; all that is touched counts as absent until then."""
        named: list[Named] = []
        for _, (kind, modes) in sorted(_merge(touches).items()):
            unlocked = [key for key, mode in modes.items() if mode is Mode.READ]
            self._world.load(kind, dict.fromkeys(modes), unlocked=unlocked)
            keys = _keys(modes, is_rehearsal=is_rehearsal)
            if keys.modes:
                named.append((kind, keys))
                self._creatable.append((kind, keys.created))
        return named

    def _add(self, named: Sequence[Named], found: Sequence[Found]) -> None:
        for (kind, _), aggregates in zip(named, found, strict=True):
            self._world.load(kind, aggregates)

    # --- decide --------------------------------------------------------------------------------

    def _decide_all(self, submissions: Iterable[Submission], now: datetime) -> None:
        for submission in submissions:
            try:
                self._decide(submission, now)
            except NotLoadedError as error:
                self._postpone(submission, error)
            except Refusal as refusal:
                body = self._unit.encode_failure(refusal)
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
        encoded = [self._unit.encode_event(event) for event in decision.events]
        self._world.apply(decision.changes)
        self._decided.append(_Decided(submission, SUCCESS, body, decision.events, encoded))

    # --- write ---------------------------------------------------------------------------------

    def _work(self, now: datetime) -> Work:
        return Work(
            now,
            changed=[
                (kind, [Changed(key, before, after) for key, before, after in rows])
                for kind, rows in self._world.changed()
            ],
            not_created=[(kind, self._absent(kind, keys)) for kind, keys in self._creatable],
            events=[
                Told(event, encoded, done.submission.actor, done.submission.request_id)
                for done in self._decided
                for event, encoded in zip(done.events, done.encoded, strict=True)
            ],
            answers=[_new_answer(done) for done in self._decided],
        )

    def _absent(self, kind: Kind[Any, Any], keys: Iterable[Any]) -> list[Any]:
        return [key for key in keys if self._world.never_was(kind, key)]


def _new_answer(done: _Decided) -> NewAnswer:
    request = done.submission
    return NewAnswer(request.request_id, request.method, request.fingerprint, done.code, done.body)


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
    for kind, key, mode in touches:
        found = merged.get(kind.rank)
        if found is None:
            found = merged[kind.rank] = (kind, {})
        modes = found[1]
        known = modes.get(key)
        if known is None or mode > known:
            modes[key] = mode
    return merged


def _keys(modes: Mapping[Any, Mode], *, is_rehearsal: bool) -> Keys[Any]:
    """The keys of one kind as they are asked of the database; a rehearsal reads where it would lock.

    One statement locks in one strength. So that all keys of a kind are locked in one order, those to be
    shared are locked for change wherever others of the kind are.
    """
    asked = [(key, modes[key]) for key in sorted(modes) if modes[key] is not Mode.FRESH]
    if is_rehearsal:
        asked = [(key, Mode.READ) for key, _ in asked]
    elif max(modes.values()) > Mode.SHARE:
        asked = [(key, Mode.CHANGE if mode is Mode.SHARE else mode) for key, mode in asked]
    return Keys(asked)
