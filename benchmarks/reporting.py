"""What is told of a run: figures beside their baselines, as a table for people and JSON for programs."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from benchmarks.rounds import Compared

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
    ) -> "Figure":
        """A figure beside its baseline."""
        return cls(name, unit, reach, compared.value, against, compared, told or {})

    @property
    def is_reached(self) -> bool:
        """Whether it is where it should be."""
        return self.holds and self.reach.is_reached_by(
            self.compared.ratio if self.compared else self.value
        )

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
            "told": {name: _rounded(value) for name, value in self.told.items()},
        }


def print_table(console: Console, figures: Iterable[Figure]) -> None:
    """Prints the figures; those out of reach stand out."""
    table = Table(*(Column(head, no_wrap=True) for head in HEADS), box=None)
    for column in (1, 3, 4):
        table.columns[column].justify = "right"
    for figure in figures:
        table.add_row(*_row(figure), Text("yes", "green") if figure.is_reached else Text("no", "red"))
    console.print(table)


def _row(figure: Figure) -> Sequence[str]:
    compared = figure.compared
    if compared is None:
        return figure.name, _shown(figure.value), figure.unit, "-", "-", "", str(figure.reach)
    return (
        figure.name,
        _shown(figure.value),
        figure.unit,
        _shown(compared.baseline),
        f"{compared.ratio:.2f}",
        f"{min(compared.ratios):.2f}-{max(compared.ratios):.2f}",
        str(figure.reach),
    )


def _shown(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def _rounded(value: Any) -> Any:
    """Four significant digits: more would claim what cannot be known."""
    return float(f"{value:.4g}") if isinstance(value, float) else value
