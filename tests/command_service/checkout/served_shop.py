"""The shop of paid_shop behind a real gRPC server, of which there may be several."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import grpc

from command_service.checkout.payment_driver import PaymentDriver
from command_service.checkout.payment_servicer import PaymentServicer
from command_service.committer import Committer, Lane, Limits
from command_service.payment.gateway import Gateway
from command_service.postgresql import PostgresqlUnitOfWork
from command_service.rehearsal import Rehearsal
from command_service.servicing import Door
from command_service.session import Session
from payment_providers.stripe.provider import StripeProvider
from serving.server import GrpcServer
from shopkeeper.payment.v1 import payment_command_service_pb2_grpc as payment_grpc
from shopkeeper.payment.v1.payment_command_service_pb2 import StartPaymentRequest
from tests.command_service.checkout.paid_shop import PaidShop

DEADLINE_SECONDS = 60
SERVICE = "shopkeeper.payment.v1.PaymentCommandService"


@dataclass
class CountedCalls:
    """Counts what goes out to a provider, each with all its repetitions as one."""

    provider: StripeProvider
    count: int = 0
    _make: Any = field(init=False)

    def __post_init__(self) -> None:
        self._make = self.provider.calls.make
        self.provider.calls.make = self._counted  # type: ignore[method-assign] # every call goes by it

    async def _counted(self, call: Any, **other: Any) -> Any:
        self.count += 1
        return await self._make(call, **other)


@dataclass
class Served:
    """One process: its address, a stub, its driver, and the session of its commands."""

    address: str
    stub: Any
    driver: PaymentDriver
    commands: Session


@asynccontextmanager
async def served(
    shop: PaidShop, *, is_another: bool = False, address: str = "127.0.0.1:0"
) -> AsyncIterator[Served]:
    """Serves the shop's commands. is_another: with a committer and a driver of its own."""
    sessions = [Session(shop.carry_out.database_url, name) for name in ("short", "bulk", "rehearsal")]
    committer, driver, commands = shop.committer, shop.driver, shop.commands
    if is_another:
        lanes = (
            Lane(name, PostgresqlUnitOfWork(s, shop.carry_out.storage), Limits())
            for name, s in zip(("short", "bulk"), sessions, strict=False)
        )
        committer, commands = Committer(*lanes), sessions[0]
        await committer.start()
        driver = PaymentDriver(committer, Gateway({"stripe": shop.provider}))
    door = Door(committer, Rehearsal(PostgresqlUnitOfWork(sessions[2], shop.carry_out.storage)))

    def register(server: grpc.aio.Server) -> None:
        payment_grpc.add_PaymentCommandServiceServicer_to_server(PaymentServicer(door, driver), server)

    server = GrpcServer(address, [SERVICE], register)
    await server.start()
    address = f"127.0.0.1:{server.port}"
    try:
        async with grpc.aio.insecure_channel(address) as channel:
            yield Served(address, payment_grpc.PaymentCommandServiceStub(channel), driver, commands)
    finally:
        await server.drain()
        await driver.drain()
        if is_another:
            await committer.drain()
        for session in sessions:
            await session.close()


def start_request(order_id: str, **other: Any) -> StartPaymentRequest:
    facts: dict[str, Any] = {
        "request_id": str(uuid4()),
        "order_id": order_id,
        "provider": "stripe",
        **other,
    }
    return StartPaymentRequest(**facts)
