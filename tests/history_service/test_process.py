"""The process as it is started in production."""

import asyncio
import json
import os
import signal
import sys

import grpc

from ops.ports import HOST, free_port
from shopkeeper.inventory.v1.inventory_history_service_pb2 import ExplainStockRequest
from tests.history_service.conftest import History
from tests.history_service.stored_shop import StoredShop


async def test_the_process_serves_and_ends_on_sigterm(shop: StoredShop, database_url: str) -> None:
    shop.move("A", on_hand=3)
    address = f"{HOST}:{free_port()}"
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "history_service"),
        env={**os.environ, "HISTORY_DATABASE_URL": database_url, "HISTORY_ADDRESS": address},
        stderr=asyncio.subprocess.PIPE,
    )
    async with grpc.aio.insecure_channel(address) as channel:
        answer = await History(channel, address).inventory.ExplainStock(
            ExplainStockRequest(sku_id="A"), wait_for_ready=True, timeout=30
        )
    assert answer.stock.available == 3
    process.send_signal(signal.SIGTERM)
    _, logged = await process.communicate()
    assert process.returncode == 0
    events = [json.loads(line)["event"] for line in logged.decode().splitlines()]
    assert events == ["serving", "draining", "stopped"]
