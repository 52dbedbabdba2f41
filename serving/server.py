"""A gRPC server with what every client expects: health, reflection, limits, and a drain on SIGTERM."""

import asyncio
import gc
import signal
from collections.abc import Callable, Sequence
from typing import Any, Protocol, cast

import grpc
import structlog
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection
from prometheus_client import start_http_server

from serving.draining import REFUSING_SHARE, Gate
from serving.interceptor import Furnishing
from serving.onlookers import Health, Onlookers, Reflection
from serving.validation import REQUEST_BYTES_MAX

log = structlog.get_logger(__name__)

DRAIN_SECONDS_MAX = 10.0
"""Unless told otherwise: how long calls in flight may take after SIGTERM. With what Gate waits for
before, below the 30 s that orchestrators usually grant."""

METRICS_HOST = "127.0.0.1"

HEALTH = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name

GARBAGE_THRESHOLDS = (10_000, 2, 2)
"""Python's own are for small programs: with 64 calls in flight it would look through all that they
hold every ten calls. Each call leaves one small cycle of gRPC's, a few megabytes between two looks.

Every ninth look is at everything. It takes the cycles of calls that were in flight at an earlier look,
and gives back the tuples that Python keeps for later: `tuple(... for ...)` adds one, up to 2,000 of each
length. A process that seldom did so would grow for hours, by some five megabytes, as if it leaked.
"""

_OPTIONS: list[tuple[str, int]] = [
    ("grpc.so_reuseport", 1),  # several processes share the port, the kernel spreads connections
    # A little above our own limit, so that an oversized request gets an answer that names it.
    ("grpc.max_receive_message_length", 4 * REQUEST_BYTES_MAX),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    # Without it a dead peer is noticed only after a minute, whatever keepalive_timeout says.
    ("grpc.http2.ping_timeout_ms", 5_000),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
    # Connections are renewed now and then, so that clients find processes that were added.
    ("grpc.max_connection_age_ms", 600_000),
    ("grpc.max_connection_age_grace_ms", 30_000),
    # Beyond a thousand calls that wait to be taken up, gRPC by itself cancels them without a reason.
    # Here they wait, and our own queues say when they are full. (max_concurrent_streams would refuse,
    # just as tersely, what a client sends before it has heard of the limit.)
    ("grpc.server.max_pending_requests", 50_000),
    ("grpc.server.max_pending_requests_hard_limit", 50_000),
]


class CannotServe(Exception):
    """The process cannot do its work as it is configured; the message says why."""


class Part(Protocol):
    """Something that a server runs beside its servicers: a committer, a worker."""

    async def start(self) -> None:
        """Begins; returns when it works."""
        ...

    async def drain(self) -> None:
        """Takes nothing new and returns when all that was begun is done."""
        ...


class GrpcServer:
    """A server of the given services. `register` adds the servicers to it.

    full_names: of the services, as in the protos; reflection tells them and health answers for them.
    drain_seconds_max: how long calls in flight may take once it is drained.
    """

    def __init__(
        self,
        address: str,
        full_names: Sequence[str],
        register: Callable[[grpc.aio.Server], None],
        *,
        drain_seconds_max: float = DRAIN_SECONDS_MAX,
    ) -> None:
        self._full_names = full_names
        self._drain_seconds_max = drain_seconds_max
        self._onlookers = Onlookers()
        self._health = Health(self._onlookers)
        self._gate = Gate(refusing_seconds_max=drain_seconds_max * REFUSING_SHARE)
        self._server = grpc.aio.server(options=_OPTIONS)
        register(cast("grpc.aio.Server", Furnishing(self._server, self._gate)))
        self._add(HEALTH, self._health.handlers())
        reflected = Reflection((*full_names, HEALTH, reflection.SERVICE_NAME), self._onlookers)
        # v1 is the same on the wire as v1alpha, which is all that grpcio-reflection ships.
        for name in (reflection.SERVICE_NAME, "grpc.reflection.v1.ServerReflection"):
            self._add(name, reflected.handlers())
        self.port = self._listen(address)

    def _listen(self, address: str) -> int:
        try:
            return self._server.add_insecure_port(address)
        except RuntimeError as error:
            raise CannotServe(f"cannot listen on {address}: no such address, or it is in use") from error

    def _add(self, full_name: str, handlers: dict[str, Any]) -> None:
        generic = grpc.method_handlers_generic_handler(full_name, handlers)
        self._server.add_generic_rpc_handlers((generic,))

    async def start(self) -> None:
        """Listens and says SERVING."""
        await self._server.start()
        await self.say_well()

    async def drain(self) -> None:
        """Says NOT_SERVING, refuses new calls, and returns when those in flight are answered.

        Only when no more come does it stop to listen: gRPC cancels without a reason what it has not yet
        handed over by then.
        """
        await self._health.enter_graceful_shutdown()
        await self._gate.shut()
        # They watched the drain from its beginning, and gRPC would wait for them as for any call.
        self._onlookers.send_off()
        await self._server.stop(self._drain_seconds_max)

    async def say_well(self) -> None:
        """Answers health checks with SERVING."""
        await self._tell(health_pb2.HealthCheckResponse.SERVING)

    async def say_unwell(self) -> None:
        """Answers health checks with NOT_SERVING; calls are still taken."""
        await self._tell(health_pb2.HealthCheckResponse.NOT_SERVING)

    async def _tell(self, status: Any) -> None:
        for name in ("", *self._full_names):
            await self._health.set(name, status)


async def run(parts: Sequence[Part], *, metrics_port: int = 0) -> None:
    """Starts the parts in order, waits for SIGTERM or SIGINT, and drains them in reverse order."""
    asked_to_stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked_to_stop.set)
    if metrics_port:
        _serve_metrics(metrics_port)
    for part in parts:
        await part.start()
    spare_what_stays()
    log.info("serving")
    await asked_to_stop.wait()
    log.info("draining")
    for part in reversed(parts):
        await part.drain()
    log.info("stopped")


def spare_what_stays() -> None:
    """Has the garbage collector leave alone what was made so far: modules and descriptors, for good.

    To look through all of it takes 30 ms, in which no call is answered.
    """
    gc.collect()
    gc.freeze()
    # Python looks at everything only once what is new is a quarter of what its last such look has left.
    # That one left what is frozen now: 50,000 objects would be waited for.
    gc.collect()
    gc.set_threshold(*GARBAGE_THRESHOLDS)


def _serve_metrics(port: int) -> None:
    try:
        start_http_server(port, addr=METRICS_HOST)
    except OSError as error:
        raise CannotServe(f"cannot serve metrics on {METRICS_HOST}:{port}: {error.strerror}") from error
