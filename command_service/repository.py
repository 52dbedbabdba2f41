"""What the committer asks of each kind's tables: the port that every context's repository fills."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, Protocol

from command_service.session import Row, Statement
from command_service.world import AggregateT, KeyT, Kind, Mode


class Changed(NamedTuple, Generic[KeyT, AggregateT]):
    """One aggregate to save: as it was loaded (None: absent) and as it shall be."""

    key: KeyT
    before: AggregateT | None
    after: AggregateT


@dataclass(frozen=True, slots=True)
class Keys(Generic[KeyT]):
    """The keys of one kind that a batch names, each with its strongest mode, in sorted order."""

    modes: Sequence[tuple[KeyT, Mode]]

    @property
    def all(self) -> list[KeyT]:
        """Every key, sorted."""
        return [key for key, _ in self.modes]

    @property
    def created(self) -> list[KeyT]:
        """Keys that need a key row before they can be locked, sorted."""
        return [key for key, mode in self.modes if mode is Mode.CREATE]

    @property
    def locked(self) -> list[KeyT]:
        """Keys to lock for change, sorted: those to be created are among them."""
        return [key for key, mode in self.modes if mode >= Mode.CHANGE]

    @property
    def shared(self) -> list[KeyT]:
        """Keys to lock against change, sorted."""
        return [key for key, mode in self.modes if mode is Mode.SHARE]


class Repository(Protocol[KeyT, AggregateT]):
    """Rows to aggregates and back, many at a time.

    `load` returns statements that first make key rows (INSERT ... ON CONFLICT DO NOTHING), then lock
    (SELECT ... ORDER BY key FOR NO KEY UPDATE, or FOR KEY SHARE for shared keys), and read in later
    statements, so that what they read is as new as the lock. `assemble` gets the rows of each of them.
    """

    @property
    def kind(self) -> Kind[KeyT, AggregateT]:
        """The kind that it keeps."""
        ...

    def load(self, keys: Keys[KeyT]) -> list[Statement]:
        """Statements that lock and read the keys; without locks when all modes are READ."""
        ...

    def assemble(self, keys: Keys[KeyT], results: Sequence[Sequence[Row]]) -> dict[KeyT, Any]:
        """The aggregate of each key, or None where there is none."""
        ...

    def save(self, changed: Sequence[Changed[KeyT, AggregateT]]) -> list[Statement]:
        """Statements that write the changed aggregates, set-based."""
        ...
