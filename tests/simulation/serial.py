"""Carried out once more, one after another in the order of the commits, the commands do the same.

That is what locks, batches and retries have to add up to, whatever the invariants of the shop are. What
a command read without a lock it is given as it read it: that may be older by a moment.

To do the same is to give the same answer, or refusal, to tell of the same events, and to leave the same
rows. That the log has just these events verdicts.py sees to.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from command_service.errors import Refusal
from command_service.world import Change, Command, Kind, LockRank, World
from tests.simulation.database import Committed, Database, Place
from tests.simulation.joins import with_active_locations
from tests.simulation.verdicts import Asked, Read, Verdict, decided, differing_rows, refused


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

    def shows(self, reads: Iterable[Read]) -> bool:
        """Whether all of it would be read here too."""
        for kind, key, row in reads:
            here = self.get(kind, key)
            if here is not row and here != row:
                return False
        return True

    def apply(self, changes: Iterable[Change]) -> None:
        for change in changes:
            place = (change.kind.rank, change.key)
            self._unlocked_rows.pop(place, None)
            self._rows[place] = change.after


def broken_serially(
    database: Database,
    first_rows: Mapping[Place, Any],
    asked: Mapping[UUID, Asked],
    *,
    decides_all: bool,
) -> Iterator[str]:
    """Where the history differs from one without any concurrency.

    decides_all: again also what would read by itself just what it has read, and so decides the same if
    it is pure.
    """
    rows = dict(first_rows)
    for commit in database.history:
        world = OpenWorld(rows, commit)
        for request_id, _ in commit.answers:
            request = asked[request_id]
            verdict = request.verdicts.get(commit.now)
            if verdict is None or decides_all or not world.shows(verdict.reads):
                by_itself = _by_itself(request.command, world, commit.now)
                if verdict is None or verdict[:3] != by_itself[:3]:
                    yield f"{request.command} at {commit.now} decides {verdict}, by itself {by_itself}"
                verdict = by_itself
            world.apply(verdict.changes)
    yield from differing_rows(database.rows, rows)


def _by_itself(command: Command[Any], world: World, now: datetime) -> Verdict:
    try:
        return decided(command.decide(world, now))
    except Refusal as refusal:
        return refused(refusal)
