"""Calls to the services from the command line, and their failures as people should read them."""

from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import grpc
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, PreconditionFailure, RetryInfo
from google.rpc.status_pb2 import Status

from ops.failures import ExitStatus, Problem
from ops.services import SERVICES, Service
from ops.whereabouts import service_address

CALL_SECONDS_MAX = 30.0
# As large as the services' answers get: a page of 1,000 rows stays far below it.
ANSWER_BYTES_MAX = 64 * 1024 * 1024
CHANNEL_OPTIONS = (("grpc.max_receive_message_length", ANSWER_BYTES_MAX),)

DetailT = TypeVar("DetailT", bound=Message)

# Codes that say nothing about the request: later or elsewhere it may succeed.
_TRANSIENT = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}


def address_of(module: str, given: str | None, data_dir: Path) -> str:
    """Where the service is.

    Raises:
        Problem: see service_address.
    """
    return service_address(_service(module), given, data_dir)


@asynccontextmanager
async def channel_to(address: str) -> AsyncIterator[grpc.aio.Channel]:
    """A channel whose failures inside the block are told as Problems."""
    async with grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS) as channel:
        try:
            yield channel
        except grpc.aio.AioRpcError as error:
            raise problem_of(error, address) from error


@contextmanager
def blocking_channel_to(address: str) -> Iterator[grpc.Channel]:
    """The same for code that does not await, such as the client of reflection."""
    with grpc.insecure_channel(address, options=CHANNEL_OPTIONS) as channel:
        try:
            yield channel
        except grpc.RpcError as error:
            raise problem_of(error, address) from error


def problem_of(error: grpc.RpcError, address: str) -> Problem:
    """The failure of a call, with everything its status tells."""
    # Each failed call is an RpcError that is a Call as well, whichever API made it.
    code, message, metadata = error.code(), error.details(), error.trailing_metadata()
    status = _status(metadata or ())
    is_transient = code in _TRANSIENT
    exit_status = ExitStatus.UNREACHABLE if is_transient else ExitStatus.REFUSED
    if status is None and is_transient:
        return Problem(f"{address} cannot be reached: {message}", exit_status)
    details = [f"\n  {line}" for line in detail_lines(status or Status())]
    return Problem(f"{code.name}: {message}{''.join(details)}", exit_status)


def _status(trailing_metadata: Iterable[Any]) -> Status | None:
    """The google.rpc.Status that came with a failure, if one did; from pairs of key and value."""
    for key, value in trailing_metadata:
        if key == "grpc-status-details-bin" and isinstance(value, bytes):
            return Status.FromString(value)
    return None


def detail_lines(status: Status) -> Iterator[str]:
    """What the details of a status say, a line each."""
    for info in _details(status, ErrorInfo):
        yield f"reason: {info.reason}"
        yield from (f"{name}: {value}" for name, value in sorted(info.metadata.items()))
    for bad in _details(status, BadRequest):
        yield from (f"field {v.field}: {v.description}" for v in bad.field_violations)
    for failed in _details(status, PreconditionFailure):
        yield from (f"precondition {v.type}: {v.subject}" for v in failed.violations)
    for retry in _details(status, RetryInfo):
        yield f"retry after: {retry.retry_delay.ToTimedelta().total_seconds():g} s"


def _details(status: Status, kind: type[DetailT]) -> Iterator[DetailT]:
    for packed in status.details:
        if packed.Is(kind.DESCRIPTOR):
            yield kind.FromString(packed.value)


def _service(module: str) -> Service:
    return next(service for service in SERVICES if service.module == module)
