"""What a batch asks of the database that it is carried out on: the port below the committer.

Every method is one round trip at most. Any may raise command_service.database_failures.DatabaseFailure.
docs/adr/0014 says what an implementation has to honour; tests/simulation/contract asks it of each.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, NamedTuple, Protocol
from uuid import UUID

from command_service.errors import Failure
from command_service.submission import Answer
from command_service.world import AggregateT, KeyT, Kind, Mode
from event_log.events import Event
from event_log.tokens import ConsistencyToken

HASTE_SECONDS = 0.1
"""How long a hasty transaction waits for a lock: several times what a full batch takes to commit."""


class Changed(NamedTuple, Generic[KeyT, AggregateT]):
    """One aggregate to save: as it was loaded (None: absent) and as it shall be."""

    key: KeyT
    before: AggregateT | None
    after: AggregateT


@dataclass(frozen=True, slots=True)
class Keys(Generic[KeyT]):
    """The keys of one kind that a batch names, each with its strongest mode, in sorted order."""

    modes: Sequence[tuple[KeyT, Mode]]
    all: list[KeyT] = field(init=False)
    """Every key, sorted."""
    read: list[KeyT] = field(init=False)
    """Keys to read without a lock, sorted."""
    shared: list[KeyT] = field(init=False)
    """Keys to lock against change, sorted."""
    locked: list[KeyT] = field(init=False)
    """Keys to lock for change, sorted: those to be created are among them."""
    created: list[KeyT] = field(init=False)
    """Keys that need a key row before they can be locked, sorted."""

    def __post_init__(self) -> None:
        # Sorted out once, in one pass: repositories ask again and again, of thousands of keys.
        keys: list[KeyT] = []
        read: list[KeyT] = []
        shared: list[KeyT] = []
        locked: list[KeyT] = []
        created: list[KeyT] = []
        for key, mode in self.modes:
            keys.append(key)
            if mode is Mode.READ:
                read.append(key)
            elif mode is Mode.SHARE:
                shared.append(key)
            elif mode is not Mode.FRESH:
                locked.append(key)
                if mode is Mode.CREATE:
                    created.append(key)
        place = object.__setattr__
        place(self, "all", keys)
        place(self, "read", read)
        place(self, "shared", shared)
        place(self, "locked", locked)
        place(self, "created", created)


Named = tuple[Kind[Any, Any], Keys[Any]]
"""A kind and the keys of it that a batch names."""

Found = dict[Any, Any]
"""The aggregate of each key of a kind, or None where there is none."""


class Known(NamedTuple):
    """A request that was answered before, and its answer with the log's incarnation of now."""

    method: str
    fingerprint: bytes
    answer: Answer


class Claimed(NamedTuple):
    """ids: those that are ours until the transaction ends. known: those that are answered."""

    ids: Collection[UUID]
    known: Mapping[UUID, Known]


class Told(NamedTuple):
    """An event on its way into the log. encoded: as `encode_event` returned it."""

    event: Event
    encoded: Any
    actor: str
    request_id: UUID


class NewAnswer(NamedTuple):
    """What is kept of a command that was decided."""

    request_id: UUID
    method: str
    fingerprint: bytes
    code: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Work:
    """All that a batch writes. changed: in lock order.

    not_created: the keys of each kind that were named to be created and were not.
    """

    now: datetime
    changed: Sequence[tuple[Kind[Any, Any], Sequence[Changed[Any, Any]]]]
    not_created: Sequence[tuple[Kind[Any, Any], Sequence[Any]]]
    events: Sequence[Told]
    answers: Sequence[NewAnswer]


class UnitOfWork(Protocol):
    """One transaction after another, each READ COMMITTED: claimed, loaded, then written or ended."""

    async def connect(self) -> None:
        """Makes it ready for a transaction, if it is not."""
        ...

    async def claim(self, request_ids: Sequence[UUID], *, is_hasty: bool = False) -> Claimed:
        """Begins, takes those ids that nobody else holds, and reads what was answered.

        Waits for nobody. Who holds an id holds it until the commit is visible, so an id that is ours
        and not known was never answered.

        is_hasty: a lock that the transaction does not have within HASTE_SECONDS is not had in time; but
        for the log's, which everybody holds while they commit.
        """
        ...

    async def load(self, named: Sequence[Named]) -> list[Found]:
        """Locks and reads, kind by kind in the given order, key by key in theirs.

        A key to be created gets a key row first, which waits for anybody's who is making the same one.
        What is read is as new as the lock on it; READ takes none.
        """
        ...

    async def load_last(self, named: Sequence[Named]) -> tuple[list[Found], datetime]:
        """Likewise, and the database's time once all locks are had."""
        ...

    def encode_event(self, event: Event) -> Any:
        """The event as it will be written; what it raises concerns the command that told it."""
        ...

    def encode_failure(self, failure: Failure) -> bytes:
        """The refusal as it will be stored, and sent."""
        ...

    async def write(self, work: Work) -> ConsistencyToken:
        """Writes everything and commits; how far the log then had come, the batch's events included.

        The log is locked last, from before its positions are drawn to the commit, and only if there are
        events.
        """
        ...

    async def end(self) -> None:
        """Ends a transaction that has written nothing."""
        ...

    async def roll_back(self) -> None:
        """Undoes the open transaction, if there is one. Never raises."""
        ...

    async def begin_rehearsal(self) -> None:
        """Begins a transaction that sees one snapshot, in which nothing may be locked or written."""
        ...

    async def log_end(self) -> ConsistencyToken:
        """How far the log had come in the snapshot."""
        ...
