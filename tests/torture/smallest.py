"""The smallest history that still shows a violation: what can be left out is, as the checker is pure.

What is left out goes as a whole: a command with its calls and all that it wrote, a query, a row of a
table. First whole orders, carts and SKUs go, then single commands, then single calls. Where it matters
what movements of stock come to, none goes from between: else two deliveries of others would make up
for one. What came later goes, and what was much earlier becomes one movement.
"""

import dataclasses
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

from tests.torture.checker import CHECKS
from tests.torture.evidence import Evidence, Movement
from tests.torture.history import Operation, commands_by_request
from tests.torture.kept import Judged
from tests.torture.violations import Case, Check, Violation

MOVERS_MAX = 12
"""Requests that move stock, in a history that people read; what was before becomes one movement."""

Row = tuple[str, int]
"""A part of the evidence, and which of its rows."""


@dataclass(frozen=True, slots=True)
class Piece:
    """What goes or stays as a whole. names: of the SKUs, orders, carts and so on that it is about."""

    operations: tuple[Operation, ...]
    rows: tuple[Row, ...]
    names: frozenset[str]


@dataclass(frozen=True, slots=True)
class Smallest:
    """What is left, of what. before: each of these movements stands for all before it at its place."""

    violation: Violation
    whole: Judged
    judged: Judged
    before: tuple[Movement, ...] = ()


def smallest(judged: Judged, violation: Violation, *, seconds_max: float) -> Smallest | None:
    """What still shows it, found within about that time; None where it is not found at all."""
    search = _Search(judged, violation, seconds_max)
    if search.check is None:
        return None
    narrow = search.own_and_rows()
    is_narrow = search.shows(narrow)
    if is_narrow or not search.is_of_levels:
        pieces = search.fewest(narrow if is_narrow else search.around())
        return Smallest(violation, judged, search.assembled(pieces))
    movers, others = search.fewest_movers(search.around())
    folded, before = search.folded(movers, others)
    search = _Search(folded, violation, seconds_max)
    # What was before at other places goes; at its own it is needed.
    movers = [piece for piece in search.pieces if _moves(piece) and len(piece.rows) > 1]
    others = [piece for piece in search.pieces if not _moves(piece) or len(piece.rows) == 1]
    others = fewest(others, lambda rest: search.shows([*movers, *rest]), search.is_over)
    left = search.assembled([*movers, *others])
    kept = set(left.evidence.movements)
    return Smallest(violation, judged, left, tuple(each for each in before if each in kept))


