"""PaymentQueryService: payments, and the money of orders."""

from typing import cast

from query_service.errors import OrderMoneyNotFound, PaymentNotFound
from query_service.views import Views
from query_service.wire import embedded
from read_models.views import ORDER_MONEY, PAYMENT
from serving.interceptor import ServicerContext
from shopkeeper.payment.v1.payment_query_service_pb2 import (
    GetOrderMoneyRequest,
    GetOrderMoneyResponse,
    GetPaymentRequest,
    GetPaymentResponse,
)
from shopkeeper.payment.v1.payment_query_service_pb2_grpc import PaymentQueryServiceServicer


class PaymentQueryServicer(PaymentQueryServiceServicer):
    """Looks up payments."""

    def __init__(self, views: Views) -> None:
        self._views = views

    async def GetPayment(  # noqa: N802 gRPC dictates the name
        self, request: GetPaymentRequest, context: ServicerContext
    ) -> GetPaymentResponse:
        """One payment."""
        wanted = self._views.freshness(request.at_least_as_fresh, context)
        [view] = await self._views.documents([PAYMENT.address(request.payment_id)], wanted)
        if view is None:
            raise PaymentNotFound(payment_id=request.payment_id)
        return cast("GetPaymentResponse", embedded(1, view))

    async def GetOrderMoney(  # noqa: N802 gRPC dictates the name
        self, request: GetOrderMoneyRequest, context: ServicerContext
    ) -> GetOrderMoneyResponse:
        """The money of one order at its providers."""
        wanted = self._views.freshness(request.at_least_as_fresh, context)
        [view] = await self._views.documents([ORDER_MONEY.address(request.order_id)], wanted)
        if view is None:
            raise OrderMoneyNotFound(order_id=request.order_id)
        return cast("GetOrderMoneyResponse", embedded(1, view))
