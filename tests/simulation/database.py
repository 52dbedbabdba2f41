"""A database in memory that honours what group commit rests on; docs/adr/0014 lists it.

Rows are whole aggregates, which are immutable, so a commit is a few assignments. What is modelled is
what transactions can do to each other: locks and their queues, uncommitted rows, what a statement sees,
what is refused. The suite in contract/ asks the same questions of it and of PostgreSQL.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from command_service.database_failures import (
    DatabaseFailure,
    Interrupted,
    LockedOut,
    TookTooLong,
    Unacceptable,
)
from command_service.storage import KEY_TABLES
from command_service.submission import Answer
from command_service.unit_of_work import Claimed, Keys, Known, Named, NewAnswer, Told, Work
from command_service.world import Kind, LockRank, Mode
from event_log.tokens import ConsistencyToken
from tests.simulation.constraints import UNIQUE, written
from tests.simulation.joins import active_locations, is_empty_location, with_active_locations
from tests.simulation.loop import SimulatedLoop

LOCK_SECONDS_MAX = 2.0
TRANSACTION_SECONDS_MAX = 5.0
"""As command_service.session sets them."""

STEP_SECONDS_MAX = 0.01
"""That others may have between two locks of one statement."""

OPENING = datetime(2010, 12, 1, 8, 0, tzinfo=UTC)
INCARNATION = "4cf60000"

Place = tuple[LockRank, Any]
"""A row: its kind and key."""

UNLOCKED_KINDS = frozenset(
    {
        LockRank.ORDER_PAYMENTS,
        LockRank.COUPON_CUSTOMER,
        LockRank.STOCK_DRIFT,
        LockRank.PRICE_BOOK,
    }
)
"""Kinds that loading never locks: another's lock guards them, or they are only read."""

JOINED_KINDS = frozenset({LockRank.LOCATION, LockRank.STOCK})
"""Kinds that are read along with something of another table."""

KEY_ROW_KINDS = frozenset(KEY_TABLES)

INSERTED_KINDS = frozenset({LockRank.ORDER, LockRank.RESERVATION})
"""Kinds whose fresh keys are inserted, where another row of the key is a violation of its table."""


class KeyRow:
    """A row that is there only to be locked."""


KEY_ROW = KeyRow()


class Logged(NamedTuple):
    """An event in the log."""

    position: int
    told: Told
    now: datetime


class Lock:
    """Who holds a row, and who waits for it, first come first served."""

    __slots__ = ("owner", "queue", "sharers")

    def __init__(self) -> None:
        self.owner: Txn | None = None
        self.sharers: list[Txn] = []
        self.queue: list[tuple[Txn, bool, asyncio.Future[None]]] = []

    def admits(self, *, is_exclusive: bool) -> bool:
        return self.owner is None and not (is_exclusive and self.sharers)

    def take(self, txn: "Txn", *, is_exclusive: bool) -> None:
        if is_exclusive:
            self.owner = txn
        else:
            self.sharers.append(txn)

    def blockers(self, txn: "Txn") -> list["Txn"]:
        ahead = []
        for waiting, _, _ in self.queue:
            if waiting is txn:
                break
            ahead.append(waiting)
        holders = self.sharers if self.owner is None else [self.owner, *self.sharers]
        return [*holders, *ahead]


@dataclass(slots=True, eq=False)
class Txn:
    """A transaction, as the server sees it."""

    name: str
    begun: float
    lock_seconds_max: float = LOCK_SECONDS_MAX
    held: list[Place | str] = field(default_factory=list)
    own: set[Place | str] = field(default_factory=set)
    """Places that are locked for change, or made, by it."""
    made: list[Place] = field(default_factory=list)
    taken_back: set[Place] = field(default_factory=set)
    ids: list[UUID] = field(default_factory=list)
    unique: list[tuple[Any, ...]] = field(default_factory=list)
    writes: dict[Place, Any] = field(default_factory=dict)
    events: list[Logged] = field(default_factory=list)
    answers: list[tuple[UUID, Known]] = field(default_factory=list)
    unlocked: dict[Place, Any] = field(default_factory=dict)
    """What it has read without a lock, or found absent, which is not locked either."""
    is_active: Mapping[str, bool] = field(default_factory=dict)
    """Of each location, as it was read with the stock there."""
    changes_locations: bool = False
    waits_for: "Lock | Txn | None" = None
    waiting: asyncio.Future[None] | None = None
    end_waiters: list[tuple["Txn", asyncio.Future[None]]] = field(default_factory=list)
    is_over: bool = False

    def has(self, place: Place) -> bool:
        return place in self.own or place in self.held