class _Search:
    """For what shows a violation. After seconds_max the best so far has to do."""

    def __init__(self, judged: Judged, violation: Violation, seconds_max: float) -> None:
        self.judged = judged
        self._end = time.monotonic() + seconds_max
        self._violation = violation
        self._numbers = {call.number for call in violation.operations}
        self._words = {word.strip(",:;.()[]'") for word in violation.explanation.split()}
        self.pieces = _pieces_of(judged)

    @cached_property
    def check(self) -> Check | None:
        """Which of the checks finds it."""
        return next((each for each in CHECKS if self._finds(each, self.judged)), None)

    def is_over(self) -> bool:
        """Whether time is up."""
        return time.monotonic() > self._end

    def shows(self, pieces: Iterable[Piece]) -> bool:
        """Whether so much still shows it."""
        assert self.check is not None
        return self._finds(self.check, _assembled(self.judged, pieces))

    def _finds(self, check: Check, judged: Judged) -> bool:
        commands = commands_by_request(judged.history)
        case = Case(judged.history, judged.evidence, judged.pulses, commands)
        return any(map(self._is_it, check(case)))

    def _is_it(self, found: Violation) -> bool:
        """The same explanation, shown by the same operations."""
        wanted = self._violation
        is_told_alike = (found.check, found.explanation) == (wanted.check, wanted.explanation)
        return is_told_alike and {call.number for call in found.operations} == self._numbers

    def own_and_rows(self) -> list[Piece]:
        """Its own operations, and rows of tables that it names."""
        return [piece for piece in self.pieces if self._is_own(piece) or _is_row(piece, self._words)]

    def around(self) -> list[Piece]:
        """The first of ever greater parts that shows it: what it or its operations name, or all."""
        own = [piece for piece in self.pieces if self._is_own(piece)]
        close = frozenset[str]().union(*(piece.names for piece in own))
        for names in (self._words, self._words | close):
            part = [piece for piece in self.pieces if self._is_own(piece) or piece.names & names]
            if self.shows(part):
                return part
        return self.pieces

    def _is_own(self, piece: Piece) -> bool:
        return any(call.number in self._numbers for call in piece.operations)

    @cached_property
    def is_of_levels(self) -> bool:
        """Whether it takes movements of stock to show it: what they come to must stay what it was."""
        assert self.check is not None
        evidence = dataclasses.replace(self.judged.evidence, movements=[])
        return not self._finds(self.check, dataclasses.replace(self.judged, evidence=evidence))

    def fewest(self, pieces: Sequence[Piece]) -> list[Piece]:
        """Without whole orders and carts first, and then without single pieces."""
        names = list(dict.fromkeys(name for piece in pieces for name in sorted(piece.names)))

        def of(wanted: Iterable[str]) -> list[Piece]:
            kept = frozenset(wanted)
            return [piece for piece in pieces if piece.names <= kept]

        kept = of(fewest(names, lambda wanted: self.shows(of(wanted)), self.is_over))
        return fewest(kept, self.shows, self.is_over)

    def fewest_movers(self, pieces: Sequence[Piece]) -> tuple[list[Piece], list[Piece]]:
        """The shortest beginning of all that moved stock that shows it; and pieces that move none."""
        movers = sorted((piece for piece in pieces if _moves(piece)), key=_last_movement)
        others = [piece for piece in pieces if not _moves(piece)]
        others = fewest(others, lambda rest: self.shows([*movers, *rest]), self.is_over)
        # Each movement more or less may change whether it is shown: the first such beginning is looked
        # for by halves, and what is found is one that shows it.
        least, most = 0, len(movers)
        while least < most and not self.is_over():
            middle = (least + most) // 2
            if self.shows([*movers[:middle], *others]):
                most = middle
            else:
                least = middle + 1
        return movers[:most], others

    def _with_fewest_calls(self, pieces: Sequence[Piece]) -> list[Piece]:
        """Of commands that were sent several times at least one call each."""

        def with_calls(calls: Iterable[Operation]) -> list[Piece]:
            numbers = {call.number for call in calls}
            return [
                dataclasses.replace(
                    piece, operations=tuple(each for each in piece.operations if each.number in numbers)
                )
                for piece in pieces
            ]

        def is_enough(calls: Sequence[Operation]) -> bool:
            left = with_calls(calls)
            has_all = all(
                now.operations or not before.operations for now, before in zip(left, pieces, strict=True)
            )
            return has_all and self.shows(left)

        calls = [call for piece in pieces for call in piece.operations]
        return with_calls(fewest(calls, is_enough, self.is_over))

    def folded(
        self, movers: Sequence[Piece], others: Sequence[Piece]
    ) -> tuple[Judged, tuple[Movement, ...]]:
        """The older movements of each place as one, so that few are left apart; and those."""
        kept_count = MOVERS_MAX
        while kept_count < len(movers):
            older, newer = movers[:-kept_count], movers[-kept_count:]
            judged, before = _folded(self.judged, older, [*newer, *others])
            if self._is_shown_by(judged):
                return judged, before
            kept_count *= 2
        return _assembled(self.judged, [*movers, *others]), ()

    def assembled(self, pieces: Sequence[Piece]) -> Judged:
        """So much of it, with the fewest calls."""
        return _assembled(self.judged, self._with_fewest_calls(pieces))

    def _is_shown_by(self, judged: Judged) -> bool:
        assert self.check is not None
        return self._finds(self.check, judged)


T = TypeVar("T")


