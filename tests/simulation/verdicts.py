"""What was decided and committed is what is there: each event and each row, no other, and none twice.

Commands are watched as they decide, so this compares what went into a commit with what came of it, and
decides nothing again: it is cheap enough for every seed. Whether it was decided right, serial.py judges.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from itertools import zip_longest
from typing import Any, NamedTuple
from uuid import UUID

from command_service.errors import Refusal
from command_service.inventory.domain import Location, Stock
from command_service.world import Change, Command, Decision, Kind, World
from event_log.events import Event
from tests.simulation.database import KEY_ROW, Database, Place
from tests.simulation.joins import with_active_locations

Read = tuple[Kind[Any, Any], Any, Any]
"""A kind, a key of it, and the aggregate that a command was shown."""


class Verdict(NamedTuple):
    """What a command decided, and on what. answer: of a refusal, its name and facts."""

    code: int
    answer: Any
    events: Sequence[Event]
    changes: Sequence[Change]
    reads: Sequence[Read] = ()


def decided(decision: Decision[Any], reads: Sequence[Read] = ()) -> Verdict:
    return Verdict(0, decision.answer, decision.events, decision.changes, reads)


def refused(refusal: Refusal, reads: Sequence[Read] = ()) -> Verdict:
    return Verdict(int(refusal.code), (type(refusal).__name__, refusal.facts), (), (), reads)


class WatchedWorld(World):
    """A world in the place of which it stands, and all that was read of it."""

    __slots__ = ("_world", "reads")

    def __init__(self, world: World) -> None:
        self._world = world
        self.reads: list[Read] = []

    def get(self, kind: Kind[Any, Any], key: Any) -> Any:
        row = self._world.get(kind, key)
        self.reads.append((kind, key, row))
        return row


class Watched:
    """A command in the place of which it stands, and each verdict of it by the time of its batch."""

    __slots__ = ("_decide", "_verdicts", "is_bulk", "needs", "row_count", "touches")

    def __init__(self, command: Command[Any], verdicts: dict[datetime, Verdict]) -> None:
        self._verdicts = verdicts
        self._decide = command.decide
        self.is_bulk = command.is_bulk
        self.row_count = command.row_count
        self.touches = command.touches
        self.needs = command.needs

    def decide(self, world: World, now: datetime) -> Any:
        watched = WatchedWorld(world)
        try:
            decision = self._decide(watched, now)
        except Refusal as refusal:
            self._verdicts[now] = refused(refusal, watched.reads)
            raise
        self._verdicts[now] = decided(decision, watched.reads)
        return decision


class Asked:
    """What was asked under a request id, by whom, and what was decided of it: committed or not."""

    __slots__ = ("actor", "command", "verdicts")

    def __init__(self, command: Command[Any], actor: str) -> None:
        self.command = command
        self.actor = actor
        self.verdicts: dict[datetime, Verdict] = {}


class Line(NamedTuple):
    """What the log has of an event, but for its position."""

    event: Event
    actor: str
    request_id: UUID
    now: datetime


def broken_by_verdicts(
    database: Database, first_rows: Mapping[Place, Any], asked: Mapping[UUID, Asked]
) -> Iterator[str]:
    """Where what is there is not what was decided, commit by commit."""
    rows, lines = dict(first_rows), list[Line]()
    for commit in database.history:
        for request_id, known in commit.answers:
            request = asked[request_id]
            verdict = request.verdicts.get(commit.now)
            if verdict is None or verdict.code != known.answer.code:
                yield f"{request.command} is answered {known.answer}, and decided was {verdict}"
                continue
            for event in verdict.events:
                lines.append(Line(event, request.actor, request_id, commit.now))
            for change in verdict.changes:
                rows[change.kind.rank, change.key] = change.after
    yield from _differing_lines(database, lines)
    yield from differing_rows(database.rows, rows)


def _differing_lines(database: Database, decided: Sequence[Line]) -> Iterator[str]:
    """The first of them: whatever comes after it stands elsewhere."""
    logged = [Line(told.event, told.actor, told.request_id, now) for _, told, now in database.log]
    if logged != decided:
        for position, (is_there, should_be) in enumerate(zip_longest(logged, decided), start=1):
            if is_there != should_be:
                yield f"position {position} is {is_there}, and decided was {should_be}"
                return


def differing_rows(rows: Mapping[Place, Any], decided: Mapping[Place, Any]) -> Iterator[str]:
    """Rows of the one that are not in the other, or not the same there."""
    for place in {**decided, **rows}:
        row, should_be = rows.get(place), decided.get(place)
        if row is not should_be and row != should_be and _stored(row) != _stored(should_be):
            yield f"{place} is {row}, and decided was {should_be}"


def _stored(row: Any) -> Any:
    """What is stored of it: not what is read along with it."""
    if isinstance(row, Location):
        return replace(row, is_empty=False)
    if isinstance(row, Stock):
        return with_active_locations(row, {level.location_id: True for level in row.levels})
    return None if row is KEY_ROW else row
