"""CartQueryService: carts, with the stock of their SKUs when asked for."""

from typing import cast

from query_service.errors import CartNotFound
from query_service.views import Views
from query_service.wire import embedded, repeated
from read_models.views import CART, STOCK, cart_skus_address, from_cart_skus
from serving.interceptor import ServicerContext
from shopkeeper.cart.v1.cart_query_service_pb2 import GetCartRequest, GetCartResponse
from shopkeeper.cart.v1.cart_query_service_pb2_grpc import CartQueryServiceServicer


class CartQueryServicer(CartQueryServiceServicer):
    """Looks up carts."""

    def __init__(self, views: Views) -> None:
        self._views = views

    async def GetCart(  # noqa: N802 gRPC dictates the name
        self, request: GetCartRequest, context: ServicerContext
    ) -> GetCartResponse:
        """One cart; which SKUs it holds stands beside its bytes, so that these need no parsing."""
        wanted = self._views.freshness(request.at_least_as_fresh, context)
        addresses = [CART.address(request.cart_id)]
        if request.include_stock:
            addresses.append(cart_skus_address(request.cart_id))
        view, *beside = await self._views.documents(addresses, wanted)
        if view is None:
            raise CartNotFound(cart_id=request.cart_id)
        sku_ids = [sku_id for each in beside for sku_id in from_cart_skus(each or b"")]
        stock = await self._views.documents_of(STOCK, sku_ids, wanted)
        return cast("GetCartResponse", embedded(1, view) + repeated(2, filter(None, stock)))
