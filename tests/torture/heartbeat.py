"""Whether the shop is well, asked several times a second: what a second of healthy service is.

What is judged by such seconds, holds and calls to the provider, is done by the processes for commands
and PostgreSQL alone. They are asked straight: trouble of views, or on the way of clients, is no excuse.
"""

import asyncio
import time
from collections.abc import Mapping
from typing import Any, NamedTuple
from uuid import uuid4

import grpc

from shopkeeper.inventory.v1 import inventory_command_service_pb2 as inventory_pb
from shopkeeper.inventory.v1 import inventory_query_service_pb2 as stock_pb
from tests.torture.calls import CHANNEL_OPTIONS, RPCS, Doors
from tests.torture.history import History, Pulse
from tests.torture.workload import SKU_IDS

PERIOD_SECONDS = 0.2
ANSWER_SECONDS_MAX = 0.25
"""A shop that takes longer is not well: the machine is too busy to judge it by seconds."""

PULSE_SECONDS_MAX = PERIOD_SECONDS + ANSWER_SECONDS_MAX
"""What a pulse lasts when all answer in time. During a longer one this process itself stood still, and
saw nothing of the shop."""

COMMAND = inventory_pb.ReleaseReservationRequest()
QUERY = stock_pb.GetStockRequest()


class Heartbeat:
    """Asks each process for something that it can only answer when it can do all its work.

    Commands are refused, for there is no such reservation; that is written, like every answer.
    doors: where clients go. deciders: where the processes for commands are themselves, by name.
    """

    def __init__(self, doors: Doors, history: History, *, deciders: Mapping[str, str]) -> None:
        self._history = history
        self._deciders = [_call(*decider, COMMAND) for decider in deciders.items()]
        self._commands = [_call(*door, COMMAND) for door in doors.commands.items()]
        self._queries = [_call(*door, QUERY) for door in doors.queries.items()]

    async def beat(self) -> None:
        """Goes on until it is cancelled."""
        before, was_well = time.time(), False
        try:
            while True:
                await asyncio.sleep(PERIOD_SECONDS)
                is_well = await self.is_well()
                now = time.time()
                is_seen = now - before <= PULSE_SECONDS_MAX
                self._history.beat(Pulse(before, now, is_well and was_well and is_seen))
                before, was_well = now, is_well
        finally:
            calls = [*self._deciders, *self._commands, *self._queries]
            await asyncio.gather(*(call.channel.close() for call in calls))

    async def is_well(self) -> bool:
        """Whether all that decide answer in time."""
        asked = [decider.complaint(_command(), ANSWER_SECONDS_MAX) for decider in self._deciders]
        return not any(await asyncio.gather(*asked))

    async def unwell(self, *, seconds_max: float, fresh_as: str = "") -> list[str]:
        """Who does not answer a client in time, and what instead. fresh_as: how new views must be."""
        query = stock_pb.GetStockRequest(sku_id=SKU_IDS[-1], at_least_as_fresh=fresh_as)
        asked = [call.complaint(_command(), seconds_max) for call in self._commands]
        asked += [call.complaint(query, seconds_max) for call in self._queries]
        return [complaint for complaint in await asyncio.gather(*asked) if complaint]


class _Call(NamedTuple):
    """A question to one process."""

    name: str
    channel: grpc.aio.Channel
    ask: Any

    async def complaint(self, request: Any, seconds_max: float) -> str:
        """Why it is not well, or ""."""
        try:
            await self.ask(request.SerializeToString(), timeout=seconds_max)
        except grpc.aio.AioRpcError as error:
            is_refused = error.code() is grpc.StatusCode.NOT_FOUND
            return "" if is_refused else f"{self.name}: {error.code().name} {error.details()}"
        return ""


def _call(name: str, address: str, request: Any) -> _Call:
    channel = grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS)
    return _Call(name, channel, channel.unary_unary(RPCS[request.DESCRIPTOR.full_name].path))


def _command() -> Any:
    """Another one each time: one that was answered before would be answered without writing."""
    return inventory_pb.ReleaseReservationRequest(request_id=str(uuid4()), reservation_id="of nobody")
