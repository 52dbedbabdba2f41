"""One call over the wire: sent until it is answered, its answer kept as bytes."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import grpc
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

TOKEN_METADATA_KEY = "x-consistency-token"  # noqa: S105 not a secret
STATUS_METADATA_KEY = "grpc-status-details-bin"
ACTOR_METADATA_KEY = "x-actor"

CALL_SECONDS_MAX = 30.0
RETRYABLE = {
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
}
ATTEMPTS_MAX = 20
"""With the pauses below half a minute: a service that was restarted is back by then."""
PAUSE_SECONDS_MIN = 0.05
PAUSE_SECONDS_MAX = 2.0

Unary = Callable[..., Awaitable[bytes]]
DetailT = TypeVar("DetailT", bound=Message)


class Refused(Exception):
    """The shop said no. `reason` is its ErrorInfo; `token` is as new as the facts it decided on."""

    def __init__(self, reply: "Reply") -> None:
        status = Status.FromString(reply.body)
        info = detail(status, ErrorInfo)
        self.reason = info.reason if info else f"CODE_{status.code}"
        self.token = reply.token
        super().__init__(f"{self.reason}: {status.message}")


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer as it came: the bytes of the response, or of a refusal's google.rpc.Status."""

    body: bytes
    is_refusal: bool = False
    token: str = ""
    """Of a refusal; a response has its own inside."""


@dataclass(slots=True)
class Retries:
    """How often calls had to be sent again, by status code."""

    count_by_code: Counter[str] = field(default_factory=Counter)


async def answered(call: Unary, body: bytes, actor: str, retries: Retries) -> Reply:
    """Sends the same bytes until the shop answers; what it answers may be a refusal.

    Raises:
        grpc.aio.AioRpcError: no answer within ATTEMPTS_MAX attempts.
    """
    for attempt in range(ATTEMPTS_MAX):
        try:
            response = await call(
                body, timeout=CALL_SECONDS_MAX, metadata=((ACTOR_METADATA_KEY, actor),)
            )
        except grpc.aio.AioRpcError as error:
            if error.code() not in RETRYABLE:
                return _refusal(error)
            if attempt == ATTEMPTS_MAX - 1:
                raise
            retries.count_by_code[error.code().name] += 1
            await asyncio.sleep(_pause_seconds(error, attempt))
        else:
            return Reply(response)
    raise AssertionError("the last attempt returns or raises")


def unary(channel: grpc.aio.Channel, path: str) -> Unary:
    """A call of one RPC, from bytes to bytes."""
    return channel.unary_unary(path, request_serializer=None, response_deserializer=None)


def _refusal(error: grpc.aio.AioRpcError) -> Reply:
    metadata = _trailers(error)
    bare = Status(code=error.code().value[0], message=error.details() or "")
    status = metadata.get(STATUS_METADATA_KEY) or bare.SerializeToString()
    return Reply(_as_bytes(status), is_refusal=True, token=str(metadata.get(TOKEN_METADATA_KEY, "")))


def _pause_seconds(error: grpc.aio.AioRpcError, attempt: int) -> float:
    """What the shop asks for, else twice as long each time; jittered, so that callers spread."""
    asked = detail(Status.FromString(_refusal(error).body), RetryInfo)
    wanted_seconds = PAUSE_SECONDS_MIN * 2.0**attempt
    if asked is not None:
        wanted_seconds = asked.retry_delay.ToTimedelta().total_seconds()
    return min(wanted_seconds, PAUSE_SECONDS_MAX) * random.uniform(0.5, 1.5)  # noqa: S311 not a secret


def detail(status: Status, detail_type: type[DetailT]) -> DetailT | None:
    """The status' first detail of that type."""
    for packed in status.details:
        found = detail_type()
        if packed.Unpack(found):
            return found
    return None


def _trailers(error: grpc.aio.AioRpcError) -> dict[str, Any]:
    return dict(error.trailing_metadata() or ())


def _as_bytes(value: str | bytes) -> bytes:
    return value.encode() if isinstance(value, str) else value
