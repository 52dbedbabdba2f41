"""The server under more calls than it can take up at once, and what it counts."""

import asyncio
from collections import Counter
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from prometheus_client import REGISTRY

from serving.draining import Draining
from serving.server import GrpcServer
from shopkeeper.cart.v1.cart_history_service_pb2 import (
    ExplainCartTotalRequest,
    ExplainCartTotalResponse,
)
from shopkeeper.cart.v1.cart_history_service_pb2_grpc import (
    CartHistoryServiceServicer,
    CartHistoryServiceStub,
    add_CartHistoryServiceServicer_to_server,
)
from tests.eventually import eventually

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


class _NeverAnswers(CartHistoryServiceServicer):
    async def ExplainCartTotal(  # noqa: N802 gRPC dictates the name
        self, request: ExplainCartTotalRequest, context: Any
    ) -> ExplainCartTotalResponse:
        """Waits for ever."""
        await asyncio.Event().wait()
        raise AssertionError("nobody sets it")


async def test_a_call_whose_caller_gave_up_is_counted_as_cancelled() -> None:
    path = "/shopkeeper.cart.v1.CartHistoryService/ExplainCartTotal"

    def register(server: grpc.aio.Server) -> None:
        add_CartHistoryServiceServicer_to_server(_NeverAnswers(), server)

    async def is_counted() -> bool:
        labels = {"method": path, "code": "CANCELLED"}
        return REGISTRY.get_sample_value("grpc_server_handled_total", labels) == 1

    server = GrpcServer("127.0.0.1:0", [], register)
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        call = CartHistoryServiceStub(channel).ExplainCartTotal(
            ExplainCartTotalRequest(cart_id="cart"), timeout=0.5
        )
        assert await call.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        await eventually(is_counted, seconds=30)
    await server.drain()
    assert REGISTRY.get_sample_value("grpc_server_in_flight", {"method": path}) == 0


async def test_a_drain_gives_up_a_call_in_flight_after_what_is_set() -> None:
    def register(server: grpc.aio.Server) -> None:
        add_CartHistoryServiceServicer_to_server(_NeverAnswers(), server)

    server = GrpcServer("127.0.0.1:0", [], register, drain_seconds_max=0.1)
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        call = CartHistoryServiceStub(channel).ExplainCartTotal(ExplainCartTotalRequest(cart_id="cart"))

        async def is_inside() -> bool:
            return server._gate._inside_count == 1

        await eventually(is_inside, seconds=30)
        # Unless told otherwise it takes fifteen.
        async with asyncio.timeout(10):
            await server.drain()
        assert await call.code() in (grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAVAILABLE)


async def test_a_drain_sends_off_who_watches_the_health_or_keeps_reflection_open() -> None:
    server = GrpcServer("127.0.0.1:0", [], lambda _server: None)
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        health: Any = health_pb2_grpc.HealthStub(channel)
        reflection: Any = reflection_pb2_grpc.ServerReflectionStub(channel)  # type: ignore[arg-type]  # asyncio's as well
        watch = health.Watch(health_pb2.HealthCheckRequest())
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
        question = reflection.ServerReflectionInfo()
        await question.write(reflection_pb2.ServerReflectionRequest(list_services=""))
        assert (await question.read()).HasField("list_services_response")
        await server.drain()
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        for call in (watch, question):
            # Were they waited for, gRPC would cut them off in the end, and not say this.
            assert await call.code() is grpc.StatusCode.UNAVAILABLE
            assert await call.details() == Draining().message


@pytest.mark.parametrize(
    ("path", "kind", "asked"),
    [
        ("/grpc.health.v1.Health/Check", "unary_unary", "grpc.health.v1.HealthCheckRequest"),
        ("/grpc.health.v1.Health/Watch", "unary_stream", "grpc.health.v1.HealthCheckRequest"),
        *(
            (
                f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
                "stream_stream",
                "grpc.reflection.v1alpha.ServerReflectionRequest",
            )
            for version in ("v1", "v1alpha")
        ),
    ],
)
async def test_what_onlookers_send_and_nobody_can_read_is_their_mistake(
    path: str, kind: str, asked: str, caplog: pytest.LogCaptureFixture
) -> None:
    server = GrpcServer("127.0.0.1:0", [], lambda _server: None)
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        ask: Any = getattr(channel, kind)(path)
        call = ask(iter([b"\xff"]) if kind == "stream_stream" else b"\xff", timeout=30)
        assert await call.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert await call.details() == f"the request is not a {asked}"
    await server.drain()
    assert caplog.records == []
