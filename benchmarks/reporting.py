"""What is told of a run: figures beside their baselines, as a table for people and JSON for programs."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from benchmarks.plotting import plot_curves
from benchmarks.points import Curves
from benchmarks.rounds import Compared

BUSY_SHARE = 0.1
"""Of the processors, taken by others before a run begins: from there on its figures are theirs too."""

SPENT_HEAD = "CPU a request, us"
SPENT_US_MIN = 10
"""Of a server that takes less it is not told: of most it is nothing, or work of its own."""

HEADS = ("name", "ours", "unit", "baseline", "ratio", "rounds", "reach", "reached")


class Bound(Enum):
    """On which side of a limit a figure should be."""

    AT_LEAST = "at least"
    UNDER = "under"


@dataclass(frozen=True, slots=True)
class Reach:
    """What a figure should reach: its ratio, or its value where there is no baseline."""

    bound: Bound
    limit: float

    def __str__(self) -> str:
        return f"{self.bound.value} {self.limit:g}"

    def is_reached_by(self, number: float) -> bool:
        """Whether the number is on the right side of the limit."""
        return number >= self.limit if self.bound is Bound.AT_LEAST else number < self.limit


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table.

    compared: with its baseline, which `against` names; None for a figure that stands alone. told: what
    else was measured, by name. holds: whether that is as it should be, for figures with another half.
    """

    name: str
    unit: str
    reach: Reach
    value: float
    against: str = ""
    compared: Compared | None = None
    told: Mapping[str, Any] = field(default_factory=dict)
    holds: bool = True

    @classmethod
    def beside(
        cls,
        name: str,
        unit: str,
        reach: Reach,
        compared: Compared,
        *,
        against: str,
        told: Mapping[str, Any] | None = None,
        holds: bool = True,
    ) -> "Figure":
        """A figure beside its baseline."""
        return cls(name, unit, reach, compared.value, against, compared, told or {}, holds)

    @property
    def is_reached(self) -> bool:
        """Whether it is where it should be."""
        return self.holds and self.reach.is_reached_by(
            self.compared.ratio if self.compared else self.value
        )

    @property
    def spent(self) -> str:
        """Processor time a request of the servers that took a share worth telling, in microseconds."""
        medians = {
            name.removesuffix("_us"): median(us)
            for name, us in self.told.items()
            if name.endswith("_us") and name not in ("client_us", "echo_us")
        }
        return ", ".join(f"{name} {us:.0f}" for name, us in medians.items() if us >= SPENT_US_MIN)

    def as_json(self) -> dict[str, Any]:
        """Everything about it, for latest.json."""
        compared = self.compared
        return {
            "name": self.name,
            "value": _rounded(self.value),
            "unit": self.unit,
            "baseline": _rounded(compared.baseline) if compared else None,
            "against": self.against or None,
            "ratio": _rounded(compared.ratio) if compared else None,
            "ratios": [_rounded(ratio) for ratio in compared.ratios] if compared else None,
            "reach": str(self.reach),
            "reached": self.is_reached,
            "told": _all_rounded(self.told),
        }


MEMORY_FILE_SYSTEMS = {"tmpfs", "ramfs"}


