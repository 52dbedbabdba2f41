"""Processor time of processes, from outside: it does not depend on who else is at work."""

from collections.abc import Iterable, Mapping

import psutil

TICK_SECONDS = 0.01
"""As processor time is counted."""


def processor_seconds(pids_by_name: Mapping[str, Iterable[int]]) -> dict[str, float]:
    """User and system time, by name, of the processes and all that they have started.

    Counted in ticks, so a second of load is known to a per cent or two. Processes that have
    ended count if those who started them have taken note.
    """
    return {name: sum(map(_seconds_of, pids)) for name, pids in pids_by_name.items()}


def _seconds_of(pid: int) -> float:
    process = psutil.Process(pid)
    ended = process.cpu_times()
    seconds = ended.children_user + ended.children_system
    for each in (process, *process.children(recursive=True)):
        try:
            times = each.cpu_times()
        except psutil.NoSuchProcess:
            continue
        seconds += times.user + times.system
    return float(seconds)


def difference(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    """What was used between two looks."""
    return {name: after[name] - before[name] for name in before}
