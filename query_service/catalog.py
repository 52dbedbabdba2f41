"""CatalogQueryService: products and SKUs."""

from typing import cast

from query_service.errors import ProductNotFound, SkuNotFound
from query_service.views import Views
from query_service.wire import embedded
from read_models.views import PRODUCT, SKU
from serving.interceptor import ServicerContext
from shopkeeper.catalog.v1.catalog_query_service_pb2 import (
    GetProductRequest,
    GetProductResponse,
    GetSkuRequest,
    GetSkuResponse,
)
from shopkeeper.catalog.v1.catalog_query_service_pb2_grpc import CatalogQueryServiceServicer


class CatalogQueryServicer(CatalogQueryServiceServicer):
    """Looks up products and SKUs."""

    def __init__(self, views: Views) -> None:
        self._views = views

    async def GetProduct(  # noqa: N802 gRPC dictates the name
        self, request: GetProductRequest, context: ServicerContext
    ) -> GetProductResponse:
        """One product with its SKUs."""
        wanted = self._views.freshness(request.at_least_as_fresh, context)
        [view] = await self._views.documents([PRODUCT.address(request.product_id)], wanted)
        if view is None:
            raise ProductNotFound(product_id=request.product_id)
        return cast("GetProductResponse", embedded(1, view))

    async def GetSku(  # noqa: N802 gRPC dictates the name
        self, request: GetSkuRequest, context: ServicerContext
    ) -> GetSkuResponse:
        """One SKU."""
        wanted = self._views.freshness(request.at_least_as_fresh, context)
        [view] = await self._views.documents([SKU.address(request.sku_id)], wanted)
        if view is None:
            raise SkuNotFound(sku_id=request.sku_id)
        return cast("GetSkuResponse", embedded(1, view))
