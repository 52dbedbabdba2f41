"""PricingQueryService: prices in force."""

from typing import cast

from query_service.errors import PricesNotFound
from query_service.views import Views
from query_service.wire import embedded, repeated
from read_models.views import PRICES
from serving.interceptor import ServicerContext
from shopkeeper.pricing.v1.pricing_query_service_pb2 import (
    BatchGetPricesRequest,
    BatchGetPricesResponse,
    GetPricesRequest,
    GetPricesResponse,
)
from shopkeeper.pricing.v1.pricing_query_service_pb2_grpc import PricingQueryServiceServicer


class PricingQueryServicer(PricingQueryServiceServicer):
    """Looks up prices."""

    def __init__(self, views: Views) -> None:
        self._views = views

    async def GetPrices(  # noqa: N802 gRPC dictates the name
        self, request: GetPricesRequest, context: ServicerContext
    ) -> GetPricesResponse:
        """The prices of one SKU."""
        wanted = self._views.freshness(request.at_least_as_fresh, context)
        [view] = await self._views.documents([PRICES.address(request.sku_id)], wanted)
        if view is None:
            raise PricesNotFound(sku_id=request.sku_id)
        return cast("GetPricesResponse", embedded(1, view))

    async def BatchGetPrices(  # noqa: N802 gRPC dictates the name
        self, request: BatchGetPricesRequest, context: ServicerContext
    ) -> BatchGetPricesResponse:
        """The prices of many SKUs, without those that have none."""
        wanted = self._views.freshness(request.at_least_as_fresh, context)
        found = await self._views.documents_of(PRICES, request.sku_ids, wanted)
        return cast("BatchGetPricesResponse", repeated(1, filter(None, found)))
