"""Stock as clients are told it, from the log to the answer."""

import pytest

from projections.projector import Projector
from shopkeeper.inventory.v1.inventory_pb2 import Stock, StockLevel
from shopkeeper.inventory.v1.inventory_query_service_pb2 import (
    BatchGetStockRequest,
    BatchGetStockResponse,
    GetStockRequest,
    GetStockResponse,
)
from tests.query_service.conftest import Shop
from tests.read_side import Log, settle, stock_moved

pytestmark = pytest.mark.usefixtures("unhurried")


def stock(sku_id: str, available: int) -> Stock:
    level = StockLevel(location_id="main", on_hand=available, available=available)
    return Stock(sku_id=sku_id, available=available, levels=[level])


async def test_stock_is_told_as_fresh_as_its_token(log: Log, shop: Shop, at_work: Projector) -> None:
    token = log.token(log.record(stock_moved("MUG", 3)))
    answer = await shop.inventory.GetStock(GetStockRequest(sku_id="MUG", at_least_as_fresh=token))
    assert answer == GetStockResponse(stock=stock("MUG", 3))


async def test_a_sku_that_never_had_stock_is_not_found(
    log: Log, shop: Shop, projector: Projector
) -> None:
    log.record(stock_moved("MUG", 3))
    await settle(projector)
    refusal = await shop.refusal(shop.inventory.GetStock(GetStockRequest(sku_id="CUP")))
    assert (refusal.code, refusal.reason) == ("NOT_FOUND", "STOCK_NOT_FOUND")


async def test_a_thousand_skus_are_told_in_the_order_asked_without_the_unknown(
    log: Log, shop: Shop, projector: Projector
) -> None:
    log.record(*(stock_moved(f"SKU-{n}", n) for n in range(0, 1000, 2)))
    await settle(projector)
    sku_ids = [f"SKU-{n}" for n in reversed(range(1000))]
    answer = await shop.inventory.BatchGetStock(BatchGetStockRequest(sku_ids=sku_ids))
    assert answer == BatchGetStockResponse(
        stock=[stock(f"SKU-{n}", n) for n in reversed(range(0, 1000, 2))]
    )
