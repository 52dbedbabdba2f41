"""The shop as the race calls it: over several connections, each command once."""

from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Self
from uuid import uuid4

import grpc

from ops.rpc import problem_of
from ops.wire.calls import Refused, Reply, Retries, answered, unary
from ops.wire.rpcs import CommandRequestT, RequestT, ResponseT, Rpc

ACTOR = "race"

KNOCK_SECONDS_MAX = 10.0
"""For a connection's first answer: whoever needs longer is away."""

# Without the first, grpc would have all channels share one connection, and so one process.
CHANNEL_OPTIONS = (
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.max_receive_message_length", 64 * 2**20),
)


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the services listen, host:port each."""

    commands: tuple[str, ...]
    query: str
    history: str


class Shop:
    """A client of all services; a context manager. connection_count: to the command service."""

    def __init__(self, addresses: Addresses, *, connection_count: int) -> None:
        spread = max(connection_count, len(addresses.commands))
        self.retries = Retries()
        self._exits = AsyncExitStack()
        self._commands = [
            _Line(addresses.commands[i % len(addresses.commands)], self.retries) for i in range(spread)
        ]
        self._query = _Line(addresses.query, self.retries)
        self._history = _Line(addresses.history, self.retries)

    async def __aenter__(self) -> Self:
        for line in (*self._commands, self._query, self._history):
            await self._exits.enter_async_context(line.channel)
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self._exits.aclose()

    @property
    def connection_count(self) -> int:
        """How many connections commands go over."""
        return len(self._commands)

    async def knock(self) -> None:
        """Has every connection made, so that none is made while the race is on.

        Raises:
            Problem: a service cannot be reached.
        """
        # The first failure is told alone: with one service away, there are many of them.
        for line in (*self._commands, self._query, self._history):
            await line.knock()

    async def command(
        self, rpc: Rpc[CommandRequestT, ResponseT], request: CommandRequestT, *, connection: int = 0
    ) -> ResponseT:
        """Has a command carried out once.

        Raises:
            Refused: the shop decided against it.
            Problem: no answer, however often it was sent.
        """
        request.request_id = str(uuid4())
        return await self._commands[connection % len(self._commands)].call(rpc, request)

    async def query(self, rpc: Rpc[RequestT, ResponseT], request: RequestT) -> ResponseT:
        """Asks the read models. Raises as `command` does."""
        return await self._query.call(rpc, request)

    async def recall(self, rpc: Rpc[RequestT, ResponseT], request: RequestT) -> ResponseT:
        """Asks the history service, which answers from PostgreSQL. Raises as `command` does."""
        return await self._history.call(rpc, request)


class _Line:
    """One connection."""

    def __init__(self, address: str, retries: Retries) -> None:
        self.channel = grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS)
        self._address = address
        self._retries = retries

    async def knock(self) -> None:
        knock = unary(self.channel, "/grpc.health.v1.Health/Check")
        try:
            await knock(b"", timeout=KNOCK_SECONDS_MAX)
        except grpc.aio.AioRpcError as error:
            # A deployment may hide its health behind a proxy: what answers at all is there.
            if error.code() not in {grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.NOT_FOUND}:
                raise problem_of(error, self._address) from error

    async def call(self, rpc: Rpc[RequestT, ResponseT], request: RequestT) -> ResponseT:
        send = unary(self.channel, rpc.path)
        try:
            reply = await answered(send, request.SerializeToString(), ACTOR, self._retries)
        except grpc.aio.AioRpcError as error:
            raise problem_of(error, self._address) from error
        return _read(reply, rpc.response_type)


def _read(reply: Reply, response_type: type[ResponseT]) -> ResponseT:
    if reply.is_refusal:
        raise Refused(reply)
    return response_type.FromString(reply.body)
