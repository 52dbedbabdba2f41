"""InventoryQueryService: stock."""

from typing import cast

from query_service.errors import StockNotFound
from query_service.views import Views
from query_service.wire import embedded, repeated
from read_models.views import STOCK
from serving.interceptor import ServicerContext
from shopkeeper.inventory.v1.inventory_query_service_pb2 import (
    BatchGetStockRequest,
    BatchGetStockResponse,
    GetStockRequest,
    GetStockResponse,
)
from shopkeeper.inventory.v1.inventory_query_service_pb2_grpc import InventoryQueryServiceServicer


class InventoryQueryServicer(InventoryQueryServiceServicer):
    """Looks up stock."""

    def __init__(self, views: Views) -> None:
        self._views = views

    async def GetStock(  # noqa: N802 gRPC dictates the name
        self, request: GetStockRequest, context: ServicerContext
    ) -> GetStockResponse:
        """The stock of one SKU."""
        wanted = self._views.freshness(request.at_least_as_fresh, context)
        [view] = await self._views.documents([STOCK.address(request.sku_id)], wanted)
        if view is None:
            raise StockNotFound(sku_id=request.sku_id)
        return cast("GetStockResponse", embedded(1, view))

    async def BatchGetStock(  # noqa: N802 gRPC dictates the name
        self, request: BatchGetStockRequest, context: ServicerContext
    ) -> BatchGetStockResponse:
        """The stock of many SKUs, without those that never had any."""
        wanted = self._views.freshness(request.at_least_as_fresh, context)
        found = await self._views.documents_of(STOCK, request.sku_ids, wanted)
        return cast("BatchGetStockResponse", repeated(1, filter(None, found)))
