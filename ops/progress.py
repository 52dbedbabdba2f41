"""How long work shows that it goes on: a bar in a terminal, now and then a line elsewhere."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

LINE_SECONDS = 5.0
"""Between two lines where there is no terminal: a build log should not drown in them."""

OnProgress = Callable[[str, int, int | None], None]
"""Told what is being done, how much of it is done, and of how much if that is known."""


@contextmanager
def progress(console: Console, unit: str = "") -> Iterator[OnProgress]:
    """Shows the progress of the block's work, of one thing after another, counted in `unit`."""
    if console.is_terminal:
        with _bars(console, unit) as bars:
            yield _bar_teller(bars)
    else:
        yield _line_teller(console, unit)


def _bars(console: Console, unit: str) -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeElapsedColumn(),
        TextColumn("left:"),
        TimeRemainingColumn(),
        console=console,
    )


def _bar_teller(bars: Progress) -> OnProgress:
    tasks: dict[str, TaskID] = {}

    def tell(what: str, done: int, total: int | None) -> None:
        if what not in tasks:
            tasks[what] = bars.add_task(what, total=total)
        bars.update(tasks[what], completed=done, total=total)

    return tell


def _line_teller(console: Console, unit: str) -> OnProgress:
    told_seconds: dict[str, float] = {}

    def tell(what: str, done: int, total: int | None) -> None:
        now_seconds = time.monotonic()
        if done == total or now_seconds - told_seconds.get(what, float("-inf")) >= LINE_SECONDS:
            told_seconds[what] = now_seconds
            of_total = "" if total is None else f" of {total:,}"
            console.print(Text(f"{what}: {done:,}{of_total} {unit}".rstrip()), soft_wrap=True)

    return tell
