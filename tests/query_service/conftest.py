"""A query service in this process, and a projector at work beside it."""

from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status

from projections.projector import Projector
from query_service.freshness import WAIT_SECONDS_MAX
from query_service.server import QueryServer
from query_service.settings import Settings
from shopkeeper.cart.v1.cart_query_service_pb2_grpc import CartQueryServiceStub
from shopkeeper.catalog.v1.catalog_query_service_pb2_grpc import CatalogQueryServiceStub
from shopkeeper.inventory.v1.inventory_query_service_pb2_grpc import InventoryQueryServiceStub
from shopkeeper.ordering.v1.ordering_query_service_pb2_grpc import OrderingQueryServiceStub
from shopkeeper.pricing.v1.pricing_query_service_pb2_grpc import PricingQueryServiceStub
from tests.read_side import (
    cluster_valkey,
    connection,
    log,
    new_projector,
    projector,
    read_models_server,
    read_models_url,
    settle,
)

__all__ = [
    "cluster_valkey",
    "connection",
    "log",
    "new_projector",
    "projector",
    "read_models_server",
    "read_models_url",
]


class Refused(Exception):
    """What a call was refused with, read as a client reads it."""

    def __init__(self, error: grpc.aio.AioRpcError) -> None:
        super().__init__(error.code().name, error.details())
        self.code = error.code().name
        metadata = dict(error.trailing_metadata() or ())
        status = Status.FromString(metadata["grpc-status-details-bin"])
        self.reason = self.fields = self.retry_seconds = None
        for detail in status.details:
            self._read(detail)

    def _read(self, detail: Any) -> None:
        info, bad, retry = ErrorInfo(), BadRequest(), RetryInfo()
        if detail.Unpack(info):
            assert info.domain == "shopkeeper"
            self.reason = info.reason
        if detail.Unpack(bad):
            self.fields = [violation.field for violation in bad.field_violations]
        if detail.Unpack(retry):
            self.retry_seconds = retry.retry_delay.ToMicroseconds() / 1e6

    reason: str | None
    fields: list[str] | None
    retry_seconds: float | None


class Shop:
    """The query services as a client sees them."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.channel = channel
        self.catalog: Any = CatalogQueryServiceStub(channel)
        self.pricing: Any = PricingQueryServiceStub(channel)
        self.inventory: Any = InventoryQueryServiceStub(channel)
        self.cart: Any = CartQueryServiceStub(channel)
        self.ordering: Any = OrderingQueryServiceStub(channel)

    async def refusal(self, call: Any) -> Refused:
        """What the call is refused with."""
        try:
            answer = await call
        except grpc.aio.AioRpcError as error:
            return Refused(error)
        raise AssertionError(f"not refused, but {answer}")


@pytest.fixture
def redis_answer_seconds_max() -> float:
    """How long the query service waits for Redis: long, as all share one process and a loaded machine.

    Overridden where that limit is what is tested.
    """
    return 30.0


@pytest.fixture
def wait_seconds_max(request: pytest.FixtureRequest) -> float:
    """How long a query waits for the views: as in production, unless the test is `unhurried`."""
    return 60.0 if "unhurried" in request.fixturenames else WAIT_SECONDS_MAX


@pytest.fixture
async def server(
    read_models_url: str, redis_answer_seconds_max: float, wait_seconds_max: float
) -> AsyncIterator[QueryServer]:
    """A query service on a port of its own."""
    settings = Settings(
        redis_url=read_models_url,
        query_address="127.0.0.1:0",
        query_redis_answer_seconds_max=redis_answer_seconds_max,
        query_wait_seconds_max=wait_seconds_max,
    )
    serving = QueryServer(settings)
    await serving.start()
    yield serving
    await serving.drain()


@pytest.fixture
async def shop(server: QueryServer) -> AsyncIterator[Shop]:
    """A client of the query service."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        yield Shop(channel)


@pytest.fixture
async def at_work(projector: Projector) -> AsyncIterator[Projector]:
    """A projector that works by itself; a generation serves already."""
    await settle(projector)
    await projector.start()
    yield projector
    await projector.drain()


@pytest.fixture
def unhurried() -> None:
    """Queries that wait for nothing but Redis may take long: a machine at work may stand still."""
