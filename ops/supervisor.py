"""Runs all services as processes of ours: starts, waits for health, restarts what dies, stops in order.

    environment = {**os.environ, "DATABASE_URL": ..., "REDIS_URL": ..., **free_addresses()}
    async with Deployment(environment, workers=2, on_log=print) as shop:
        channel = grpc.aio.insecure_channel(shop.command_address)
        shop["command_service#1"].kill()      # restarted at once
        await shop.wait_until_ready()
        shop["query_service#0"].pause()       # until .resume()

The servers must run and be migrated: see ops.servers.
"""

import asyncio
import contextlib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import groupby
from typing import Self

import grpc
import httpx
from grpc_health.v1 import health_pb2
from pydantic import TypeAdapter, ValidationError

from ops.service_process import LogLine, LogSink, ServiceProcess
from ops.services import SERVICES, Service
from serving.draining import REFUSING_SHARE
from serving.server import DRAIN_SECONDS_MAX
from serving.settings import Seconds

# Importing everything takes a loaded machine of one core ten seconds for all services together.
READY_SECONDS_MAX = 60.0
READY_POLL_SECONDS = 0.05
HEALTH_SECONDS_MAX = 2.0
# Longer than transaction_timeout: what has begun ends by itself, one way or the other.
END_SECONDS_MIN = 20.0
# For workers and committers, which end when the last call is answered.
AFTER_CALLS_SECONDS = 5.0
RESTART_SECONDS_MIN = 0.2
RESTART_SECONDS_MAX = 10.0
# Who ran this long was well: its next end is a new story, not a part of the last one.
WELL_SECONDS = 30.0

SUPERVISOR = "supervisor"

_SECONDS: TypeAdapter[float] = TypeAdapter(Seconds)


class ServiceDidNotStart(Exception):
    """A service ended, or hung, before it was ready; its last log lines say why.

    summary: the same without those lines, for whoever has seen them.
    """

    def __init__(self, summary: str, last_words: str) -> None:
        super().__init__(f"{summary}:\n{last_words}")
        self.summary = summary


class AddressInUse(Exception):
    """Somebody listens where a service is about to."""


class WrongAddress(Exception):
    """A service is told to listen on what is no host:port."""


