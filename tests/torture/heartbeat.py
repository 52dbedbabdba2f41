"""Whether the shop is well, asked several times a second: what a second of healthy service is."""

import asyncio
import time
from typing import Any
from uuid import uuid4

import grpc

from shopkeeper.inventory.v1 import inventory_command_service_pb2 as inventory_pb
from shopkeeper.inventory.v1 import inventory_query_service_pb2 as stock_pb
from tests.system.client import LOCATION
from tests.torture.calls import CHANNEL_OPTIONS, COMMANDS, QUERIES, Doors
from tests.torture.history import History, Pulse
from tests.torture.workload import SKU_IDS

PERIOD_SECONDS = 0.2
ANSWER_SECONDS_MAX = 0.25
"""A shop that takes longer is not well: the machine is too busy to judge it by seconds."""


class Heartbeat:
    """Sends one and the same command to each process, which answers it from what it has stored."""

    def __init__(self, doors: Doors, history: History) -> None:
        self._history = history
        self._calls: list[tuple[grpc.aio.Channel, str, bytes]] = []
        for address in doors.commands.values():
            row = inventory_pb.StockRow(sku_id=SKU_IDS[-1], location_id=LOCATION, quantity=1)
            command = inventory_pb.ReceiveStockRequest(request_id=str(uuid4()), rows=[row])
            path = COMMANDS[command.DESCRIPTOR.full_name].path
            self._add(address, path, command.SerializeToString())
        for address in doors.queries.values():
            query = stock_pb.GetStockRequest(sku_id=SKU_IDS[-1])
            self._add(address, QUERIES[query.DESCRIPTOR.full_name].path, query.SerializeToString())

    def _add(self, address: str, path: str, body: bytes) -> None:
        channel = grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS)
        self._calls.append((channel, path, body))

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
            await asyncio.gather(*(channel.close() for channel, _, _ in self._calls))

    async def is_well(self, *, seconds_max: float = ANSWER_SECONDS_MAX) -> bool:
        """Whether all answer in time."""
        return all(await asyncio.gather(*(_answers(*call, seconds_max) for call in self._calls)))


async def _answers(channel: grpc.aio.Channel, path: str, body: bytes, seconds_max: float) -> bool:
    call: Any = channel.unary_unary(path)
    try:
        await call(body, timeout=seconds_max)
    except grpc.aio.AioRpcError:
        return False
    return True
