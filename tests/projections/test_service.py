"""The service as a process: its own start, its refusal to start, and its end."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import grpc
import redis
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from ops.embedded import EmbeddedValkey
from ops.ports import free_port
from read_models.connections import Connection
from tests.eventually import eventually
from tests.read_side import Log, has_arrived, stock_moved


@contextmanager
def process(database_url: str, redis_url: str, address: str) -> Iterator[subprocess.Popen[str]]:
    environment = {
        **os.environ,
        "DATABASE_URL": database_url,
        "REDIS_URL": redis_url,
        "PROJECTIONS_ADDRESS": address,
    }
    command = [sys.executable, "-m", "projections"]
    with subprocess.Popen(
        command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    ) as started:
        try:
            yield started
        finally:
            started.kill()


async def test_it_projects_says_that_it_is_healthy_and_ends_when_asked(
    log: Log, connection: Connection, database_url: str, read_models_url: str
) -> None:
    last = log.record(stock_moved("MUG", 1))
    address = f"127.0.0.1:{free_port()}"

    with process(database_url, read_models_url, address) as service:
        await eventually(lambda: has_arrived(connection, last), seconds=30)
        async with grpc.aio.insecure_channel(address) as channel:
            health: Any = HealthStub(channel)
            answer = await health.Check(HealthCheckRequest())
            assert answer.status == HealthCheckResponse.SERVING
        service.send_signal(signal.SIGTERM)
        _, errors = service.communicate(timeout=20)
    assert service.returncode == 0, errors


def test_it_refuses_to_start_on_a_redis_that_may_evict(
    database_url: str, read_models_server: EmbeddedValkey, read_models_url: str
) -> None:
    with closing(redis.Redis.from_url(read_models_server.url)) as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        address = f"127.0.0.1:{free_port()}"
        with process(database_url, read_models_url, address) as service:
            _, errors = service.communicate(timeout=20)
        client.config_set("maxmemory-policy", "noeviction")
    assert service.returncode == 1
    assert "maxmemory-policy allkeys-lru; it must be noeviction" in errors
