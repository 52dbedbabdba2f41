"""What each command asks of PostgreSQL: docs/benchmarks/statements.md publishes it, this enforces it."""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest
from google.protobuf.message import Message

from command_service.checkout.payment_driver import PaymentDriver
from command_service.committer import Committer, Lane, Limits
from command_service.ordering.order_numbers import OrderNumbers
from command_service.payment.gateway import Gateway
from command_service.postgresql import PostgresqlUnitOfWork
from command_service.rehearsal import Rehearsal
from command_service.server import SERVICES, _register
from command_service.servicing import Door
from command_service.session import Session
from command_service.settings import Settings
from command_service.storage import storage
from payment_providers.wiring import ProviderSettings, providers_of
from serving.server import GrpcServer
from tests.sandboxes.stripe.server import StripeSandbox
from tests.system.client import Client, new_id
from tests.system.test_idempotency import (
    PATH_BY_REQUEST_TYPE,
    call,
    command_name,
    requests_of_every_kind,
    with_id,
)

PUBLISHED = Path(__file__).resolve().parents[2] / "docs" / "benchmarks" / "statements.md"
ROW = re.compile(r"^\| (\w+) \| (\d+) \| (\d+) \|$", re.MULTILINE)

TRIPS_MAX = 12
"""Of any command of one line, also of those that take two transactions."""


@dataclass(frozen=True, slots=True)
class CountedShop:
    """A command service whose sessions are counted, and a client of it."""

    client: Client
    sessions: tuple[Session, ...]

    async def cost_of(self, request: Message) -> tuple[int, int]:
        """Trips and statements of the request, carried out alone."""
        before = self._spent()
        code, _ = await call(self.client, with_id(request, new_id()))
        after = self._spent()
        assert code in (grpc.StatusCode.OK.value[0], grpc.StatusCode.FAILED_PRECONDITION.value[0])
        return after[0] - before[0], after[1] - before[1]

    def _spent(self) -> tuple[int, int]:
        return (
            sum(session.trip_count for session in self.sessions),
            sum(session.statement_count for session in self.sessions),
        )


@pytest.fixture
async def shop(database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[CountedShop]:
    names = ("short", "bulk", "rehearsal", "numbers")
    sessions = {name: Session(database_url, name) for name in names}
    units = {name: PostgresqlUnitOfWork(session, storage()) for name, session in sessions.items()}
    committer = Committer(*(Lane(name, units[name], Limits()) for name in ("short", "bulk")))
    async with StripeSandbox().running() as url:
        monkeypatch.setenv("STRIPE_API_KEY", "sk_test_sandbox")
        monkeypatch.setenv("STRIPE_API_URL", url)
        providers = providers_of(ProviderSettings())
        driver = PaymentDriver(committer, Gateway(providers))

        def register(server: grpc.aio.Server) -> None:
            door = Door(committer, Rehearsal(units["rehearsal"]))
            numbers = OrderNumbers(sessions["numbers"])
            _register(server, door, Settings(database_url=database_url), numbers, driver)

        server = GrpcServer("127.0.0.1:0", SERVICES, register)
        parts = (committer, server)
        for part in parts:
            await part.start()
        async with Client(f"127.0.0.1:{server.port}") as client:
            await client.open_shop(["sku", "other"], 1000)
            await client.add_coupon("TEN")
            yield CountedShop(client, (sessions["short"], sessions["bulk"]))
        await server.drain()
        await driver.drain()
        await committer.drain()
        for provider in providers.values():
            await provider.close()
    for session in sessions.values():
        await session.close()


async def test_each_command_takes_the_trips_and_statements_that_are_published(
    shop: CountedShop,
) -> None:
    requests = await requests_of_every_kind(shop.client)
    assert {request.DESCRIPTOR.full_name for request in requests} == set(PATH_BY_REQUEST_TYPE)
    published = {name: (int(trips), int(n)) for name, trips, n in ROW.findall(PUBLISHED.read_text())}
    measured = {command_name(each): await shop.cost_of(each) for each in requests}
    assert measured == published
    assert max(trips for trips, _ in published.values()) <= TRIPS_MAX
