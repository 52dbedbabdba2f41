"""The server under more calls than it can take up at once."""

import asyncio
from collections import Counter
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from serving.server import GrpcServer

CALL_COUNT = 6_000


async def test_a_flood_on_one_connection_waits_and_is_not_cancelled() -> None:
    server = GrpcServer("127.0.0.1:0", [], lambda _server: None)
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        calls = [stub.Check(health_pb2.HealthCheckRequest(), timeout=60) for _ in range(CALL_COUNT)]
        codes = Counter(await asyncio.gather(*(call.code() for call in calls)))
    await server.drain()
    assert codes == {grpc.StatusCode.OK: CALL_COUNT}
