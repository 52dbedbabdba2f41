"""Streams about the server itself, health and reflection, which nobody waits for when it stops.

Their callers keep them open for as long as they like.
"""

import asyncio
from collections.abc import Awaitable
from typing import Any

import grpc
from grpc_health.v1 import health_pb2
from grpc_health.v1._async import HealthServicer
from grpc_reflection.v1alpha import reflection

from serving.draining import Draining
from serving.interceptor import ServicerContext


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

    async def answer(self, requests: Any, context: ServicerContext) -> None:
        """Answers one request after the other."""
        await self._onlookers.stay(self._answer(requests, context), context)

    async def _answer(self, requests: Any, context: ServicerContext) -> None:
        async for response in self._servicer.ServerReflectionInfo(requests, context):
            await context.write(response)
