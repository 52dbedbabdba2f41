"""Whether the shop is well, asked several times a second: what a second of healthy service is."""

import asyncio
import time
from typing import Any
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

COMMAND = inventory_pb.ReleaseReservationRequest()
QUERY = stock_pb.GetStockRequest()


class Heartbeat:
    """Asks each process for something that it can only answer when it can do all its work.

    Commands are refused, for there is no such reservation; that is written, like every answer.
    """

    def __init__(self, doors: Doors, history: History) -> None:
        self._history = history
        self._commands = [_call(address, COMMAND) for address in doors.commands.values()]
        self._queries = [_call(address, QUERY) for address in doors.queries.values()]

    async def beat(self) -> None:
        """Goes on until it is cancelled."""
        before, was_well = time.time(), False
        try:
            while True:
                await asyncio.sleep(PERIOD_SECONDS)
                is_well = await self.is_well()
                now = time.time()
                self._history.pulses.append(Pulse(before, now, is_well and was_well))
                before, was_well = now, is_well
        finally:
            calls = [*self._commands, *self._queries]
            await asyncio.gather(*(channel.close() for channel, _ in calls))

    async def is_well(self, *, seconds_max: float = ANSWER_SECONDS_MAX, fresh_as: str = "") -> bool:
        """Whether all answer in time. fresh_as: how new the views must be."""
        query = stock_pb.GetStockRequest(sku_id=SKU_IDS[-1], at_least_as_fresh=fresh_as)
        asked = [_is_answered(call, _command(), seconds_max) for _, call in self._commands]
        asked += [_is_answered(call, query, seconds_max) for _, call in self._queries]
        return all(await asyncio.gather(*asked))


def _call(address: str, request: Any) -> tuple[grpc.aio.Channel, Any]:
    channel = grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS)
    return channel, channel.unary_unary(RPCS[request.DESCRIPTOR.full_name].path)


def _command() -> Any:
    """Another one each time: one that was answered before would be answered without writing."""
    return inventory_pb.ReleaseReservationRequest(request_id=str(uuid4()), reservation_id="of nobody")


async def _is_answered(call: Any, request: Any, seconds_max: float) -> bool:
    try:
        await call(request.SerializeToString(), timeout=seconds_max)
    except grpc.aio.AioRpcError as error:
        return error.code() is grpc.StatusCode.NOT_FOUND
    return True
