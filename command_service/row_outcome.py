"""What became of one row of a bulk command: rows are decided one by one."""

from dataclasses import dataclass
from enum import IntEnum

from command_service.errors import Refusal


class RowState(IntEnum):
    """What happened to a row; numbers as in row_outcome.proto."""

    CREATED = 1
    UPDATED = 2
    UNCHANGED = 3
    REFUSED = 4


@dataclass(frozen=True, slots=True)
class RowOutcome:
    """What became of the row at `index` of a request, which names `key`; fields as in the proto."""

    index: int
    key: str
    state: RowState
    reason: str = ""
    message: str = ""


Outcomes = tuple[RowOutcome, ...]
"""What a bulk command answers: one for each row, in the order of the request."""


def upserted(old: object | None, new: object) -> RowState:
    """What a row did that makes `new` of `old`, which is None when there was nothing."""
    if old is None:
        return RowState.CREATED
    return RowState.UNCHANGED if old == new else RowState.UPDATED


def refused_row(index: int, key: str, refusal: Refusal) -> RowOutcome:
    """The outcome of a row that was refused; its neighbours are left alone."""
    return RowOutcome(index, key, RowState.REFUSED, refusal.reason, refusal.message)