def fewest(
    items: Sequence[T], shows: Callable[[Sequence[T]], bool], is_over: Callable[[], bool]
) -> list[T]:
    """Delta debugging: of items that show something those of which none can go, while there is time."""
    kept = list(items)
    size = max(1, len(kept) // 2)
    while True:
        count, first = len(kept), 0
        while first < len(kept) and not is_over():
            rest = [*kept[:first], *kept[first + size :]]
            if shows(rest):
                kept = rest
            else:
                first += size
        if is_over() or (size == 1 and len(kept) == count):
            return kept
        size = max(1, size // 2)


# --- pieces ---------------------------------------------------------------------------------------


def _pieces_of(judged: Judged) -> list[Piece]:
    """All of it: what belongs to a request is one piece, and anything else each for itself."""
    request_of = {event.position: event.request_id for event in judged.evidence.events}
    rows: dict[str, list[Row]] = defaultdict(list)
    single: list[Piece] = []
    for part, values in _parts_of(judged.evidence):
        for index, value in enumerate(values):
            request_id = _request_of(part, value, request_of)
            if request_id:
                rows[request_id].append((part, index))
            else:
                single.append(Piece((), ((part, index),), _names_in(value)))
    calls = commands_by_request(judged.history)
    parts = dict(_parts_of(judged.evidence))
    for request_id in dict.fromkeys([*calls, *rows]):
        of_request = tuple(rows[request_id])
        written = [_names_in(parts[part][index]) for part, index in of_request if part != "answers"]
        asked = [_names_in_call(call) for call in calls.get(request_id, ())]
        names = frozenset[str]().union(*written, *asked)
        single.append(Piece(tuple(calls.get(request_id, ())), of_request, names))
    queries = [call for call in judged.history if not call.request_id]
    return single + [Piece((call,), (), _names_in_call(call)) for call in queries]


def _parts_of(evidence: Evidence) -> Iterator[tuple[str, Sequence[Any]]]:
    """Its rows, part by part: of what goes by name, pairs."""
    for each in dataclasses.fields(evidence):
        value = getattr(evidence, each.name)
        if isinstance(value, dict):
            yield each.name, list(value.items())
        elif isinstance(value, list):
            yield each.name, value


def _request_of(part: str, row: Any, request_of: Mapping[int, str]) -> str:
    """Of what a request wrote, which one; of the rest ""."""
    if part == "answers":
        return str(row[0])
    return request_of.get(getattr(row, "position", -1), "")


def _names_in(row: Any) -> frozenset[str]:
    """The ids in a row of the evidence, or in a pair of one and its name."""
    if not hasattr(row, "_fields"):
        name, value = row
        return _names_in(value) | {name} if hasattr(value, "_fields") else frozenset({name})
    told = row._asdict()
    return frozenset(str(told[name]) for name in told if _names_something(name) and told[name])


def _names_in_call(call: Operation) -> frozenset[str]:
    return frozenset(_ids_in({**call.asked, **call.told})) | frozenset(call.units)


def _ids_in(told: Any, *, is_id: bool = False) -> Iterator[str]:
    """The ids in what was asked or told, however deep."""
    match told:
        case str() if is_id:
            yield told
        case Mapping():
            for name, value in told.items():
                yield from _ids_in(value, is_id=_names_something(name))
        case list() | tuple():
            for value in told:
                yield from _ids_in(value, is_id=is_id)


def _names_something(field_name: str) -> bool:
    """Whether a field of that name has the id of something that is not everywhere."""
    if field_name in {"location_id", "request_id"}:
        return False
    names = {"key", "provider_reference", "coupon_code"}
    return field_name in names or field_name.endswith(("_id", "_ids"))


def _is_row(piece: Piece, names: Iterable[str]) -> bool:
    """Whether it is a row of a table that is about one of those."""
    return not piece.operations and len(piece.rows) == 1 and not piece.names.isdisjoint(names)


def _moves(piece: Piece) -> bool:
    return any(part == "movements" for part, _ in piece.rows)


def _last_movement(piece: Piece) -> int:
    return max(index for part, index in piece.rows if part == "movements")


def _assembled(judged: Judged, pieces: Iterable[Piece]) -> Judged:
    """A history and evidence of so much, in the order that they were in."""
    calls: list[Operation] = []
    indexes: dict[str, list[int]] = defaultdict(list)
    for piece in pieces:
        calls += piece.operations
        for part, index in piece.rows:
            indexes[part].append(index)
    parts: dict[str, Any] = {}
    for part, values in _parts_of(judged.evidence):
        kept = [values[index] for index in sorted(indexes[part])]
        is_by_name = isinstance(getattr(judged.evidence, part), dict)
        parts[part] = dict(kept) if is_by_name else kept
    return dataclasses.replace(
        judged,
        history=sorted(calls, key=lambda call: call.number),
        evidence=dataclasses.replace(judged.evidence, **parts),
    )


def _folded(
    judged: Judged, older: Sequence[Piece], others: Sequence[Piece]
) -> tuple[Judged, tuple[Movement, ...]]:
    """Without the older pieces, but with one movement at each place for all of theirs."""
    gone = _assembled(judged, older).evidence.movements
    sums: dict[tuple[str, str], Movement] = {}
    for each in gone:
        place = (each.sku_id, each.location_id)
        sums[place] = _together(sums[place], each) if place in sums else each._replace(cause="")
    folded = tuple(sums.values())
    left = _assembled(judged, others)
    movements = sorted([*folded, *left.evidence.movements], key=lambda each: each.position)
    evidence = dataclasses.replace(left.evidence, movements=movements)
    return dataclasses.replace(left, evidence=evidence), folded


def _together(movement: Movement, later: Movement) -> Movement:
    """Two movements at one place as one."""
    deltas = zip(movement.counters, later.counters, strict=True)
    on_hand, reserved, allocated, slack = (delta + more for delta, more in deltas)
    return Movement(*later[:3], on_hand, reserved, allocated, slack)
