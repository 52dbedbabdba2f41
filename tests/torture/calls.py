"""A client of several processes, who may give up, ask another one, or ask two at once.

Every attempt is an operation of the history, whatever comes of it.
"""

import asyncio
import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from types import ModuleType, TracebackType
from typing import Any, NamedTuple, Self

import grpc
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

from shopkeeper.cart.v1 import cart_command_service_pb2 as cart_pb
from shopkeeper.cart.v1 import cart_query_service_pb2 as carts_pb
from shopkeeper.catalog.v1 import catalog_command_service_pb2 as catalog_pb
from shopkeeper.catalog.v1 import catalog_query_service_pb2 as catalogs_pb
from shopkeeper.inventory.v1 import inventory_command_service_pb2 as inventory_pb
from shopkeeper.inventory.v1 import inventory_history_service_pb2 as past_pb
from shopkeeper.inventory.v1 import inventory_query_service_pb2 as stock_pb
from shopkeeper.ordering.v1 import ordering_command_service_pb2 as ordering_pb
from shopkeeper.ordering.v1 import ordering_query_service_pb2 as orders_pb
from shopkeeper.payment.v1 import payment_command_service_pb2 as payment_pb
from shopkeeper.payment.v1 import payment_query_service_pb2 as payments_pb
from shopkeeper.pricing.v1 import pricing_command_service_pb2 as pricing_pb
from shopkeeper.pricing.v1 import pricing_query_service_pb2 as prices_pb
from tests.torture.history import History, Operation, Outcome
from tests.torture.views import seen_in

REFUSALS = {
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.ALREADY_EXISTS,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.INVALID_ARGUMENT,
}
"""Answers for good; anything else leaves open what came of a command."""

GIVE_UP_PROBABILITY = 0.04
"""That a client waits milliseconds only, and then goes away."""
GIVE_UP_SECONDS_MAX = 0.05
TWICE_PROBABILITY = 0.06
"""That a client sends the same request twice at once: half of the times to one process."""
AGAIN_PROBABILITY = 0.03
"""That a client who was answered asks once more."""
ABANDON_PROBABILITY = 0.03
"""That a client whose attempt came to nothing never asks again."""
PAUSE_SECONDS_MAX = 0.3
TOKEN_FIELD_OVERHEAD_BYTES = 2
"""Tag and length, in front of the token that ends each command's answer."""

# A connection of its own for each client, and no waiting for a process that is back.
CHANNEL_OPTIONS = (
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 500),
    ("grpc.max_reconnect_backoff_ms", 500),
)


class ClientFault(StrEnum):
    """What clients do that makes it hard. Each counts when it came to what is hard about it."""

    GIVE_UP = "client gives up before the answer"
    ELSEWHERE = "same request to another process"
    AGAIN = "same request after its answer"
    TWICE_HERE = "same request twice at once to one process"
    TWICE_ELSEWHERE = "same request at once to two processes"


class Rpc(NamedTuple):
    """Where a request goes, and what is answered."""

    path: str
    response_type: type[Message]


def _rpcs_of(modules: tuple[ModuleType, ...]) -> dict[str, Rpc]:
    """By the full name of the request's type: each RPC has one of its own."""
    return {
        method.input_type.full_name: Rpc(
            f"/{service.full_name}/{method.name}", GetMessageClass(method.output_type)
        )
        for module in modules
        for service in module.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }


COMMANDS = _rpcs_of((cart_pb, catalog_pb, inventory_pb, ordering_pb, payment_pb, pricing_pb))
QUERIES = _rpcs_of((carts_pb, catalogs_pb, stock_pb, orders_pb, payments_pb, prices_pb))
HISTORIES = _rpcs_of((past_pb,))
RPCS = {**COMMANDS, **QUERIES, **HISTORIES}


@dataclass(frozen=True, slots=True)
class Doors:
    """Where processes are, by name: command_service#0 at host:port."""

    commands: Mapping[str, str]
    queries: Mapping[str, str]
    histories: Mapping[str, str]


