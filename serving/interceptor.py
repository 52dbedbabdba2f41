"""The one interceptor: parse and check the request, answer failures, count and log.

Handlers get checked messages and return either a message or serialized bytes; they raise Failures.
"""

# The stubs make grpc.RpcMethodHandler generic, the class itself is not.
from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any
from uuid import uuid4

import grpc
import structlog
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.descriptor_pool import Default
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from serving.call_metrics import CALL_METRICS, CallCounts, status_code
from serving.draining import Gate
from serving.failures import Failure, Internal
from serving.status import to_status
from serving.validation import parse_request

log = structlog.get_logger(__name__)

ServicerContext = grpc.aio.ServicerContext[Any, Any]
Handler = Callable[[Any, ServicerContext], Awaitable[Any]]

CANCELLED: int = grpc.StatusCode.CANCELLED.value[0]


class Answered(Exception):
    """An answer that is already a serialized google.rpc.Status: a refusal, fresh or replayed."""

    def __init__(self, status: bytes) -> None:
        self.status = Status.FromString(status)
        super().__init__(self.status.message)


class Furnishing:
    """Takes a server's place while our servicers are added, and wraps each of their methods.

    An interceptor as gRPC knows it would be asked about every call, which costs as much as a lookup.
    """

    def __init__(self, server: grpc.aio.Server, gate: Gate) -> None:
        """gate: what all calls of our methods pass."""
        self._server = server
        self._gate = gate

    def add_generic_rpc_handlers(self, handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        """Adds nothing: generated code tells the same methods once more, each by its name."""

    def add_registered_method_handlers(self, service_name: str, handlers: Mapping[str, Any]) -> None:
        """Adds the methods of a service, wrapped."""
        wrapped = {
            name: _wrap(f"/{service_name}/{name}", handler, self._gate)
            for name, handler in handlers.items()
        }
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(service_name, wrapped),)
        )


def _wrap(method: str, handler: Any, gate: Gate) -> grpc.RpcMethodHandler[Any, Any]:
    request_type = _request_type(method)
    if handler.response_streaming:
        return grpc.unary_stream_rpc_method_handler(
            _stream(method, handler.unary_stream, request_type, gate), None, _serialize
        )
    return grpc.unary_unary_rpc_method_handler(
        _unary(method, handler.unary_unary, request_type, gate), None, _serialize
    )


def _unary(method: str, inner: Handler, request_type: type[Message], gate: Gate) -> Handler:
    counts = CALL_METRICS.of(method)

    async def handle(body: bytes, context: ServicerContext) -> Any:
        counts.in_flight_count += 1
        begun = time.perf_counter()
        request = None
        try:
            request = parse_request(body, request_type)
            with gate:
                response = await inner(request, context)
            counts.handled(0)
        except asyncio.CancelledError:
            # The caller is gone, or its deadline has passed: nobody hears an answer, but an alarm may.
            counts.handled(CANCELLED)
            raise
        except Exception as error:  # noqa: BLE001 every failure is answered, once, here
            await _answer(method, counts, error, request, context)
        else:
            return response
        finally:
            counts.in_flight_count -= 1
            counts.took(time.perf_counter() - begun)

    return handle


def _stream(
    method: str,
    inner: Callable[[Any, ServicerContext], AsyncIterator[Any]],
    request_type: type[Message],
    gate: Gate,
) -> Callable[[bytes, ServicerContext], AsyncIterator[Any]]:
    counts = CALL_METRICS.of(method)

    async def handle(body: bytes, context: ServicerContext) -> AsyncIterator[Any]:
        request = None
        try:
            request = parse_request(body, request_type)
            gate.check()
            async for response in inner(request, context):
                yield response
            counts.handled(0)
        except Exception as error:  # noqa: BLE001 every failure is answered, once, here
            await _answer(method, counts, error, request, context)

    return handle


async def _answer(
    method: str,
    counts: CallCounts,
    error: Exception,
    request: Message | None,
    context: ServicerContext,
) -> None:
    """Ends the call with what the caller may know of the error, and logs it.

    request: None when it could not be read.
    """
    if isinstance(error, grpc.aio.AbortError):
        raise error
    facts = {"method": method, **call_facts(context, request)}
    if isinstance(error, Answered):
        status = error.status
    elif isinstance(error, Failure):
        status = to_status(error)
    else:
        error_id = str(uuid4())
        log.error("a request failed", error_id=error_id, exc_info=error, **facts)
        status = to_status(Internal(error_id=error_id))
    counts.handled(status.code)
    code = status_code(status.code)
    log.info("refused", code=code.name, reason=_reason(status), message=status.message, **facts)
    # abort_with_status would hide the code from tracing; this sends the same bytes.
    await context.abort(
        code,
        status.message,
        (*context.trailing_metadata(), ("grpc-status-details-bin", status.SerializeToString())),
    )


def call_facts(context: ServicerContext, request: Message | None = None) -> dict[str, str]:
    """What a log line says about the call: its request id, and who makes it, where they are told."""
    metadata = dict(context.invocation_metadata() or {})
    request_id = getattr(request, "request_id", None) or metadata.get("x-request-id")
    told = {"request_id": request_id, "actor": metadata.get("x-actor")}
    return {name: str(value)[:100] for name, value in told.items() if value}


def _reason(status: Status) -> str:
    """What an alarm or a search in the logs goes by: OUT_OF_STOCK, say."""
    info = ErrorInfo()
    return next((info.reason for detail in status.details if detail.Unpack(info)), "")


def _serialize(response: Any) -> bytes:
    return response if isinstance(response, bytes) else bytes(response.SerializeToString())


def _request_type(method: str) -> type[Message]:
    _, service_name, method_name = method.split("/")
    descriptor: MethodDescriptor = Default().FindServiceByName(service_name).methods_by_name[method_name]
    return GetMessageClass(descriptor.input_type)
