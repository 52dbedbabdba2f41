"""OrderingQueryService: orders, one by one and in lists."""

from collections.abc import Mapping
from typing import Any, cast

from query_service.errors import OrderNotFound
from query_service.paging import Pager
from query_service.views import Views
from query_service.wire import embedded, repeated
from read_models.partitions import PARTITIONS, partition_of
from read_models.views import ORDER, customer_orders_name, orders_by_state_name
from serving.interceptor import ServicerContext
from shopkeeper.ordering.v1.ordering_query_service_pb2 import (
    GetOrderRequest,
    GetOrderResponse,
    ListCustomerOrdersRequest,
    ListCustomerOrdersResponse,
    ListOrdersByStateRequest,
    ListOrdersByStateResponse,
)
from shopkeeper.ordering.v1.ordering_query_service_pb2_grpc import OrderingQueryServiceServicer


class OrderingQueryServicer(OrderingQueryServiceServicer):
    """Looks up orders."""

    def __init__(self, views: Views) -> None:
        self._views = views

    async def GetOrder(  # noqa: N802 gRPC dictates the name
        self, request: GetOrderRequest, context: ServicerContext
    ) -> GetOrderResponse:
        """One order."""
        wanted = self._views.freshness(request.at_least_as_fresh, context)
        [view] = await self._views.documents([ORDER.address(request.order_id)], wanted)
        if view is None:
            raise OrderNotFound(order_id=request.order_id)
        return cast("GetOrderResponse", embedded(1, view))

    async def ListCustomerOrders(  # noqa: N802 gRPC dictates the name
        self, request: ListCustomerOrdersRequest, context: ServicerContext
    ) -> ListCustomerOrdersResponse:
        """A page of a customer's orders, newest first; none for a customer who never ordered."""
        customer_id = request.customer_id
        names = {partition_of(customer_id): customer_orders_name(customer_id)}
        page = await self._page(names, request, context, f"customer-orders:{customer_id}")
        return cast("ListCustomerOrdersResponse", page)

    async def ListOrdersByState(  # noqa: N802 gRPC dictates the name
        self, request: ListOrdersByStateRequest, context: ServicerContext
    ) -> ListOrdersByStateResponse:
        """A page of the orders in a state, newest first, merged from every partition's part."""
        names = dict.fromkeys(PARTITIONS, orders_by_state_name(request.state))
        page = await self._page(names, request, context, f"orders-by-state:{request.state}")
        return cast("ListOrdersByStateResponse", page)

    async def _page(
        self,
        name_by_partition: Mapping[int, str],
        request: Any,
        context: ServicerContext,
        listing: str,
    ) -> bytes:
        pager = Pager.of(listing, request.page_size)
        start = pager.start(request.page_token)
        generation, entries = await self._views.entries(
            name_by_partition,
            self._views.freshness(request.at_least_as_fresh, context),
            after=start.after,
            limit=pager.limit,
            generation=start.generation,
        )
        page = repeated(1, (entry.summary for entry in entries[: pager.page_size]))
        token = pager.next_page_token(entries, generation)
        return page + embedded(2, token.encode()) if token else page
