"""What is kept of a run that broke a promise, so that it can be judged again without any server.

A folder: history.jsonl has what clients saw, faults and pulses; each evidence-<number>.json what was
judged at one moment, as the checker takes it; services.log and postgres.log what those said.
"""

import asyncio
import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from tests.torture.checker import check
from tests.torture.evidence import Evidence, read_evidence
from tests.torture.history import History, Operation, Pulse, Record, operation_of, read
from tests.torture.violations import Violation

HISTORY = "history.jsonl"
KEPT_COUNT_MAX = 10
"""Of evidence in one folder: in a round that broke much each inspection sees more."""


@dataclass(frozen=True, slots=True)
class Judged:
    """What was judged at one moment. ended_count: operations that had ended; the others are behind."""

    history: Sequence[Operation]
    ended_count: int
    evidence: Evidence
    pulses: Sequence[Pulse] = ()

    def found(self) -> list[Violation]:
        """What was broken."""
        return check(self.history, self.evidence, self.pulses)


class Keeper:
    """Judges a run while it goes on, and keeps in its folder what anything new was found in."""

    def __init__(self, folder: Path, history: History, database_url: str) -> None:
        self._folder = folder
        self._history = history
        self._database_url = database_url
        self._seen: set[str] = set()
        self._last: Judged | None = None
        self._kept_count = 0

    async def judge(
        self, provider_money: dict[str, tuple[int, int]] | None = None
    ) -> tuple[Judged, list[Violation]]:
        """What clients saw so far and what the database says of it, and what of that was broken.

        Raises:
            psycopg.OperationalError: the database cannot be reached.
        """
        mark = self._history.mark()
        evidence = await asyncio.to_thread(read_evidence, self._database_url, provider_money)
        judged = Judged(self._history.as_of(mark), mark, evidence, list(self._history.pulses))
        self._last = judged
        found = await asyncio.to_thread(judged.found)
        new = {str(each) for each in found} - self._seen
        self._seen |= new
        if new and self._kept_count < KEPT_COUNT_MAX:
            await asyncio.to_thread(keep, self._folder, judged, self._numbered())
        return judged, found

    def keep_last(self) -> None:
        """Keeps what was judged last, if nothing has been kept: of a mistake that others have seen."""
        if self._last is not None and not self._kept_count:
            keep(self._folder, self._last, self._numbered())

    def _numbered(self) -> int:
        self._kept_count += 1
        return self._kept_count


def keep(folder: Path, judged: Judged, number: int) -> None:
    """Writes down what the folder's history does not tell of what was judged."""
    path = folder / f"evidence-{number:03}.json"
    told = {
        "ended_count": judged.ended_count,
        "under_way": [each.as_told() for each in judged.history[judged.ended_count :]],
        "pulse_count": len(judged.pulses),
        "evidence": {
            each.name: getattr(judged.evidence, each.name) for each in dataclasses.fields(Evidence)
        },
    }
    with path.open("w", encoding="utf-8") as file:
        json.dump(told, file, default=_moment)


@dataclass(frozen=True, slots=True)
class Kept:
    """What was kept: what clients saw, and all that was judged."""

    record: Record
    judged: Sequence[Judged]


def read_kept(folder: Path) -> Kept:
    """All of a folder.

    Raises:
        FileNotFoundError: there is no history in it.
    """
    record = read(folder / HISTORY)
    return Kept(record, [_judged(record, path) for path in _evidence_paths(folder)])


def _evidence_paths(folder: Path) -> list[Path]:
    return sorted(folder.glob("evidence-*.json"))


def _judged(record: Record, path: Path) -> Judged:
    told = json.loads(path.read_text(encoding="utf-8"))
    ended_count = told["ended_count"]
    under_way = [operation_of(each) for each in told["under_way"]]
    kinds = _fields_of(Evidence)
    # What nobody read yet when this was kept is not in it.
    evidence = Evidence(
        **{name: _decoded(kinds[name], value) for name, value in told["evidence"].items()}
    )
    pulses = record.pulses[: told["pulse_count"]]
    return Judged([*record.operations[:ended_count], *under_way], ended_count, evidence, pulses)


def _moment(value: datetime) -> str:
    return value.isoformat()


@cache
def _fields_of(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


def _decoded(kind: Any, told: Any) -> Any:
    """What JSON tells, as what it was before."""
    if told is None:
        return None
    if kind is datetime:
        return datetime.fromisoformat(told)
    if hasattr(kind, "_fields"):
        return kind(*map(_decoded, _fields_of(kind).values(), told))
    parts = get_args(kind)
    match get_origin(kind):
        case origin if origin is UnionType:
            return _decoded(parts[0], told)
        case origin if origin is list:
            return [_decoded(parts[0], each) for each in told]
        case origin if origin is dict:
            return {name: _decoded(parts[1], each) for name, each in told.items()}
        case origin if origin is tuple:
            return _as_tuple(told)
    return told


def _as_tuple(told: Any) -> Any:
    """JSON has lists only: in a tuple each was one."""
    return tuple(map(_as_tuple, told)) if isinstance(told, list) else told
