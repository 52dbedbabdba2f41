"""Carried out once more, one after another in the order of the commits, the commands do the same.

That is what locks, batches and retries have to add up to, whatever the invariants of the shop are.
"""

from collections.abc import Iterator, Mapping
from typing import Any
from uuid import UUID

from command_service.cart.domain import Cart
from command_service.errors import Code, Refusal
from command_service.world import Command, Kind, World
from tests.simulation.database import KEY_ROW, Database, Place


class OpenWorld(World):
    """A world in which everything is loaded."""

    def __init__(self, rows: dict[Place, Any]) -> None:
        super().__init__()
        self._rows = rows

    def get(self, kind: Kind[Any, Any], key: Any) -> Any:
        return self._rows.get((kind.rank, key))


def broken_serially(
    database: Database, first_rows: Mapping[Place, Any], commands: Mapping[UUID, Command[Any]]
) -> Iterator[str]:
    """Where the history differs from one without any concurrency."""
    rows = dict(first_rows)
    world = OpenWorld(rows)
    for now, answers in database.history:
        for request_id, known in answers:
            command = commands[request_id]
            if known.answer.code == Code.NOT_FOUND:
                continue  # absence is only locked by who would create: it may be older by a moment
            try:
                decision = command.decide(world, now)
            except Refusal as refusal:
                code = int(refusal.code)
            else:
                code = 0
                rows.update(((c.kind.rank, c.key), c.after) for c in decision.changes)
            if code != known.answer.code:
                yield f"{command} at {now} answers {known.answer.code}, by itself {code}"
    for place, row in database.rows.items():
        by_itself = rows.get(place)
        if row is not by_itself and row is not KEY_ROW and _locked(row) != _locked(by_itself):
            yield f"{place} is {row}, by itself {by_itself}"


def _locked(row: Any) -> Any:
    """What rests on locked rows: a cart's prices look at coupons that others may be using up."""
    if isinstance(row, Cart):
        return row.version, row.state, {key: line.quantity for key, line in row.lines_by_id.items()}
    return row