class Caller:
    """One client, with chance and connections of its own."""

    def __init__(
        self, actor: str, doors: Doors, history: History, chance: Random, *, patience_seconds: float
    ) -> None:
        """patience_seconds: for one attempt of who does not give up early."""
        self.actor = actor
        self.chance = chance
        self.faults: Counter[str] = Counter()
        """What it did to make it hard: each ClientFault, so often."""
        self._history = history
        self._doors = doors
        self._patience_seconds = patience_seconds
        self._channels = {
            name: grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS)
            for name, address in {**doors.commands, **doors.queries, **doors.histories}.items()
        }

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _tb: TracebackType | None
    ) -> None:
        await asyncio.gather(*(channel.close() for channel in self._channels.values()))

    async def command(
        self, request: Any, *, attempts_max: int = 8, units: Mapping[str, int] | None = None
    ) -> tuple[Operation, Any]:
        """Sends the same request to one process after another until it is answered, or too often.

        units: see Operation. Returns the last attempt, and the response if there was one.
        """
        units = units or {}
        operation, response = await self._once_or_twice(request, units)
        for _ in range(attempts_max - 1):
            if operation.is_decided or self.chance.random() < ABANDON_PROBABILITY:
                break
            await asyncio.sleep(self.chance.uniform(0.0, PAUSE_SECONDS_MAX))
            before = operation.door
            operation, response = await self._once_or_twice(request, units, but=before)
            self.faults[ClientFault.ELSEWHERE] += operation.is_decided and operation.door != before
        if operation.is_decided and self.chance.random() < AGAIN_PROBABILITY:
            again, _ = await self._attempt(request, self._some_door(), units)
            self.faults[ClientFault.AGAIN] += again.is_decided
        return operation, response

    async def query(self, request: Any) -> tuple[Operation, Any]:
        """Asks one process once."""
        is_of_past = request.DESCRIPTOR.full_name in HISTORIES
        doors = self._doors.histories if is_of_past else self._doors.queries
        door = self.chance.choice(sorted(doors))
        return await self._attempt(request, door, {})

    async def _once_or_twice(
        self, request: Any, units: Mapping[str, int], *, but: str = ""
    ) -> tuple[Operation, Any]:
        doors = [self._some_door(but=but)]
        if self.chance.random() < TWICE_PROBABILITY:
            is_elsewhere = self.chance.random() < 0.5
            doors.append(self._some_door(but=doors[0]) if is_elsewhere else doors[0])
        tried = await asyncio.gather(*(self._attempt(request, door, units) for door in doors))
        self._count_twice([operation for operation, _ in tried])
        return next((each for each in tried if each[0].is_decided), tried[0])

    def _count_twice(self, tried: Sequence[Operation]) -> None:
        if len(tried) == 1 or not all(operation.is_decided for operation in tried):
            return
        is_elsewhere = len({operation.door for operation in tried}) > 1
        self.faults[ClientFault.TWICE_ELSEWHERE if is_elsewhere else ClientFault.TWICE_HERE] += 1

    def _some_door(self, *, but: str = "") -> str:
        """Of a process for commands, if there are others another one than that."""
        doors = sorted(self._doors.commands)
        return self.chance.choice([door for door in doors if door != but] or doors)

    def _patience(self) -> float:
        if self.chance.random() < GIVE_UP_PROBABILITY:
            return self.chance.uniform(0.001, GIVE_UP_SECONDS_MAX)
        return self._patience_seconds

    async def _attempt(self, request: Any, door: str, units: Mapping[str, int]) -> tuple[Operation, Any]:
        rpc = RPCS[request.DESCRIPTOR.full_name]
        begun = self._history.begin(self._operation(request, door, units))
        call: Any = self._channels[door].unary_unary(rpc.path)
        patience_seconds = self._patience()
        try:
            body = await call(request.SerializeToString(), timeout=patience_seconds)
        except grpc.aio.AioRpcError as error:
            is_late = error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            self.faults[ClientFault.GIVE_UP] += is_late and patience_seconds < self._patience_seconds
            return self._history.end(begun, **_failed(error)), None
        except asyncio.CancelledError:
            self._history.end(begun, reason="CLIENT_GONE")
            raise
        response: Any = rpc.response_type.FromString(body)
        return self._history.end(begun, **_answered(body, response)), response

    def _operation(self, request: Any, door: str, units: Mapping[str, int]) -> Operation:
        asked = MessageToDict(request, preserving_proto_field_name=True)
        return Operation(
            number=0,
            actor=self.actor,
            door=door,
            method=request.DESCRIPTOR.name.removesuffix("Request"),
            request_id=asked.pop("request_id", ""),
            fresh_as=asked.pop("at_least_as_fresh", ""),
            asked=asked,
            units=units,
        )


def _answered(body: bytes, response: Any) -> dict[str, Any]:
    token: str = getattr(response, "consistency_token", "")
    stored = body[: -TOKEN_FIELD_OVERHEAD_BYTES - len(token)] if token else body
    told = told_of(response)
    return {"outcome": Outcome.OK, "token": token, "told": told, "digest": _digest(stored)}


def _failed(error: grpc.aio.AioRpcError) -> dict[str, Any]:
    metadata: dict[str, Any] = dict(error.trailing_metadata() or ())
    details = metadata.get("grpc-status-details-bin", b"")
    is_refusal = error.code() in REFUSALS and bool(details)
    return {
        "outcome": Outcome.REFUSED if is_refusal else Outcome.UNKNOWN,
        "code": error.code().value[0],
        "reason": _reason(details) or error.code().name,
        "token": str(metadata.get("x-consistency-token", "")),
        "digest": _digest(details) if is_refusal else "",
    }


def _reason(details: bytes) -> str:
    info = ErrorInfo()
    found = any(detail.Unpack(info) for detail in Status.FromString(details).details)
    return info.reason if found else ""


def _digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def told_of(response: Any) -> dict[str, Any]:
    """What of an answer the checker may need."""
    names = {field.name for field, _ in response.ListFields()}
    told: dict[str, Any] = {view: dict(seen) for view, seen in seen_in(response).items()}
    if "order" in names:
        told["order_id"] = response.order.order_id
    if "next_page_token" in names:
        told["has_more"] = True
    if "differences" in names:
        told["differences"] = [str(each) for each in response.differences]
    if "reservation" in names:
        told["reservation_id"] = response.reservation.reservation_id
        told["state"] = int(response.reservation.state)
    if "payment" in names:
        told["payment_id"] = response.payment.payment_id
        told["provider_reference"] = response.payment.provider_reference
    return told
