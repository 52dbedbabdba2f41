"""Violations as people read them: the smallest history that shows each, and how to see it again."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

from tests.torture.evidence import Evidence, LoggedEvent, Movement
from tests.torture.history import (
    DIGEST_SHOWN,
    Operation,
    Record,
    Struck,
    commands_by_request,
    span_told,
)
from tests.torture.kept import Kept
from tests.torture.smallest import Smallest, smallest
from tests.torture.violations import SHOWN_OPERATIONS_MAX, Violation

VIOLATIONS_SHOWN_MAX = 20
SMALLEST_SECONDS_MAX = 30.0
"""To look for the smallest history of one violation."""
NEAR_SECONDS = 2.0
"""Faults that struck so shortly before or after an operation are shown with it."""


def told(violations: Sequence[Violation], kept: Kept) -> Iterator[str]:
    """Line by line: each violation, and of each check's first one the smallest history that shows it."""
    begun_seconds = kept.record.beginning.begun_seconds
    are_shown: set[str] = set()
    for violation in violations[:VIOLATIONS_SHOWN_MAX]:
        found = None if violation.check in are_shown else _smallest(violation, kept)
        yield f"\n{violation.check}: {violation.explanation}"
        if found is not None:
            are_shown.add(violation.check)
            yield from lines_of(found, kept.record)
        else:
            shown = violation.operations[:SHOWN_OPERATIONS_MAX]
            yield from (f"    {call.told_since(begun_seconds)}" for call in shown)
    if len(violations) > VIOLATIONS_SHOWN_MAX:
        yield f"\nand {len(violations) - VIOLATIONS_SHOWN_MAX} more"


def _smallest(violation: Violation, kept: Kept) -> Smallest | None:
    """Of the first evidence that shows it."""
    for judged in kept.judged:
        found = smallest(judged, violation, seconds_max=SMALLEST_SECONDS_MAX)
        if found is not None:
            return found
    return None


def replay(folder: Path, record: Record) -> Iterator[str]:
    """How to see it again."""
    yield f"\nkept: {folder}, {', '.join(sorted(each.name for each in folder.iterdir()))}"
    yield f"judged again: make torture JUDGE={folder}"
    seed, minutes, _ = record.beginning
    yield f"the same faults again: make torture MINUTES={minutes:g} SEED={seed}"


class _Line(NamedTuple):
    """What happened, in Unix time. more: what belongs under it."""

    begin_seconds: float
    end_seconds: float | None
    text: str
    more: tuple[str, ...] = ()


def lines_of(found: Smallest, record: Record) -> Iterator[str]:
    """The history in order of time, with what struck meanwhile or shortly before or after."""
    since = record.beginning.begun_seconds
    history, evidence = found.judged.history, found.judged.evidence
    yield (
        f"  the smallest history that shows it, {len(history)} of {len(found.whole.history)} operations,"
        " in seconds since the run began:"
    )
    levels = _levels(found.whole.evidence.movements)
    for each in found.before:
        place = (each.sku_id, each.location_id)
        yield f"    before, last at {each.position}: {levels[each.position][place]}"
    lines = [*_calls(found, levels, since), *_by_nobody_known(found, levels)]
    faults = [fault for fault in record.faults if any(_is_near(fault, line) for line in lines)]
    lines += [_Line(each.begin_seconds, each.end_seconds, _fault_told(each)) for each in faults]
    lines += _health(found)
    now_seconds = evidence.now.timestamp()
    lines += [_Line(now_seconds, now_seconds, f"in the tables: {row}") for row in _rows(evidence, since)]
    for line in sorted(lines, key=attrgetter("begin_seconds")):
        yield f"    {span_told(line.begin_seconds, line.end_seconds, since=since)} {line.text}"
        yield from (f"{'':26}{each}" for each in line.more)


def _is_near(fault: Struck, line: _Line) -> bool:
    """Whether a fault may have to do with it."""
    line_end = line.begin_seconds if line.end_seconds is None else line.end_seconds
    fault_end = float("inf") if fault.end_seconds is None else fault.end_seconds
    return (
        fault.begin_seconds <= line_end + NEAR_SECONDS and fault_end >= line.begin_seconds - NEAR_SECONDS
    )


def _fault_told(fault: Struck) -> str:
    return f"fault: {fault.fault}{'' if fault.is_met else ', which nobody met'}"


JUDGED_BY_HEALTH = {"overdue hold", "abandoned call"}


