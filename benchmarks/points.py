"""Points of a curve: what came of a load of some size."""

from collections.abc import Mapping
from typing import NamedTuple


class Point(NamedTuple):
    """What came of so many calls in flight: medians of the rounds."""

    in_flight_count: int
    per_second: float
    p50_ms: float
    p99_ms: float


class Curve(NamedTuple):
    """Ours, and a bare grpc.aio echo of the same bytes."""

    ours: list[Point]
    echo: list[Point]


Curves = Mapping[str, Curve]
"""By what is asked for."""