@dataclass(frozen=True, slots=True)
class Report:
    """All that is known of a run. time: when it began, in UTC."""

    time: str
    machine: Mapping[str, Any]
    settings: Mapping[str, Any]
    extent: Mapping[str, Any]
    figures: Sequence[Figure]
    curves: Curves

    def as_json(self) -> dict[str, Any]:
        """For latest.json."""
        return {
            "time": self.time,
            "machine": self.machine,
            "settings": self.settings,
            "extent": self.extent,
            "figures": [figure.as_json() for figure in self.figures],
            "curves": {
                name: {
                    whose: [_all_rounded(point._asdict()) for point in points]
                    for whose, points in curve._asdict().items()
                }
                for name, curve in self.curves.items()
            },
        }

    @property
    def _is_busy(self) -> bool:
        """Whether the run had to share the machine."""
        return bool(self.machine["busy_share_before"] >= BUSY_SHARE)

    @property
    def _place(self) -> str:
        machine = self.machine
        system = f"{machine['system']}, sched_autogroup {'on' if machine['sched_autogroup'] else 'off'}"
        return f"{self.time}, {machine['processor_count']} x {machine['processor']}, {system}."

    @property
    def caption(self) -> str:
        """What stands under each picture."""
        return f"{self._place}{' Others were at work on it.' if self._is_busy else ''}"

    @property
    def _rounds(self) -> str:
        counts = self.settings["worker_processes"]
        workers = ", ".join(f"{count} of {name}" for name, count in counts.items())
        return (
            f"{self.extent['round_count']} rounds, turns of {self.extent['span_seconds']:g} s;"
            f" processes: {workers}."
        )

    @property
    def _disk(self) -> str:
        """Where the data were: of what is only in memory nothing is durable."""
        kind = self.settings["postgresql_file_system"]
        told = f"PostgreSQL's data on {kind}, ours and pgbench's."
        if kind not in MEMORY_FILE_SYSTEMS:
            return told
        return f"{told} **That is memory: nothing was durable, and no figure of writing counts.**"

    def as_markdown(self) -> str:
        """For docs/benchmarks/last_run.md."""
        busy_share = self.machine["busy_share_before"]
        warning = (
            " **Others were at work: these figures say little, run it again.**" if self._is_busy else ""
        )
        lines = [
            "# The last run",
            "",
            self._place,
            f"Python {self.machine['python']}; how it was built matters: docs/operations.md.",
            f"Of its processors {busy_share:.0%} were busy before it began.{warning}",
            f"{self._rounds}",
            f"{self._disk}",
            "Written by `make bench`; [README.md](README.md) says how it is measured and what it means.",
            "Values are medians of the rounds; a ratio is the median of the rounds' own ratios.",
            "",
            f"| {' | '.join((*HEADS, SPENT_HEAD))} |",
            f"|{'---|' * (len(HEADS) + 1)}",
        ]
        lines += [f"| {' | '.join((*_cells(figure), figure.spent))} |" for figure in self.figures]
        return "\n".join(lines) + "\n"


def write_report(report: Report, root: Path) -> None:
    """Writes latest.json and the pictures where the repository keeps them."""
    target, docs = root / "benchmarks" / "latest.json", root / "docs" / "benchmarks"
    for folder in (target.parent, docs):
        folder.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(report.as_json(), indent=2) + "\n", encoding="utf-8")
    (docs / "last_run.md").write_text(report.as_markdown(), encoding="utf-8")
    plot_curves(report.curves, docs, caption=report.caption)


def print_table(console: Console, figures: Iterable[Figure]) -> None:
    """Prints the figures; those out of reach stand out."""
    table = Table(*(Column(head, no_wrap=True) for head in HEADS), box=None)
    for column in (1, 3, 4):
        table.columns[column].justify = "right"
    for figure in figures:
        *cells, reached = _cells(figure)
        table.add_row(*cells, Text(reached, "green" if figure.is_reached else "red"))
    console.print(table)


def _cells(figure: Figure) -> Sequence[str]:
    """As HEADS."""
    compared = figure.compared
    beside = ("-", "-", "-")
    if compared is not None:
        spread = f"{min(compared.ratios):.2f}-{max(compared.ratios):.2f}"
        beside = (_shown(compared.baseline), f"{compared.ratio:.2f}", spread)
    reached = "yes" if figure.is_reached else "no"
    return figure.name, _shown(figure.value), figure.unit, *beside, str(figure.reach), reached


def _shown(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def _rounded(value: Any) -> Any:
    """Four significant digits: more would claim what cannot be known."""
    if isinstance(value, list):
        return [_rounded(each) for each in value]
    return float(f"{value:.4g}") if isinstance(value, float) else value


def _all_rounded(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _rounded(value) for name, value in values.items()}
