"""The shop as the race calls it: over several connections, each command once."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, Self
from uuid import uuid4

import grpc

from event_log.tokens import ConsistencyToken
from ops.failures import ExitStatus, Problem
from ops.rpc import problem_of
from ops.wire.calls import RETRYABLE, Refused, Reply, Retries, answered, unary
from ops.wire.rpcs import READ_EVENTS, CommandRequestT, RequestT, ResponseT, Rpc
from shopkeeper.log.v1.log_service_pb2 import ReadEventsRequest

ACTOR = "race"

KNOCK_SECONDS_MAX = 10.0
"""For a connection's first answer: whoever needs longer is away."""

HISTORY_SECONDS_MAX = 60.0
"""For a replica that history reads to come as far as our commands have."""
STREAM_PAUSE_SECONDS = 0.5

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
        self._newest: ConsistencyToken | None = None
        self._recalled: ConsistencyToken | None = None

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
        line = self._commands[connection % len(self._commands)]
        try:
            response = await line.call(rpc, request)
        except Refused as refusal:
            self._note(refusal.token)
            raise
        self._note(_token(response))
        return response

    async def query(self, rpc: Rpc[RequestT, ResponseT], request: RequestT) -> ResponseT:
        """Asks the read models. Raises as `command` does."""
        return await self._query.call(rpc, request)

    async def recall(self, rpc: Rpc[RequestT, ResponseT], request: RequestT) -> ResponseT:
        """Asks the history service, once it knows of all that our commands have done.

        Raises as `command` does; Problem also: a replica that it reads stays behind.
        """
        wanted = self._newest
        if wanted is not None and wanted != self._recalled:
            await self._history.come_to(wanted)
            self._recalled = wanted
        return await self._history.call(rpc, request)

    def _note(self, text: str) -> None:
        token = ConsistencyToken.parse(text) if text else None
        if token is not None and (self._newest is None or _age(token) > _age(self._newest)):
            self._newest = token


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

    async def come_to(self, token: ConsistencyToken) -> None:
        """Waits until the log, as the service reads it, has come as far as the token.

        Raises:
            Problem: it does not, or the service is away.
        """
        if not token.position:
            return
        # No position is left out: followed from the one before, the log goes on with this one.
        before = ConsistencyToken(token.incarnation, token.position - 1)
        request = ReadEventsRequest(after_token=str(before), follow=True)
        try:
            async with asyncio.timeout(HISTORY_SECONDS_MAX):
                while not await self._has_event(request):  # noqa: ASYNC110 no event of this process
                    await asyncio.sleep(STREAM_PAUSE_SECONDS)
        except TimeoutError:
            raise Problem(
                f"{self._address} still does not know, {HISTORY_SECONDS_MAX:.0f} seconds later, what"
                " happened in the race: does it read a replica that is behind?",
                ExitStatus.UNREACHABLE,
            ) from None

    async def _has_event(self, request: ReadEventsRequest) -> bool:
        """Waits for an event; False if the stream ended before one came."""
        follow: Any = self.channel.unary_stream(READ_EVENTS.path, request_serializer=None)
        call = follow(request.SerializeToString())
        try:
            async for _ in call:
                return True
        except grpc.aio.AioRpcError as error:
            if error.code() not in RETRYABLE:
                raise problem_of(error, self._address) from error
            self._retries.count_by_code[error.code().name] += 1
        finally:
            call.cancel()
        return False


def _token(response: Any) -> str:
    """What every command's response has."""
    token: str = response.consistency_token
    return token


def _age(token: ConsistencyToken) -> tuple[str, int]:
    return token.incarnation, token.position


def _read(reply: Reply, response_type: type[ResponseT]) -> ResponseT:
    if reply.is_refusal:
        raise Refused(reply)
    return response_type.FromString(reply.body)
