"""Load from processes of its own, and what the servers' processes spent meanwhile."""

import asyncio
import json
import math
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, ClassVar

from benchmarks.processor_time import TICK_SECONDS, difference, processor_seconds

WARM_UP_SECONDS = 0.5
REPORT_SECONDS_MAX = 120.0


@dataclass(frozen=True, slots=True)
class Load:
    """Calls of one method, so many in flight at a time.

    kind, arguments: a function of `shoppers` and what it is given. is_repeatable: the same requests may
    be sent again and again, which only queries may be. in_flight_count: of all connections together;
    calls_per_second: at fixed times instead, however many are in flight then.
    """

    address: str
    path: str
    kind: str
    arguments: Mapping[str, Any]
    is_repeatable: bool
    CLIENT: ClassVar[str] = "benchmarks.load_client"
    IN_FLIGHT: ClassVar[int] = 128
    CONNECTIONS: ClassVar[int] = 4

    in_flight_count: int = IN_FLIGHT
    connection_count: int = CONNECTIONS
    calls_per_second: float = 0

    def in_flight(self, count: int) -> "Load":
        """The same with so many in flight."""
        return replace(self, in_flight_count=count, connection_count=min(count, self.CONNECTIONS))

    def to(self, address: str, path: str) -> "Load":
        """The same requests, sent elsewhere."""
        # Nothing is carried out there, so that nothing can be carried out twice.
        return replace(self, address=address, path=path, is_repeatable=True)


@dataclass(frozen=True, slots=True)
class MgetLoad:
    """MGET after MGET, by redis-py in one process. batches: the keys of each."""

    CLIENT: ClassVar[str] = "benchmarks.mget_client"

    redis_url: str
    batches: Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True)
class LagWatch:
    """No load, but a look at how far the views of a generation are behind: see lag_client."""

    CLIENT: ClassVar[str] = "benchmarks.lag_client"

    database_url: str
    redis_url: str
    generation: int


AnyLoad = Load | MgetLoad | LagWatch


@dataclass(frozen=True, slots=True)
class Measured:
    """What became of a load within a span of time.

    latencies_seconds: of each call, sorted. processor_seconds: used by each of the processes watched.
    sent_count: calls before and after the span included; client_seconds: the client's processor time for
    them.
    """

    span_seconds: float
    latencies_seconds: Sequence[float]
    answer_bytes: int
    sent_count: int
    processor_seconds: Mapping[str, float] = field(default_factory=dict)
    client_seconds: float = 0.0

    def __str__(self) -> str:
        spent = ", ".join(f"{name} {self.processor_us(name):.0f}" for name in self.processor_seconds)
        rate, p99_ms = f"{self.per_second:,.0f}/s", f"{self.latency_ms(0.99):.1f} ms"
        return f"{rate}, p99 {p99_ms}; CPU us each: {spent}, client {self.client_us:.0f}"

    @property
    def count(self) -> int:
        """Calls answered within the span."""
        return len(self.latencies_seconds)

    @property
    def per_second(self) -> float:
        """Calls answered a second."""
        return self.count / self.span_seconds

    @property
    def client_us(self) -> float:
        """Processor time of the client for one call, in microseconds."""
        return self.client_seconds / self.sent_count * 1e6

    @property
    def answer_bytes_each(self) -> int:
        """Bytes of an answer."""
        return round(self.answer_bytes / self.count)

    def processor_us(self, *names: str) -> float:
        """Processor time of these processes for one call, in microseconds; a tick at least."""
        seconds = sum(self.processor_seconds[name] for name in names)
        return max(seconds, TICK_SECONDS) / self.count * 1e6

    def latency_ms(self, share: float) -> float:
        """The time that `share` of all calls do not exceed, in milliseconds."""
        return quantile_ms(self.latencies_seconds, share)


def spent_of(measured: Sequence[Measured]) -> dict[str, list[float]]:
    """Processor time for a call, of each process that was watched and of the client, round by round."""
    names = measured[0].processor_seconds
    spent = {f"{name}_us": [each.processor_us(name) for each in measured] for name in names}
    return {**spent, "client_us": [each.client_us for each in measured]}


def quantile_ms(sorted_seconds: Sequence[float], share: float) -> float:
    """The smallest time that `share` of all do not exceed, in milliseconds."""
    return sorted_seconds[math.ceil(share * len(sorted_seconds)) - 1] * 1000


async def measure(
    loads: Sequence[AnyLoad], span_seconds: float, watched: Mapping[str, Iterable[int]]
) -> list[Measured]:
    """Puts all loads on at once, each from a process of its own, for a span of time.

    watched: process ids by the name under which their processor time is told; the same for each load.

    Raises:
        LoadFailed: a call failed, or requests were too few.
    """
    clients = [await _Client.started(load) for load in loads]
    try:
        for client in clients:
            await client.until_ready()
        begin = time.monotonic() + WARM_UP_SECONDS
        for client in clients:
            client.let_go(begin, begin + span_seconds)
        before = await _look(begin, watched)
        after = await _look(begin + span_seconds, watched)
        used = difference(before, after)
        reports = [await client.report() for client in clients]
        if any(report.get("is_used_up") for report in reports):
            raise LoadFailed("the requests were used up before the end")
    finally:
        for client in clients:
            client.kill()
    return [
        Measured(
            span_seconds=span_seconds,
            latencies_seconds=sorted(report["seconds"]),
            answer_bytes=report["answer_bytes"],
            sent_count=report["sent_count"],
            processor_seconds=used,
            client_seconds=report.get("client_seconds", 0.0),
        )
        for report in reports
    ]


async def _look(moment: float, watched: Mapping[str, Iterable[int]]) -> dict[str, float]:
    await asyncio.sleep(max(0.0, moment - time.monotonic()))
    return processor_seconds(watched)


class LoadFailed(Exception):
    """A client could not put its load on; its words say why."""


class _Client:
    """A running load_client."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def started(cls, load: AnyLoad) -> "_Client":
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", load.CLIENT),
            # As each server has: Linux may share the processors among sessions, and the clients of one
            # session would then keep each other waiting for what is measured.
            start_new_session=True,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        client = cls(process)
        client._say(json.dumps(asdict(load)))
        return client

    async def until_ready(self) -> None:
        assert self._process.stdout is not None
        if await self._process.stdout.readline() != b"ready\n":
            raise await self._failure()

    def let_go(self, begin: float, end: float) -> None:
        self._say(f"{begin} {end}")

    async def report(self) -> dict[str, Any]:
        async with asyncio.timeout(REPORT_SECONDS_MAX):
            output, errors = await self._process.communicate()
        if self._process.returncode:
            raise LoadFailed(errors.decode())
        report: dict[str, Any] = json.loads(output)
        if not report["seconds"]:
            raise LoadFailed("no call was answered")
        return report

    def kill(self) -> None:
        if self._process.returncode is None:
            self._process.kill()

    async def _failure(self) -> LoadFailed:
        _, errors = await self._process.communicate()
        return LoadFailed(errors.decode())

    def _say(self, text: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{text}\n".encode())
