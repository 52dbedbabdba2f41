"""Streams about the server itself, health and reflection, which nobody waits for when it stops.

Their callers keep them open for as long as they like.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from grpc_health.v1 import health_pb2
from grpc_health.v1._async import HealthServicer
from grpc_reflection.v1alpha import reflection, reflection_pb2

from serving.draining import Draining
from serving.interceptor import ServicerContext
from serving.validation import MessageT


class Onlookers:
    """Those who have such a stream open."""

    def __init__(self) -> None:
        self._limits: set[asyncio.Timeout] = set()
        self._end: float | None = None

    async def stay(self, stream: Awaitable[None], context: ServicerContext) -> None:
        """Serves a stream until it ends by itself, or all are sent off."""
        try:
            async with asyncio.timeout_at(self._end) as limit:
                self._limits.add(limit)
                try:
                    await stream
                finally:
                    self._limits.remove(limit)
        except TimeoutError:
            await context.abort(grpc.StatusCode.UNAVAILABLE, Draining().message)

    def send_off(self) -> None:
        """Ends their streams, and those that are still to come."""
        self._end = asyncio.get_running_loop().time()
        for limit in self._limits:
            limit.reschedule(self._end)


class Health(HealthServicer):
    """gRPC's health service; whoever watches is an onlooker."""

    def __init__(self, onlookers: Onlookers) -> None:
        super().__init__()
        self._onlookers = onlookers

    def handlers(self) -> dict[str, Any]:
        """Its methods, by their names; List, which grpcio lacks, is UNIMPLEMENTED."""
        serialize = health_pb2.HealthCheckResponse.SerializeToString
        return {
            "Check": grpc.unary_unary_rpc_method_handler(self._check, None, serialize),
            "Watch": grpc.unary_stream_rpc_method_handler(self._watch, None, serialize),
        }

    async def _check(self, body: bytes, context: ServicerContext) -> Any:
        return await self.Check(await _read(body, health_pb2.HealthCheckRequest, context), context)

    async def _watch(self, body: bytes, context: ServicerContext) -> None:
        await self.Watch(await _read(body, health_pb2.HealthCheckRequest, context), context)

    async def Watch(  # noqa: N802 gRPC dictates the name
        self, request: health_pb2.HealthCheckRequest, context: ServicerContext
    ) -> None:
        """Tells the state, and each that follows."""
        await self._onlookers.stay(super().Watch(request, context), context)


class Reflection:
    """gRPC's reflection service of what is named; whoever asks is an onlooker."""

    def __init__(self, full_names: tuple[str, ...], onlookers: Onlookers) -> None:
        # The stubs take its stream for a coroutine that returns one.
        self._servicer: Any = reflection.aio.ReflectionServicer(full_names)
        self._onlookers = onlookers

    def handlers(self) -> dict[str, Any]:
        """Its one method, by its name."""
        serialize = reflection_pb2.ServerReflectionResponse.SerializeToString
        handler: Any = grpc.stream_stream_rpc_method_handler(self._stay, None, serialize)
        return {"ServerReflectionInfo": handler}

    async def _stay(self, bodies: AsyncIterator[bytes], context: ServicerContext) -> None:
        await self._onlookers.stay(self._answer(bodies, context), context)

    async def _answer(self, bodies: AsyncIterator[bytes], context: ServicerContext) -> None:
        """Answers one request after the other."""
        requests = (
            await _read(body, reflection_pb2.ServerReflectionRequest, context) async for body in bodies
        )
        async for response in self._servicer.ServerReflectionInfo(requests, context):
            await context.write(response)


async def _read(body: bytes, message_type: type[MessageT], context: ServicerContext) -> MessageT:
    """The request. Left to gRPC, one that cannot be read is UNKNOWN, and a traceback in our log."""
    try:
        return message_type.FromString(body)
    except DecodeError:
        told = f"the request is not a {message_type.DESCRIPTOR.full_name}"
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, told)