class Committed(NamedTuple):
    """A commit with answers, in their order; now: the time of its decisions. For the rest see Txn."""

    now: datetime
    answers: list[tuple[UUID, Known]]
    unlocked: dict[Place, Any]
    is_active: Mapping[str, bool]


class Violation(Exception):
    """Something happened that must never happen."""


class Database:
    """The server: committed rows, locks, the log, and the statements of each step of a batch."""

    def __init__(self, loop: SimulatedLoop, rows: dict[Place, Any]) -> None:
        self.loop = loop
        self.rows = rows
        self.requests: dict[UUID, Known] = {}
        self.log: list[Logged] = []
        self.locks: dict[Place | str, Lock] = {}
        self.making: dict[Place, Txn] = {}
        self.ids: dict[UUID, Txn] = {}
        self.unique: dict[tuple[Any, ...], Any] = {}
        self.worker_locks: dict[int, object] = {}
        self.open: dict[Txn, None] = {}
        self.violations: list[str] = []
        self.trace: list[tuple[Any, ...]] = []
        self.clock_offset = timedelta()
        self.commit_count = 0
        self.history: list[Committed] = []
        self.is_active: Mapping[str, bool] = {}
        """Of each location, once one was changed; until then all are open."""
        self.wait_count = 0
        self.step_rate = 0.0
        """How often others come in between two locks of one statement, from 0 to 1."""

    @property
    def now(self) -> datetime:
        return OPENING + self.clock_offset + timedelta(seconds=self.loop.time())

    @property
    def last_position(self) -> int:
        return self.log[-1].position if self.log else 0

    # --- transactions ------------------------------------------------------------------------------

    def begin(self, name: str) -> Txn:
        txn = Txn(name, self.loop.time())
        self.open[txn] = None
        return txn

    def abort(self, txn: Txn, why: DatabaseFailure | None = None) -> None:
        """Undoes it; a statement of it that still waits is ended."""
        if txn.is_over:
            return
        for key in txn.unique:
            self.unique.pop(key, None)
        self._end(txn)
        if txn.waiting is not None and not txn.waiting.done():
            txn.waiting.set_exception(why or Interrupted("terminated", code="57"))

    def commit(self, txn: Txn) -> None:
        """Makes it visible, and only then lets go of its locks."""
        assert not txn.is_over, "who is ended commits nothing"
        rows = self.rows
        for place in txn.made:
            if place not in txn.taken_back:
                rows[place] = KEY_ROW
        rows.update(txn.writes)
        for place in txn.taken_back:
            # Whoever writes a row is the one who made it, as far as `take_back_rows` can see.
            if txn.writes.get(place) is KEY_ROW:
                del rows[place]
        if txn.changes_locations:
            self.is_active = active_locations(rows)
        for logged in txn.events:
            if logged.position != self.last_position + 1:
                self.violations.append(
                    f"position {logged.position} is committed after {self.last_position}"
                )
            self.log.append(logged)
        self.requests.update(txn.answers)
        self.commit_count += 1
        self.trace.append(
            ("commit", self.loop.time(), txn.name, [id_ for id_, _ in txn.answers], len(txn.events))
        )
        self._end(txn)

    def _end(self, txn: Txn) -> None:
        txn.is_over = True
        self.open.pop(txn, None)
        for place in txn.made:
            if self.making.get(place) is txn:
                del self.making[place]
        for id_ in txn.ids:
            del self.ids[id_]
        for held in txn.held:
            self.release(txn, held)
        for waiting, future in txn.end_waiters:
            if not future.done():
                waiting.waits_for = None
                future.set_result(None)

    # --- waiting -----------------------------------------------------------------------------------

    async def acquire(self, txn: Txn, place: Place | str, *, is_exclusive: bool) -> None:
        """Locks a row, or the log; waits for its turn."""
        lock = self.locks.get(place)
        if lock is None:
            lock = self.locks[place] = Lock()
        if not lock.queue and lock.admits(is_exclusive=is_exclusive):
            self._take(lock, txn, place, is_exclusive=is_exclusive)
            return
        future = self.loop.create_future()
        entry = (txn, is_exclusive, future)
        lock.queue.append(entry)
        try:
            await self._wait(txn, lock, future)
        finally:
            if entry in lock.queue:
                lock.queue.remove(entry)
                self._grant(lock, place)

    def _take(self, lock: Lock, txn: Txn, place: Place | str, *, is_exclusive: bool) -> None:
        lock.take(txn, is_exclusive=is_exclusive)
        txn.held.append(place)
        if is_exclusive:
            txn.own.add(place)

    def release(self, txn: Txn, place: Place | str) -> None:
        """Lets go of a lock before its transaction ends: only a mutant does."""
        lock = self.locks.get(place)
        if lock is None:
            return
        if lock.owner is txn:
            lock.owner = None
        elif txn in lock.sharers:
            lock.sharers.remove(txn)
        self._grant(lock, place)

    def _grant(self, lock: Lock, place: Place | str) -> None:
        """Gives the lock to whoever is next. It is theirs at once, also if they end before they wake."""
        while lock.queue:
            txn, is_exclusive, future = lock.queue[0]
            if not lock.admits(is_exclusive=is_exclusive):
                return
            lock.queue.pop(0)
            if not future.done():
                self._take(lock, txn, place, is_exclusive=is_exclusive)
                txn.waits_for = None
                future.set_result(None)
        if lock.owner is None and not lock.sharers:
            self.locks.pop(place, None)

    async def _wait(self, txn: Txn, cause: "Lock | Txn", future: asyncio.Future[None]) -> None:
        self.wait_count += 1
        txn.waits_for, txn.waiting = cause, future
        if self._is_deadlocked(txn):
            self.violations.append(f"deadlock of {txn.name}")
            txn.waits_for = txn.waiting = None
            raise Interrupted("deadlock detected", code="40")
        remaining = txn.begun + TRANSACTION_SECONDS_MAX - self.loop.time()
        is_last = remaining < txn.lock_seconds_max
        failure: DatabaseFailure = (
            TookTooLong("transaction timeout", code="25")
            if is_last
            else LockedOut("lock timeout", code="55")
        )
        timer = self.loop.call_later(min(remaining, txn.lock_seconds_max), _fail, future, failure)
        try:
            await future
        finally:
            timer.cancel()
            txn.waits_for = txn.waiting = None
        _check_is_open(txn)

    def _is_deadlocked(self, txn: Txn) -> bool:
        seen: set[int] = set()
        stack = [txn]
        while stack:
            waiting = stack.pop()
            cause = waiting.waits_for
            if cause is None:
                continue
            for other in cause.blockers(waiting) if isinstance(cause, Lock) else [cause]:
                if other is txn:
                    return True
                if id(other) not in seen:
                    seen.add(id(other))
                    stack.append(other)
        return False

    async def _end_of(self, txn: Txn, other: Txn) -> None:
        future = self.loop.create_future()
        other.end_waiters.append((txn, future))
        await self._wait(txn, other, future)

    # --- claim -------------------------------------------------------------------------------------

    def claim(self, txn: Txn, request_ids: Sequence[UUID]) -> Claimed:
        """Two statements, neither of which waits."""
        claimed = self.take_ids(txn, request_ids)
        found = ((id_, self.requests.get(id_)) for id_ in request_ids)
        return Claimed(claimed, {id_: known for id_, known in found if known is not None})

    def take_ids(self, txn: Txn, request_ids: Iterable[UUID]) -> set[UUID]:
        claimed = set()
        for id_ in request_ids:
            if self.ids.setdefault(id_, txn) is txn:
                txn.ids.append(id_)
                claimed.add(id_)
        return claimed

    # --- load --------------------------------------------------------------------------------------

    async def load(self, txn: Txn, named: Sequence[Named]) -> list[dict[Any, Any]]:
        """Kind by kind: make, lock, read."""
        found = []
        for kind, keys in named:
            rank = kind.rank
            if rank not in UNLOCKED_KINDS:
                for key in keys.created:
                    await self.make(txn, (rank, key))
                await self.lock_rows(txn, rank, keys)
            of_kind = read(self.rows, rank, keys)
            found.append(of_kind)
            self._note_what_is_unlocked(txn, rank, keys, of_kind)
            if rank in JOINED_KINDS:
                self._join(txn, rank, keys, of_kind)
        return found

    def _note_what_is_unlocked(
        self, txn: Txn, rank: LockRank, keys: Keys[Any], found: dict[Any, Any]
    ) -> None:
        """What came to be after its lock was asked for is not locked, and so is not there."""
        for key, mode in keys.modes:
            if mode is Mode.READ or rank is LockRank.PRICE_BOOK:
                txn.unlocked[rank, key] = found[key]
            elif rank not in UNLOCKED_KINDS and not txn.has((rank, key)):
                found[key] = txn.unlocked[rank, key] = None

    def _join(self, txn: Txn, rank: LockRank, keys: Keys[Any], found: dict[Any, Any]) -> None:
        """What is read of other tables along with a row, without their locks."""
        if rank is LockRank.STOCK:
            txn.is_active = self.is_active
            if self.is_active:
                for key, stock in found.items():
                    found[key] = with_active_locations(stock, self.is_active)
            return
        for key, mode in keys.modes:
            location = found[key]
            if location is not None:
                is_empty = mode is not Mode.SHARE and is_empty_location(self.rows, key)
                if location.is_empty is not is_empty:
                    found[key] = replace(location, is_empty=is_empty)
                if mode is not Mode.SHARE:
                    txn.unlocked[rank, key] = found[key]

    async def make(self, txn: Txn, place: Place) -> None:
        """INSERT ... ON CONFLICT DO NOTHING of a key row: waits for whoever is making the same one."""
        while place not in self.rows:
            other = self.making.setdefault(place, txn)
            if other is txn:
                if place not in txn.own:
                    txn.made.append(place)
                    txn.own.add(place)
                return
            await self._end_of(txn, other)

    async def lock_rows(self, txn: Txn, rank: LockRank, keys: Keys[Any]) -> None:
        """Locks the rows that are visible when the statement begins."""
        rows = self.rows
        for is_exclusive, wanted in ((True, keys.locked), (False, keys.shared)):
            for place in [(rank, key) for key in wanted if (rank, key) in rows]:
                if place not in txn.own:
                    if self.step_rate and self.loop.chance() < self.step_rate:
                        await self.loop.pause(self.loop.chance() * STEP_SECONDS_MAX)
                        _check_is_open(txn)
                    await self.acquire(txn, place, is_exclusive=is_exclusive)

    # --- write -------------------------------------------------------------------------------------

    async def write(self, txn: Txn, work: Work) -> ConsistencyToken:
        """Rows, key rows taken back, the log under its lock, the answers; then COMMIT."""
        for kind, changed in work.changed:
            for key, before, after in changed:
                await self.write_row(txn, kind, key, before, after)
        for kind, keys in work.not_created:
            txn.taken_back.update((kind.rank, key) for key in keys)
        if work.events:
            await self.append(txn, work)
        self._store_answers(txn, work.answers)
        self.commit(txn)
        self.history.append(Committed(work.now, txn.answers, txn.unlocked, txn.is_active))
        return ConsistencyToken(INCARNATION, self.last_position)

    async def write_row(self, txn: Txn, kind: Kind[Any, Any], key: Any, before: Any, after: Any) -> None:
        """Locks the row, which an UPDATE does by itself, and writes it as its table allows."""
        place = (kind.rank, key)
        if place not in txn.own:
            if before is None and kind.rank in INSERTED_KINDS and place in self.rows:
                raise Unacceptable(f"duplicate key {place}", code="23")
            await self.make(txn, place)
            if place not in txn.own:
                await self.acquire(txn, place, is_exclusive=True)
        if kind.rank is LockRank.LOCATION:
            txn.changes_locations = True
        if after is None:
            txn.writes[place] = KEY_ROW
            return
        stored = self.rows.get(place)
        txn.writes[place] = written(kind.rank, stored if stored is not KEY_ROW else None, before, after)
        if kind.rank in UNIQUE:
            for unique in UNIQUE[kind.rank](after):
                await self._keep_unique(txn, (kind.rank, *unique), key)

    async def _keep_unique(self, txn: Txn, value: tuple[Any, ...], key: Any) -> None:
        while True:
            holder = self.unique.get(value)
            if holder is None:
                self.unique[value] = (key, txn)
                txn.unique.append(value)
                return
            other_key, other = holder
            if other_key == key:
                return
            if other.is_over:
                raise Unacceptable(f"duplicate {value}", code="23")
            await self._end_of(txn, other)

    async def append(self, txn: Txn, work: Work) -> None:
        """Takes the log lock, alone in its statement, and draws positions in a later one."""
        txn.lock_seconds_max = LOCK_SECONDS_MAX
        await self.acquire(txn, "log", is_exclusive=True)
        self.draw_positions(txn, work)

    def draw_positions(self, txn: Txn, work: Work) -> None:
        position = self.last_position
        for told in work.events:
            position += 1
            txn.events.append(Logged(position, told, work.now))

    def _store_answers(self, txn: Txn, answers: Sequence[NewAnswer]) -> None:
        end = ConsistencyToken(
            INCARNATION, txn.events[-1].position if txn.events else self.last_position
        )
        for request_id, method, fingerprint, code, body in answers:
            if request_id in self.requests:
                raise Unacceptable(f"duplicate request {request_id}", code="23")
            txn.answers.append((request_id, Known(method, fingerprint, Answer(code, body, end))))


def _check_is_open(txn: Txn) -> None:
    """Ends a statement whose session was ended while it was not looking."""
    if txn.is_over:
        raise Interrupted("the server ended the session", code="57")


def _fail(future: asyncio.Future[None], failure: DatabaseFailure) -> None:
    if not future.done():
        future.set_exception(failure)


def read(rows: Mapping[Place, Any], rank: LockRank, keys: Keys[Any]) -> dict[Any, Any]:
    """What is there; a key row is nothing."""
    found = {}
    for key, _ in keys.modes:
        row = rows.get((rank, key))
        found[key] = None if row is KEY_ROW else row
    return found
