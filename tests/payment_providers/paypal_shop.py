"""A shop that pays by PayPal: the adapter, the sandbox, and the customer."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from payment_providers.calls import CallLimits
from payment_providers.paypal.provider import PayPalProvider
from payment_providers.paypal.settings import PayPalSettings
from payment_providers.port import (
    Flow,
    NotDone,
    OutcomeUnknown,
    PaymentName,
    PaymentWanted,
    ProviderPayment,
)
from tests.sandboxes.paypal.connection import Connection, connected
from tests.sandboxes.paypal.settings import PayPalSettings as SandboxSettings

LIMITS = CallLimits(attempt_seconds_max=60.0, total_seconds_max=120.0, repeat_count_max=0)
NOW = datetime.now(UTC)
ORDERS = "/v2/checkout/orders"

Both = tuple[PayPalProvider, Connection]


def provider_at(url: str, limits: CallLimits = LIMITS, **settings: Any) -> PayPalProvider:
    return PayPalProvider(
        PayPalSettings(
            client_id="client_sandbox",
            client_secret=settings.pop("client_secret", "secret_sandbox"),
            webhook_ids=("WEBHOOK1",),
            api_url=url,
            limits=limits,
        ),
        monotonic=settings.pop("monotonic", time.monotonic),
        clock=lambda: datetime.now(UTC) + timedelta(seconds=1),
        chance=Random(7),
    )


@asynccontextmanager
async def speaking(
    limits: CallLimits = LIMITS, sandbox: SandboxSettings | None = None, **settings: Any
) -> AsyncIterator[Both]:
    async with connected(sandbox) as connection:
        provider = provider_at(connection.url, limits, **settings)
        try:
            yield provider, connection
        finally:
            await provider.close()


def wanted(**other: Any) -> PaymentWanted:
    facts: dict[str, Any] = {
        "payment_id": "o1.1",
        "order_id": "o1",
        "currency_code": "USD",
        "amount_minor": 2000,
        "flow": Flow.HOSTED,
        "captures_at_once": True,
        "description": "Order 1",
        "create_time": NOW,
        "customer_return_url": "https://shop.example/paid",
        "customer_cancel_url": "https://shop.example/cart",
        **other,
    }
    return PaymentWanted(**facts)


def name_of(wish: PaymentWanted, reference: str = "") -> PaymentName:
    return PaymentName(wish.payment_id, reference, wish.currency_code, wish.flow, wish.create_time)


async def begun(both: Both, act: str = "", **other: Any) -> PaymentName:
    """A payment, and perhaps what the customer did with it."""
    provider, sandbox = both
    wish = wanted(**other)
    reference = (await provider.begin(wish, key=f"{wish.payment_id}:begin")).payment.provider_reference
    if act:
        await sandbox.act(f"orders/{reference}/{act}")
    return name_of(wish, reference)


async def paid(both: Both, **other: Any) -> tuple[PaymentName, ProviderPayment]:
    name = await begun(both, "approve", **other)
    amount_minor = other.get("amount_minor", 2000)
    return name, await both[0].capture(name, amount_minor, key=f"{name.payment_id}:capture")


async def read(both: Both, name: PaymentName) -> ProviderPayment:
    payment = await both[0].read(name)
    assert payment is not None
    return payment


async def taken_minor(sandbox: Connection, currency_code: str = "USD") -> int:
    totals = (await sandbox.look("totals"))["by_currency"]
    return int(totals.get(currency_code, {}).get("captured_minor", 0))


async def insisting(call: Any) -> Any:
    for _ in range(1000):
        try:
            return await call()
        except (NotDone, OutcomeUnknown):
            await asyncio.sleep(0)
    raise AssertionError("never answered")
