"""The shop as its clients see it: commands that take effect once, queries as fresh as is asked for."""

import asyncio
import math
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from time import perf_counter
from typing import Self
from uuid import uuid4

import grpc

from ops.wire.calls import Refused, Reply, Retries, Unary, answered, unary
from ops.wire.rpcs import AS_THINGS_ARE, CommandRequestT, RequestT, ResponseT, Rpc

TWICE_ONE_IN = 8
"""Every eighth command is sent twice: in turn at once, and again after it was answered."""


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the services listen, host:port each."""

    command: str
    query: str
    history: str


@dataclass(slots=True)
class Traffic:
    """What went over the wire."""

    command_seconds: list[float] = field(default_factory=list)
    query_seconds: list[float] = field(default_factory=list)
    retries: Retries = field(default_factory=Retries)
    sent_twice_count: int = 0
    different_replies: list[str] = field(default_factory=list)
    """The RPC of each command whose second answer was not its first, byte for byte."""


def quantile_ms(seconds: Sequence[float], share: float) -> float:
    """The smallest time that `share` of all do not exceed, in milliseconds; 0 of none at all."""
    if not seconds:
        return 0.0
    return sorted(seconds)[math.ceil(share * len(seconds)) - 1] * 1000


class Shop:
    """A client of all services; a context manager."""

    def __init__(self, addresses: Addresses) -> None:
        self.traffic = Traffic()
        self._exits = AsyncExitStack()
        self._commands = grpc.aio.insecure_channel(addresses.command)
        self._queries = grpc.aio.insecure_channel(addresses.query)
        self._history = grpc.aio.insecure_channel(addresses.history)
        self._calls: dict[str, Unary] = {}
        self._command_number = count(1)

    async def __aenter__(self) -> Self:
        for channel in (self._commands, self._queries, self._history):
            await self._exits.enter_async_context(channel)
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._exits.aclose()

    async def command(
        self, rpc: Rpc[CommandRequestT, ResponseT], request: CommandRequestT, *, actor: str
    ) -> ResponseT:
        """Has a command carried out once, however often it must be sent.

        Raises:
            Refused: the shop decided against it.
        """
        request.request_id = str(uuid4())
        call, body = self._call(self._commands, rpc.path), request.SerializeToString()
        send = partial(self._timed, self.traffic.command_seconds, call, body, actor)
        number = next(self._command_number)
        if number % TWICE_ONE_IN:
            reply = await send()
        else:
            reply = await self._twice(rpc.path, send, at_once=number // TWICE_ONE_IN % 2 == 0)
        return _read(reply, rpc.response_type)

    async def query(self, rpc: Rpc[RequestT, ResponseT], request: RequestT) -> ResponseT:
        """Asks the read models; its time counts, waiting for the freshness asked for included.

        Raises:
            Refused: there is no such thing.
        """
        call, body = self._call(self._queries, rpc.path), request.SerializeToString()
        return _read(await self._timed(self.traffic.query_seconds, call, body, ""), rpc.response_type)

    async def recall(self, rpc: Rpc[RequestT, ResponseT], request: RequestT) -> ResponseT:
        """Asks the history service, which answers from PostgreSQL.

        Raises:
            Refused: there is no such thing.
        """
        call, body = self._call(self._history, rpc.path), request.SerializeToString()
        return _read(await answered(call, body, "", self.traffic.retries), rpc.response_type)

    async def _twice(self, path: str, send: Callable[[], Awaitable[Reply]], *, at_once: bool) -> Reply:
        self.traffic.sent_twice_count += 1
        if at_once:
            first, second = await asyncio.gather(send(), send())
        else:
            first, second = await send(), await send()
        if first != second and path not in AS_THINGS_ARE:
            self.traffic.different_replies.append(path)
        return first

    async def _timed(self, seconds: list[float], call: Unary, body: bytes, actor: str) -> Reply:
        begun = perf_counter()
        reply = await answered(call, body, actor, self.traffic.retries)
        seconds.append(perf_counter() - begun)
        return reply

    def _call(self, channel: grpc.aio.Channel, path: str) -> Unary:
        if path not in self._calls:
            self._calls[path] = unary(channel, path)
        return self._calls[path]


def _read(reply: Reply, response_type: type[ResponseT]) -> ResponseT:
    if reply.is_refusal:
        raise Refused(reply)
    return response_type.FromString(reply.body)
