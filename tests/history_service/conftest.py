"""A history service in this process, on a database of its own."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
import pytest_asyncio
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from grpc_status import rpc_status

from history_service.server import HistoryServer
from history_service.settings import Settings
from shopkeeper.cart.v1.cart_history_service_pb2_grpc import CartHistoryServiceStub
from shopkeeper.inventory.v1.inventory_history_service_pb2_grpc import InventoryHistoryServiceStub
from shopkeeper.log.v1.log_service_pb2_grpc import LogServiceStub
from shopkeeper.ordering.v1.ordering_history_service_pb2_grpc import OrderingHistoryServiceStub
from tests.history_service.stored_shop import StoredShop


class History:
    """Stubs of every service."""

    def __init__(self, channel: grpc.aio.Channel, address: str) -> None:
        self.channel = channel
        self.address = address
        self.carts = CartHistoryServiceStub(channel)
        self.inventory = InventoryHistoryServiceStub(channel)
        self.log = LogServiceStub(channel)
        self.orders = OrderingHistoryServiceStub(channel)


@asynccontextmanager
async def serving(database_url: str, **more_settings: Any) -> AsyncIterator[History]:
    """The service on a port of its own, drained at the end."""
    settings = Settings.model_validate(
        {
            "HISTORY_DATABASE_URL": database_url,
            "history_address": "127.0.0.1:0",
            **more_settings,
        }
    )
    server = HistoryServer(settings)
    for part in server.parts:
        await part.start()
    address = f"127.0.0.1:{server.port}"
    async with grpc.aio.insecure_channel(address) as channel:
        yield History(channel, address)
        for part in reversed(server.parts):
            await part.drain()


@pytest.fixture
def shop(database_url: str) -> Iterator[StoredShop]:
    with StoredShop(database_url) as stored:
        yield stored


@pytest_asyncio.fixture
async def history(database_url: str) -> AsyncIterator[History]:
    async with serving(database_url) as served:
        yield served


class Refused:
    """What a failed call told its caller."""

    def __init__(self, error: grpc.aio.AioRpcError) -> None:
        status = rpc_status.from_call(error)  # type: ignore[arg-type]  # it has what is asked of a call
        assert status is not None, error
        self.code = error.code()
        self.message = status.message
        self._details = status.details
        self.reason = self._find(ErrorInfo).reason

    @property
    def fields(self) -> list[str]:
        return [violation.field for violation in self._find(BadRequest).field_violations]

    @property
    def has_retry_info(self) -> bool:
        return any(detail.Is(RetryInfo.DESCRIPTOR) for detail in self._details)

    def _find(self, kind: type[Any]) -> Any:
        for detail in self._details:
            found: Message = kind()
            if detail.Unpack(found):
                return found
        raise AssertionError(f"no {kind.__name__} among the details")


async def refused(call: Any) -> Refused:
    """How the call was refused; fails if it was not."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return Refused(caught.value)
