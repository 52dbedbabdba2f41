"""What is counted of calls: plain numbers while they are served, metrics when Prometheus asks.

The metrics of prometheus_client take a lock each time, four times a call. Here one thread counts, the
event loop's, and another one reads: what it sees is at most a call behind.
"""

from bisect import bisect_left
from collections.abc import Iterator
from functools import cache
from itertools import accumulate

import grpc
from prometheus_client import REGISTRY
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

_BUCKET_ENDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 30.0, float("inf"))
_END_NAMES = [*map(str, _BUCKET_ENDS[:-1]), "+Inf"]


class CallCounts:
    """The calls of one method. Counted by the event loop's thread alone."""

    __slots__ = ("bucket_counts", "count_by_code", "in_flight_count", "seconds_sum")

    def __init__(self) -> None:
        self.in_flight_count = 0
        self.count_by_code: dict[int, int] = {}
        self.bucket_counts = [0] * len(_BUCKET_ENDS)
        self.seconds_sum = 0.0

    def handled(self, code: int) -> None:
        """A call was answered. code: of gRPC, 0 for success."""
        self.count_by_code[code] = self.count_by_code.get(code, 0) + 1

    def took(self, seconds: float) -> None:
        """A call is over."""
        self.bucket_counts[bisect_left(_BUCKET_ENDS, seconds)] += 1
        self.seconds_sum += seconds


class CallMetrics(Collector):
    """The counts of all methods, as Prometheus reads them."""

    def __init__(self) -> None:
        self._counts: dict[str, CallCounts] = {}

    def of(self, method: str) -> CallCounts:
        """The counts of a method, named as on the wire: /package.Service/Method."""
        return self._counts.setdefault(method, CallCounts())

    def collect(self) -> Iterator[Metric]:
        """The metrics as they now are."""
        handled = CounterMetricFamily("grpc_server_handled", "RPCs answered.", labels=["method", "code"])
        seconds = HistogramMetricFamily(
            "grpc_server_handling_seconds", "Time to an answer.", labels=["method"]
        )
        in_flight = GaugeMetricFamily(
            "grpc_server_in_flight", "RPCs being worked on.", labels=["method"]
        )
        for method, counts in self._counts.items():
            for code, count in dict(counts.count_by_code).items():
                handled.add_metric([method, status_code(code).name], count)
            ends = zip(_END_NAMES, accumulate(counts.bucket_counts), strict=True)
            seconds.add_metric([method], list(ends), counts.seconds_sum)
            in_flight.add_metric([method], counts.in_flight_count)
        yield from (handled, seconds, in_flight)


@cache
def status_code(number: int) -> grpc.StatusCode:
    """The name of a code of gRPC."""
    return next(known for known in grpc.StatusCode if known.value[0] == number)


CALL_METRICS = CallMetrics()
REGISTRY.register(CALL_METRICS)