class Deployment:
    """All services on this machine; `shop["command_service#0"]` is one worker of one of them.

    environment: configures the services; DATABASE_URL and REDIS_URL are required. workers: processes
    of each service that can have several. on_log: told about each line that one of them writes, and
    about what the supervisor does, under the source `supervisor`.
    """

    def __init__(
        self,
        environment: Mapping[str, str],
        *,
        workers: int = 1,
        on_log: LogSink = lambda _line: None,
        services: Sequence[Service] = SERVICES,
    ) -> None:
        self._environment = dict(environment)
        self._on_log = on_log
        self._services = services
        self._workers = {
            service: [self._worker(service, i) for i in range(workers if service.is_scaled else 1)]
            for service in services
        }
        self._keepers: list[asyncio.Task[None]] = []
        self._is_stopping = False

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self.stop()

    def __getitem__(self, name: str) -> ServiceProcess:
        return next(process for process in self.processes if process.name == name)

    @property
    def processes(self) -> list[ServiceProcess]:
        """Every worker of every service."""
        return [process for workers in self._workers.values() for process in workers]

    @property
    def command_address(self) -> str:
        """Where commands go, host:port."""
        return self.address("command_service")

    @property
    def query_address(self) -> str:
        """Where queries go, host:port."""
        return self.address("query_service")

    @property
    def history_address(self) -> str:
        """Where explanations come from, host:port."""
        return self.address("history_service")

    def address(self, module: str) -> str:
        """The address of a service, host:port.

        Raises:
            KeyError: there is no such service, or it has no address.
        """
        for service in self._services:
            address = service.address(self._environment)
            if service.module == module and address is not None:
                return address
        raise KeyError(module)

    async def start(self) -> None:
        """Starts all services and returns when they are ready; leaves none behind if one fails.

        Raises:
            ServiceDidNotStart: a service ended or hung.
            AddressInUse: somebody listens on an address already.
        """
        await self.refuse_used_addresses()
        try:
            for process in self.processes:
                await process.start()
            await self.wait_until_ready()
        except BaseException:
            self.kill()
            await self.stop()
            raise
        self._keepers = [asyncio.create_task(self._keep_running(p)) for p in self.processes]

    async def wait_until_ready(self) -> None:
        """Waits until every worker says that it is serving, and every service's health check too.

        Raises:
            ServiceDidNotStart: that does not happen.
        """
        try:
            async with asyncio.timeout(READY_SECONDS_MAX):
                for service in self._services:
                    while not await self._is_ready(service):  # noqa: ASYNC110 asked of another process
                        await asyncio.sleep(READY_POLL_SECONDS)
        except TimeoutError:
            raise self._unready() from None

    async def stop(self) -> None:
        """Stops all services in order, each after it has finished what it had begun."""
        self._is_stopping = True
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        seconds_max = end_seconds_max(self._environment)
        by_stage = sorted(self._services, key=lambda service: service.stop_stage)
        for _, services in groupby(by_stage, key=lambda service: service.stop_stage):
            workers = [process for service in services for process in self._workers[service]]
            await asyncio.gather(*(p.end(seconds_max=seconds_max) for p in workers))

    def kill(self) -> None:
        """Kills every worker at once; stop() then has nothing to wait for."""
        self._is_stopping = True
        for process in self.processes:
            if process.is_running:
                process.kill()

    def _worker(self, service: Service, index: int) -> ServiceProcess:
        return ServiceProcess(
            f"{service.module}#{index}",
            service.module,
            environment=service.environment(self._environment, index),
            on_log=self._on_log,
        )

    async def refuse_used_addresses(self) -> None:
        """Looks whether the services could listen; start() does so too.

        Raises:
            AddressInUse: somebody listens on an address already.
            WrongAddress: it is none.
        """
        # SO_REUSEPORT would let us share the port with another shop's services, half the calls each.
        for service in self._services:
            address = service.address(self._environment)
            if address is None:
                continue
            if not address.rpartition(":")[2].isdecimal():
                raise WrongAddress(f"{service.prefix}_ADDRESS is {address!r}; it must be host:port")
            if await _is_listening(address):
                raise AddressInUse(
                    f"{address} is in use; stop whoever listens there, or set {service.prefix}_ADDRESS"
                )

    async def _is_ready(self, service: Service) -> bool:
        # Health is asked at the port, which workers share: each says so for itself as well, if it may.
        says_serving = service.says_serving(self._environment)
        for process in self._workers[service]:
            if not process.is_running and not self._keepers:
                raise ServiceDidNotStart(f"{process.name} ended while starting", process.last_words)
            if not (process.is_serving if says_serving else process.is_running):
                return False
        address = service.address(self._environment)
        return address is None or await is_serving(address, is_http=service.is_http)

    def _unready(self) -> ServiceDidNotStart:
        unready = [process for process in self.processes if not process.is_serving] or self.processes
        names = ", ".join(process.name for process in unready)
        return ServiceDidNotStart(
            f"not ready after {READY_SECONDS_MAX:.0f} s: {names}",
            "\n".join(f"{process.name}: {process.last_words}" for process in unready),
        )

    async def _keep_running(self, process: ServiceProcess) -> None:
        """Starts a worker again whenever it ends, ever more slowly if it does so in a row."""
        clock = asyncio.get_running_loop().time
        pause_seconds = RESTART_SECONDS_MIN
        while True:
            start_seconds = clock()
            status = await process.wait()
            if self._is_stopping:
                return
            if clock() - start_seconds > WELL_SECONDS:
                pause_seconds = RESTART_SECONDS_MIN
            facts = {"exit_status": status, "restart_after_seconds": pause_seconds}
            self.say(f"{process.name} ended by itself: restarting", **facts)
            await asyncio.sleep(pause_seconds)
            pause_seconds = min(2 * pause_seconds, RESTART_SECONDS_MAX)
            try:
                await process.start()
            except OSError as error:
                # No memory, perhaps: the next round finds the same end again, and tries again.
                facts = {"restart_after_seconds": pause_seconds}
                self.say(f"{process.name} cannot be started: {error}", **facts)

    def say(self, event: str, **facts: float) -> None:
        """Logs, as the supervisor, that something went wrong and what was done about it."""
        entry = {"timestamp": datetime.now(UTC).isoformat(), "level": "error", "event": event, **facts}
        self._on_log(LogLine(SUPERVISOR, json.dumps(entry)))


def end_seconds_max(environment: Mapping[str, str]) -> float:
    """How long a service may take to end after SIGTERM: no shorter than it may take for its calls."""
    try:
        drain_seconds = _SECONDS.validate_python(environment.get("DRAIN_SECONDS_MAX"))
    except ValidationError:
        # The services say what is wrong with it, unless it is not set.
        drain_seconds = DRAIN_SECONDS_MAX
    return max(END_SECONDS_MIN, (1 + REFUSING_SHARE) * drain_seconds + AFTER_CALLS_SECONDS)


async def is_serving(address: str, *, is_http: bool = False) -> bool:
    """Whether the service at `address` answers its health check with SERVING."""
    return await (_is_well_by_http(address) if is_http else _is_well_by_grpc(address))


async def _is_well_by_http(address: str) -> bool:
    async with httpx.AsyncClient(timeout=HEALTH_SECONDS_MAX) as client:
        try:
            answer = await client.get(f"http://{address}/healthz")
        except httpx.HTTPError:
            return False
    return answer.is_success


async def _is_well_by_grpc(address: str) -> bool:
    # A channel of its own each time: a shared one would wait a second after each failure.
    options = (("grpc.use_local_subchannel_pool", 1),)
    async with grpc.aio.insecure_channel(address, options=options) as channel:
        check = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        try:
            answer = await check(health_pb2.HealthCheckRequest(), timeout=HEALTH_SECONDS_MAX)
        except grpc.aio.AioRpcError:
            return False
    return answer.status == health_pb2.HealthCheckResponse.SERVING


async def _is_listening(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        async with asyncio.timeout(HEALTH_SECONDS_MAX):
            _, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    except OSError:
        # TimeoutError is one too: whoever has the address does not say a word.
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True
