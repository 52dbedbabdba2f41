"""What a batch on PostgreSQL asks of each kind's tables: every context's repository answers it."""

from collections.abc import Sequence
from typing import Any, Protocol

from command_service.pipeline import Row, Statement
from command_service.unit_of_work import Changed, Keys
from command_service.world import AggregateT, KeyT, Kind


class Repository(Protocol[KeyT, AggregateT]):
    """Rows to aggregates and back, many at a time.

    `load` returns statements that first make key rows (INSERT ... ON CONFLICT DO NOTHING), then lock
    (SELECT ... ORDER BY key FOR NO KEY UPDATE, or FOR SHARE for shared keys), and read in later
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
