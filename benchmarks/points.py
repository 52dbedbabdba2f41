"""Points of a curve: what came of a load of some size."""

from collections.abc import Mapping
from dataclasses import dataclass

ECHO_NAME = "bare grpc.aio echo"
"""The curve that the others stand beside."""


@dataclass(frozen=True, slots=True)
class Point:
    """What came of so many calls in flight."""

    in_flight_count: int
    per_second: float
    p50_ms: float
    p99_ms: float


Curves = Mapping[str, list[Point]]
"""By what is asked for."""
