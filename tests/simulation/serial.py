"""Carried out once more, one after another in the order of the commits, the commands do the same.

That is what locks, batches and retries have to add up to, whatever the invariants of the shop are. What
a command read without a lock it is given as it read it: that may be older by a moment.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any
from uuid import UUID

from command_service.errors import Refusal
from command_service.inventory.domain import Location, Stock
from command_service.world import Change, Command, Kind, LockRank, World
from tests.simulation.database import KEY_ROW, Committed, Database, Place
from tests.simulation.joins import with_active_locations


class OpenWorld(World):
    """A world in which everything is loaded: what a commit read unlocked as it was read."""

    def __init__(self, rows: dict[Place, Any], commit: Committed) -> None:
        super().__init__()
        self._rows = rows
        self._unlocked_rows = dict(commit.unlocked)
        self._is_active = commit.is_active

    def get(self, kind: Kind[Any, Any], key: Any) -> Any:
        place = (kind.rank, key)
        if place in self._unlocked_rows:
            return self._unlocked_rows[place]
        row = self._rows.get(place)
        if self._is_active and kind.rank is LockRank.STOCK:
            return with_active_locations(row, self._is_active)
        return row

    def apply(self, changes: Iterable[Change]) -> None:
        for change in changes:
            place = (change.kind.rank, change.key)
            self._unlocked_rows.pop(place, None)
            self._rows[place] = change.after


def broken_serially(
    database: Database, first_rows: Mapping[Place, Any], commands: Mapping[UUID, Command[Any]]
) -> Iterator[str]:
    """Where the history differs from one without any concurrency."""
    rows = dict(first_rows)
    for commit in database.history:
        world = OpenWorld(rows, commit)
        for request_id, known in commit.answers:
            command = commands[request_id]
            try:
                decision = command.decide(world, commit.now)
            except Refusal as refusal:
                code = int(refusal.code)
            else:
                code = 0
                world.apply(decision.changes)
            if code != known.answer.code:
                yield f"{command} at {commit.now} answers {known.answer.code}, by itself {code}"
    for place, row in database.rows.items():
        by_itself = rows.get(place)
        if row is not by_itself and row is not KEY_ROW and _stored(row) != _stored(by_itself):
            yield f"{place} is {row}, by itself {by_itself}"


def _stored(row: Any) -> Any:
    """What is stored of it: not what is read along with it."""
    if isinstance(row, Location):
        return replace(row, is_empty=False)
    if isinstance(row, Stock):
        return with_active_locations(row, {level.location_id: True for level in row.levels})
    return row
