"""The query service put together: one connection to Redis, the servicers."""

import grpc

from query_service.cart import CartQueryServicer
from query_service.catalog import CatalogQueryServicer
from query_service.inventory import InventoryQueryServicer
from query_service.ordering import OrderingQueryServicer
from query_service.payment import PaymentQueryServicer
from query_service.pricing import PricingQueryServicer
from query_service.settings import Settings
from query_service.views import Views
from read_models.connections import connect
from serving.server import GrpcServer, run
from shopkeeper.cart.v1 import cart_query_service_pb2_grpc as cart_grpc
from shopkeeper.catalog.v1 import catalog_query_service_pb2_grpc as catalog_grpc
from shopkeeper.inventory.v1 import inventory_query_service_pb2_grpc as inventory_grpc
from shopkeeper.ordering.v1 import ordering_query_service_pb2_grpc as ordering_grpc
from shopkeeper.payment.v1 import payment_query_service_pb2_grpc as payment_grpc
from shopkeeper.pricing.v1 import pricing_query_service_pb2_grpc as pricing_grpc

SERVICES = (
    "shopkeeper.catalog.v1.CatalogQueryService",
    "shopkeeper.pricing.v1.PricingQueryService",
    "shopkeeper.inventory.v1.InventoryQueryService",
    "shopkeeper.cart.v1.CartQueryService",
    "shopkeeper.ordering.v1.OrderingQueryService",
    "shopkeeper.payment.v1.PaymentQueryService",
)


WATCHES = 2
"""Besides the queries, the registry and the checkpoints are asked for, one question each."""


class QueryServer:
    """The connection to Redis and the server that answers from it; a Part."""

    def __init__(self, settings: Settings) -> None:
        self._connection = connect(
            settings.redis_url,
            answer_seconds_max=settings.query_redis_answer_seconds_max,
            connection_count_max=settings.query_redis_connections_max,
            # Those whose callers gave up are among them, and keep the others waiting.
            question_count_max=settings.query_in_flight_max + WATCHES,
        )
        self._views = Views(
            self._connection,
            in_flight_max=settings.query_in_flight_max,
            wait_seconds_max=settings.query_wait_seconds_max,
        )
        self._server = GrpcServer(
            settings.query_address,
            SERVICES,
            self._register,
            drain_seconds_max=settings.drain_seconds_max,
        )

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._server.port

    async def start(self) -> None:
        """Listens; queries are UNAVAILABLE while there are no views."""
        await self._server.start()

    async def drain(self) -> None:
        """Answers what was begun, then lets go of Redis."""
        await self._server.drain()
        await self._views.close()
        await self._connection.close()

    def _register(self, server: grpc.aio.Server) -> None:
        views = self._views
        catalog_grpc.add_CatalogQueryServiceServicer_to_server(CatalogQueryServicer(views), server)
        pricing_grpc.add_PricingQueryServiceServicer_to_server(PricingQueryServicer(views), server)
        inventory_grpc.add_InventoryQueryServiceServicer_to_server(InventoryQueryServicer(views), server)
        cart_grpc.add_CartQueryServiceServicer_to_server(CartQueryServicer(views), server)
        ordering_grpc.add_OrderingQueryServiceServicer_to_server(OrderingQueryServicer(views), server)
        payment_grpc.add_PaymentQueryServiceServicer_to_server(PaymentQueryServicer(views), server)


async def serve(settings: Settings) -> None:
    """Answers queries until SIGTERM, then answers what was begun and stops."""
    await run([QueryServer(settings)], metrics_port=settings.query_metrics_port)
