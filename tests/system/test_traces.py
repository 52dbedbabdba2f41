"""What a call leaves behind for those who look into it later: who made it, and under which id."""

import grpc
import pytest

from shopkeeper.cart.v1.cart_command_service_pb2 import AddCartLineRequest
from shopkeeper.inventory.v1.inventory_command_service_pb2 import ReceiveStockRequest, StockRow
from tests.eventually import eventually
from tests.system.client import DEADLINE_SECONDS, LOCATION, Client, new_id, reason_of
from tests.system.conftest import CommandServices

ADA = {"x-actor": "ada@shop"}


async def receive_as(client: Client, metadata: dict[str, str]) -> str:
    """Receives one unit; the id of the request."""
    request_id = new_id()
    rows = [StockRow(sku_id="sku", location_id=LOCATION, quantity=1)]
    await client.inventory.ReceiveStock(
        ReceiveStockRequest(request_id=request_id, rows=rows),
        timeout=DEADLINE_SECONDS,
        metadata=tuple(metadata.items()),
    )
    return request_id


async def test_who_changed_stock_is_told_by_the_log_and_by_the_ledger(
    one_service: CommandServices,
) -> None:
    async with one_service.client() as client:
        await client.open_shop(["sku"], 0)
        by_ada = await receive_as(client, ADA)
        by_whom = await receive_as(client, {})
    actors = one_service.fetch(
        "SELECT e.request_id::text, e.actor, m.actor"
        " FROM events e JOIN stock_movements m USING (position) ORDER BY position"
    )
    assert actors == [(by_ada, "ada@shop", "ada@shop"), (by_whom, "anonymous", "anonymous")]


async def test_a_refusal_is_one_line_in_the_logs_with_the_id_of_its_request(
    one_service: CommandServices,
) -> None:
    request_id = new_id()
    request = AddCartLineRequest(request_id=request_id, cart_id="none", sku_id="sku", quantity=1)
    async with one_service.client() as client:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await client.cart.AddCartLine(request, timeout=DEADLINE_SECONDS, metadata=tuple(ADA.items()))
    assert reason_of(refused.value) == "CART_NOT_FOUND"

    async def is_logged() -> bool:
        return bool(one_service.logged("refused"))

    await eventually(is_logged, seconds=30)
    [line] = one_service.logged("refused")
    assert line.pop("timestamp").endswith("Z")
    assert line.pop("level") == "info"
    assert line == {
        "event": "refused",
        "service": "command_service",
        "method": "/shopkeeper.cart.v1.CartCommandService/AddCartLine",
        "code": "NOT_FOUND",
        "reason": "CART_NOT_FOUND",
        "message": refused.value.details(),
        "request_id": request_id,
        "actor": "ada@shop",
    }
