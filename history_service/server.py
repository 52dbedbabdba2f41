"""The history service, put together."""

import grpc

from history_service.cart import CartHistoryServicer
from history_service.database import Database
from history_service.inventory import InventoryHistoryServicer
from history_service.log import LogServicer
from history_service.ordering import OrderingHistoryServicer
from history_service.settings import Settings
from serving.server import GrpcServer, Part, run
from shopkeeper.cart.v1 import cart_history_service_pb2_grpc
from shopkeeper.inventory.v1 import inventory_history_service_pb2_grpc
from shopkeeper.log.v1 import log_service_pb2_grpc
from shopkeeper.ordering.v1 import ordering_history_service_pb2_grpc

SERVICES = (
    "shopkeeper.cart.v1.CartHistoryService",
    "shopkeeper.inventory.v1.InventoryHistoryService",
    "shopkeeper.log.v1.LogService",
    "shopkeeper.ordering.v1.OrderingHistoryService",
)


class HistoryServer:
    """All parts of the service: the database's connections, the server, the streams."""

    def __init__(self, settings: Settings) -> None:
        conninfo = settings.history_database_url
        self._log = LogServicer(
            conninfo,
            stream_count_max=settings.history_streams_max,
            answer_seconds_max=settings.log_answer_seconds_max,
        )
        self._database = Database(
            conninfo,
            connection_count_max=settings.history_connections_max,
            answer_seconds_max=settings.history_answer_seconds_max,
            place_seconds_max=settings.history_place_seconds_max,
        )
        self._server = GrpcServer(
            settings.history_address,
            SERVICES,
            self._register,
            drain_seconds_max=settings.drain_seconds_max,
        )

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._server.port

    @property
    def parts(self) -> list[Part]:
        """In the order of starting; drained the other way round, the streams first."""
        return [self._database, self._server, self._log]

    def _register(self, server: grpc.aio.Server) -> None:
        cart_history_service_pb2_grpc.add_CartHistoryServiceServicer_to_server(
            CartHistoryServicer(self._database), server
        )
        inventory_history_service_pb2_grpc.add_InventoryHistoryServiceServicer_to_server(
            InventoryHistoryServicer(self._database), server
        )
        log_service_pb2_grpc.add_LogServiceServicer_to_server(self._log, server)
        ordering_history_service_pb2_grpc.add_OrderingHistoryServiceServicer_to_server(
            OrderingHistoryServicer(self._database), server
        )


async def serve(settings: Settings) -> None:
    """Serves history until SIGTERM, then answers what was begun and stops."""
    await run(HistoryServer(settings).parts, metrics_port=settings.history_metrics_port)