def _health(found: Smallest) -> Iterator[_Line]:
    """When all was well, from when something was due on: only that time counts."""
    evidence = found.judged.evidence
    due = [each.expire_time for each in evidence.holds] + [each.due_time for each in evidence.errands]
    if found.violation.check not in JUDGED_BY_HEALTH or not due:
        return
    begin = min(due)
    end = max((each.recorded_time for each in evidence.events), default=begin)
    end = end if end > begin else evidence.now
    pulses = [
        pulse
        for pulse in found.judged.pulses
        if pulse.end_seconds > begin.timestamp() and pulse.begin_seconds < end.timestamp()
    ]
    for is_well, stretch in groupby(pulses, key=attrgetter("is_well")):
        if is_well:
            well = list(stretch)
            yield _Line(well[0].begin_seconds, well[-1].end_seconds, "all was well")


# --- operations, and what they wrote --------------------------------------------------------------


Levels = Mapping[int, Mapping[tuple[str, str], str]]
"""By position in the log and by place what moved, and what that made."""
COUNTERS = ("on hand", "reserved", "allocated", "slack")


def _calls(found: Smallest, levels: Levels, since: float) -> Iterator[_Line]:
    """Each call; under the last of a command what the database has of it."""
    commands = commands_by_request(found.judged.history)
    for call in found.judged.history:
        calls = commands.get(call.request_id, [])
        more = _stored(found.judged.evidence, calls, levels, since) if call in calls[-1:] else ()
        yield _Line(call.begin_seconds, call.end_seconds, call.facts_told(), tuple(more))


def _stored(
    evidence: Evidence, calls: Sequence[Operation], levels: Levels, since: float
) -> Iterator[str]:
    """What a command has left behind; of its answer, if that is not what its clients were told."""
    events = [event for event in evidence.events if event.request_id == calls[0].request_id]
    if events:
        at_seconds = events[0].recorded_time.timestamp() - since
        yield f"wrote at {at_seconds:.3f}: {_events_told(events, levels)}"
    answer = evidence.answers.get(calls[0].request_id)
    if answer is None:
        yield "no answer is stored"
    elif any((call.code, call.digest) != (answer.code, answer.digest) for call in calls):
        yield f"stored: code {answer.code}, bytes={answer.digest[:DIGEST_SHOWN]}"


def _by_nobody_known(found: Smallest, levels: Levels) -> Iterator[_Line]:
    """What was written by workers, or before clients were watched."""
    known = {call.request_id for call in found.judged.history}
    unknown = [event for event in found.judged.evidence.events if event.request_id not in known]
    for _, batch in groupby(unknown, key=attrgetter("request_id")):
        events = list(batch)
        at_seconds = events[0].recorded_time.timestamp()
        actor = events[0].actor or "somebody"
        yield _Line(at_seconds, at_seconds, f"{actor} wrote {_events_told(events, levels)}")


def _events_told(events: Sequence[LoggedEvent], levels: Levels) -> str:
    told: list[str] = []
    for event in events:
        moved = "; ".join(levels.get(event.position, {}).values())
        told.append(f"{event.position} {event.type} {event.key}" + (f" ({moved})" if moved else ""))
    return ", ".join(told)


def _levels(movements: Sequence[Movement]) -> Levels:
    totals: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    told: dict[int, dict[tuple[str, str], str]] = defaultdict(dict)
    for each in movements:
        place, deltas = (each.sku_id, each.location_id), each.counters
        totals[place] = [total + delta for total, delta in zip(totals[place], deltas, strict=True)]
        moved = ", ".join(f"{d:+} {name}" for name, d in zip(COUNTERS, deltas, strict=True) if d)
        made = ", ".join(f"{n} {name}" for name, n in zip(COUNTERS[:3], totals[place], strict=False))
        told[each.position][place] = f"{' at '.join(place)} {moved}, which made {made}"
    return told


# --- tables ---------------------------------------------------------------------------------------


def _rows(evidence: Evidence, since: float) -> Iterator[str]:
    """What the tables and the provider's account had when they were looked at."""
    rows: list[Any] = [
        *evidence.levels,
        *evidence.orders.values(),
        *evidence.holds,
        *evidence.payments,
        *evidence.errands,
    ]
    for row in rows:
        facts = (f"{name}={_value_told(value, since)}" for name, value in row._asdict().items())
        yield f"{type(row).__name__} {' '.join(facts)}"
    for reference, (captured_minor, refunded_minor) in (evidence.provider_money or {}).items():
        yield f"provider's {reference} captured_minor={captured_minor} refunded_minor={refunded_minor}"


def _value_told(value: object, since: float) -> str:
    return f"{value.timestamp() - since:.3f}" if isinstance(value, datetime) else str(value)
