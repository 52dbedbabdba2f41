"""Rounds in which each subject has its turn, and what is made of their figures. Pure, but for the turns.

A machine is never twice the same: what is compared is measured in turns, A B B A A B, and each ratio is
of one round. Every second round goes backwards, since a turn may pay for what the one before has left.
Medians of the rounds leave out the one that somebody else's work fell into.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TypeVar

ResultT = TypeVar("ResultT")

ROUND_COUNT_MIN = 3
"""Of which the median is told."""


@dataclass(frozen=True, slots=True)
class Compared:
    """Ours beside the baseline: medians of the rounds, and the ratios of the single rounds."""

    value: float
    baseline: float
    ratios: tuple[float, ...]

    @classmethod
    def of(cls, ours: Sequence[float], baselines: Sequence[float]) -> "Compared":
        """Compares the rounds' figures, of which there must be as many on both sides."""
        ratios = tuple(own / other for own, other in zip(ours, baselines, strict=True))
        return cls(median(ours), median(baselines), ratios)

    @property
    def ratio(self) -> float:
        """The median of the rounds' ratios."""
        return median(self.ratios)


async def interleaved(
    subjects: Mapping[str, Callable[[], Awaitable[ResultT]]],
    round_count: int,
    on_result: Callable[[str, int, ResultT], None] = lambda _name, _round, _result: None,
) -> dict[str, list[ResultT]]:
    """Gives each subject a turn in each round; the results by subject, in the order of the rounds."""
    results: dict[str, list[ResultT]] = {name: [] for name in subjects}
    for number in range(1, round_count + 1):
        for name, take_turn in list(subjects.items())[:: 1 if number % 2 else -1]:
            result = await take_turn()
            results[name].append(result)
            on_result(name, number, result)
    return results
