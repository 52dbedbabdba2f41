"""What is looked at while the load lasts, and what it came to: sums, slopes, and what grew."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.process_usage import Usage

BOUNDED_TABLES = (
    "requests",
    "carts that are kept",
    "cart_lines",
    "payment errands",
    "locations",
    "skus",
)
"""What must not grow with the orders."""

GROWTH_MAX = 1.25
ROWS_GROWTH_MIN = 200
"""A table of few rows may have twice as many and means nothing by it."""
FILES_GROWTH_MAX = 8
SESSIONS_GROWTH_MAX = 3


@dataclass(frozen=True, slots=True)
class Sample:
    """What was seen at a moment, in minutes since the load began.

    usage: of our processes. rows: whatever is counted, KiB of keys too. servers_kib: memory of
    PostgreSQL and Valkey that holds no data.
    """

    minutes: float
    order_count: int
    usage: Mapping[str, Usage]
    rows: Mapping[str, int]
    session_count: int
    servers_kib: Mapping[str, int]

    @property
    def memory_kib(self) -> dict[str, int]:
        """All memory that has to be flat, by whose it is."""
        return {name: each.resident_kib for name, each in self.usage.items()} | dict(self.servers_kib)


@dataclass(frozen=True, slots=True)
class Slope:
    """Growth of memory by least squares over the second half, with its standard error."""

    name: str
    kib_per_minute: float
    error_kib_per_minute: float
    first_kib: int
    middle_kib: int
    last_kib: int


def second_half(samples: Sequence[Sample]) -> Sequence[Sample]:
    """When everything has been called once and caches are full."""
    return samples[len(samples) // 2 :]


def slopes(samples: Sequence[Sample]) -> list[Slope]:
    """Of each process of ours, and of what servers keep for themselves."""
    later = second_half(samples)
    minutes = [sample.minutes for sample in later]
    found = []
    for name, first in samples[0].memory_kib.items():
        kib = [sample.memory_kib[name] for sample in later]
        growth, error = least_squares(minutes, kib)
        found.append(Slope(name, growth, error, first, kib[0], kib[-1]))
    return found


def least_squares(xs: Sequence[float], ys: Sequence[float]) -> tuple[float, float]:
    """The slope of ys over xs, and its standard error; 0 and 0 for fewer than three points."""
    if len(xs) < 3:
        return 0.0, 0.0
    slope, intercept = statistics.linear_regression(xs, ys)
    rest = sum((y - intercept - slope * x) ** 2 for x, y in zip(xs, ys, strict=True))
    spread = sum((x - statistics.fmean(xs)) ** 2 for x in xs)
    return slope, (rest / (len(xs) - 2) / spread) ** 0.5


def grown(samples: Sequence[Sample]) -> dict[str, tuple[float, float]]:
    """Of BOUNDED_TABLES those that grew: mean rows in the third quarter, and in the last."""
    later = second_half(samples)
    third, last = later[: len(later) // 2], later[len(later) // 2 :]
    means = {
        name: (
            statistics.fmean(s.rows[name] for s in third),
            statistics.fmean(s.rows[name] for s in last),
        )
        for name in BOUNDED_TABLES
    }
    return {
        name: (before, after)
        for name, (before, after) in means.items()
        if after > GROWTH_MAX * before and after - before > ROWS_GROWTH_MIN
    }


def rows_per_order(samples: Sequence[Sample]) -> dict[str, float]:
    """How many rows each other table takes for an order, in the second half."""
    later = second_half(samples)
    orders = max(later[-1].order_count - later[0].order_count, 1)
    return {
        name: (later[-1].rows[name] - later[0].rows[name]) / orders
        for name in sorted(later[-1].rows)
        if name not in BOUNDED_TABLES and later[-1].rows[name] != later[0].rows[name]
    }


def grown_faster(samples: Sequence[Sample]) -> dict[str, tuple[float, float]]:
    """Of all else, what grew by more an order in the last quarter than in the third, and by how much."""
    later = second_half(samples)
    middle = len(later) // 2
    third, last = (later[0], later[middle]), (later[middle], later[-1])
    gains = {
        name: (_gain_per_order(name, *third), _gain_per_order(name, *last))
        for name in samples[0].rows
        if name not in BOUNDED_TABLES
    }
    order_count = last[1].order_count - last[0].order_count
    return {
        name: (before, after)
        for name, (before, after) in gains.items()
        if after > GROWTH_MAX * before and (after - before) * order_count > ROWS_GROWTH_MIN
    }


def _gain_per_order(name: str, begin: Sample, end: Sample) -> float:
    return (end.rows[name] - begin.rows[name]) / max(end.order_count - begin.order_count, 1)


def more_files(samples: Sequence[Sample]) -> dict[str, tuple[int, int]]:
    """Processes with more open files in the last quarter than ever in the half before it."""
    later = second_half(samples)
    last = later[len(later) // 2 :]
    before = samples[len(samples) // 4 : len(samples) * 3 // 4]
    peaks = {
        name: (
            max(sample.usage[name].file_count for sample in before),
            max(sample.usage[name].file_count for sample in last),
        )
        for name in samples[0].usage
    }
    return {name: pair for name, pair in peaks.items() if pair[1] > pair[0] + FILES_GROWTH_MAX}


def has_more_sessions(samples: Sequence[Sample]) -> bool:
    """Whether the database has more sessions of ours at the end than in the middle."""
    later = second_half(samples)
    middle = max(sample.session_count for sample in later[: len(later) // 2])
    return max(s.session_count for s in later[len(later) // 2 :]) > middle + SESSIONS_GROWTH_MAX
