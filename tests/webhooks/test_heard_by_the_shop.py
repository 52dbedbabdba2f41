"""From Stripe's webhook to the paid order, over HTTP and gRPC; and what is found nowhere afterwards."""

import re
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from http import HTTPStatus
from random import Random

import grpc
import httpx
import psycopg
import pytest_asyncio
from structlog.testing import capture_logs

from command_service.ordering.domain import OrderState
from ops.ports import free_port
from payment_providers.stripe.provider import StripeProvider, StripeSettings
from shopkeeper.payment.v1.payment_command_service_pb2_grpc import PaymentCommandServiceStub
from tests.command_service.checkout.orders_on_postgresql import counters
from tests.command_service.checkout.paid_shop import LIMITS, PaidShop, paid_shop
from tests.command_service.checkout.served_shop import Served, served, start_request
from tests.command_service.conftest import CarryOut
from tests.eventually import eventually
from tests.sandboxes.deliveries import DeliverySettings
from tests.sandboxes.stripe.settings import WebhookEndpoint
from webhooks.hearing import Hearing
from webhooks.server import HttpServer, application

SECRET = "whsec_of_the_shop"
API_KEY = "sk_test_sandbox"


@pytest_asyncio.fixture
async def shop(carry_out: CarryOut) -> AsyncIterator[PaidShop]:
    async with paid_shop(carry_out) as shop:
        yield shop


@asynccontextmanager
async def hearing(shop: PaidShop, command_address: str) -> AsyncIterator[int]:
    """The webhook service, to which the sandbox sends what happens from now on; its port."""
    settings = StripeSettings(API_KEY, (SECRET,), api_url=shop.sandbox.url, limits=LIMITS)
    provider = StripeProvider(settings, monotonic=time.monotonic, chance=Random(1))
    port = free_port()
    async with grpc.aio.insecure_channel(command_address) as channel:
        ear = Hearing(
            {"stripe": provider}, PaymentCommandServiceStub(channel), lambda: datetime.now(UTC)
        )
        server = HttpServer(f"127.0.0.1:{port}", application(ear))
        await server.start()
        endpoint = WebhookEndpoint(f"http://127.0.0.1:{port}/webhooks/stripe", (SECRET,))
        shop.sandbox.sandbox.webhooks.endpoints.append(endpoint)
        try:
            yield port
        finally:
            shop.sandbox.sandbox.webhooks.endpoints.remove(endpoint)
            await server.drain()
            await provider.close()


async def all_delivered(shop: PaidShop) -> None:
    async def is_quiet() -> bool:
        return not shop.sandbox.sandbox.deliveries.outstanding_count

    await eventually(is_quiet, seconds=60)


async def pay(shop: PaidShop, front: Served, order_id: str) -> str:
    """Has an order paid; the client secret that the customer was given."""
    answer = await front.stub.StartPayment(start_request(order_id), timeout=60)
    await shop.sandbox.act(f"payment_intents/{answer.payment.provider_reference}/pay")
    return str(answer.client_secret)


async def test_events_that_come_often_and_in_any_order_have_one_effect(shop: PaidShop) -> None:
    shop.sandbox.sandbox.deliveries.settings = DeliverySettings(
        seed=3, duplicate_probability=1.0, duplicates_max=5, delay_seconds_max=0.3
    )
    order = await shop.place(sku0=2)
    async with served(shop) as front, hearing(shop, front.address):
        await pay(shop, front, order.order_id)
        await all_delivered(shop)
    after = await shop.order(order)
    assert (after.state, after.paid_minor) == (OrderState.PAID, 200)
    assert await counters(shop.carry_out, "sku0") == (100, 0, 2)


async def test_what_the_shop_could_not_hear_is_told_again_until_it_does(shop: PaidShop) -> None:
    order, address = await shop.place(sku0=2), f"127.0.0.1:{free_port()}"
    async with hearing(shop, address):
        async with served(shop) as front:
            await pay(shop, front, order.order_id)
        attempts = shop.sandbox.sandbox.deliveries.attempts

        async def was_put_off() -> bool:
            return any(each.status == HTTPStatus.SERVICE_UNAVAILABLE for each in attempts)

        await eventually(was_put_off, seconds=60)
        assert (await shop.order(order)).state is OrderState.AWAITING_PAYMENT
        async with served(shop, address=address):
            await all_delivered(shop)
    assert (await shop.order(order)).state is OrderState.PAID


# --- secrets --------------------------------------------------------------------------------------

_LONG_NUMBER = re.compile(r"(?<![0-9A-Za-z])\d{13,19}(?!\d)")


def card_numbers(text: str) -> list[str]:
    """What looks like the number of a card: long enough, with the right last digit."""
    return [found for found in _LONG_NUMBER.findall(text) if _is_luhn(found)]


def _is_luhn(digits: str) -> bool:
    doubled = [int(digit) * (1 + place % 2) for place, digit in enumerate(reversed(digits))]
    return sum(value - 9 * (value > 9) for value in doubled) % 10 == 0


def rows(database_url: str) -> Iterator[tuple[str, str]]:
    """Every value of every row, with its table."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        for (table,) in tables.fetchall():
            for row in connection.execute(f"SELECT * FROM {table}".encode()).fetchall():
                for value in row:
                    yield table, value.decode("latin-1") if isinstance(value, bytes) else str(value)


def test_a_card_number_would_be_found() -> None:
    assert card_numbers("4242424242424242 is one, 4242424242424241 is not") == ["4242424242424242"]


async def test_no_secret_and_no_card_number_is_kept_or_logged(shop: PaidShop) -> None:
    order = await shop.place(sku0=2)
    with capture_logs() as logs:
        async with served(shop) as front, hearing(shop, front.address):
            secret = await pay(shop, front, order.order_id)
            token = await shop.place("c2", sku1=1)
            request = start_request(token.order_id, payment_method="pm_card_visa")
            await front.stub.StartPayment(request, timeout=60)
            await all_delivered(shop)
            async with httpx.AsyncClient() as http:
                url = shop.sandbox.sandbox.webhooks.endpoints[0].url
                assert (await http.post(url, content=b"{}")).status_code == HTTPStatus.BAD_REQUEST
    assert (await shop.order(order)).state is OrderState.PAID
    assert (await shop.order(token)).state is OrderState.PAID
    kept = list(rows(shop.carry_out.database_url))
    assert {"events", "payments", "requests"} <= {table for table, _ in kept}
    assert any("not heard" in str(line) for line in logs)
    for place, text in [*kept, *(("log", str(line)) for line in logs)]:
        assert not card_numbers(text), place
        for forbidden in ("_secret_", secret, API_KEY, SECRET, "pm_card_visa"):
            assert forbidden not in text, (place, forbidden)
