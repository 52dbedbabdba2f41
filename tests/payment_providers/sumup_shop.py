"""A shop that speaks to SumUp: the adapter, the sandbox, and a clock that the test sets."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

from payment_providers.calls import CallLimits
from payment_providers.port import (
    Flow,
    PaymentName,
    PaymentWanted,
    ProviderPayment,
)
from payment_providers.sumup.provider import SumUpProvider
from payment_providers.sumup.settings import SumUpSettings
from tests.sandboxes.sumup.connection import SumUpConnection, connected
from tests.sandboxes.sumup.settings import SumUpSettings as SandboxSettings

LIMITS = CallLimits(attempt_seconds_max=60.0, total_seconds_max=120.0, repeat_count_max=0)
IMPATIENT = CallLimits(attempt_seconds_max=2.0, total_seconds_max=120.0, repeat_count_max=0)
NOW = datetime.now(UTC)
HOOK = "https://shop.example/webhooks/sumup"


@dataclass(slots=True)
class Clock:
    """The time, as a test has it."""

    time: datetime = field(default_factory=lambda: NOW)

    def __call__(self) -> datetime:
        return self.time

    def advance(self, **of: float) -> None:
        self.time += timedelta(**of)


@dataclass(frozen=True, slots=True)
class Shop:
    """The adapter, the sandbox it speaks to, and the clock it goes by."""

    provider: SumUpProvider
    sandbox: SumUpConnection
    clock: Clock

    async def begun(self, **other: Any) -> PaymentName:
        wish = wanted(**other)
        told = await self.provider.begin(wish, key="k")
        return name_of(wish, told.payment.provider_reference)

    async def paid(self, **other: Any) -> PaymentName:
        name = await self.begun(**other)
        if name.flow is Flow.READER:
            await self.sandbox.act(f"readers/{name.reader_id}/pay")
        else:
            await self.sandbox.act(f"checkouts/{name.provider_reference}/pay")
        return name

    async def existing(self, name: PaymentName) -> ProviderPayment:
        told = await self.provider.read(name)
        assert told is not None
        return told

    async def transaction_id(self) -> str:
        (transaction,) = (await self.sandbox.get("/_sandbox/state"))["transactions"]
        return str(transaction["id"])


def provider_at(url: str, clock: Clock, limits: CallLimits = LIMITS, **settings: Any) -> SumUpProvider:
    given = {
        "api_key": "sup_sk_sandbox",
        "merchant_code": "MSANDBOX",
        "webhook_url": HOOK,
        "affiliate_app_id": "com.example.shop",
        "affiliate_key": "aff-sandbox",
        **settings,
    }
    return SumUpProvider(
        SumUpSettings(**given, api_url=url, limits=limits),
        monotonic=time.monotonic,
        chance=Random(7),
        now=clock,
    )


@asynccontextmanager
async def speaking(
    limits: CallLimits = LIMITS, sandbox: SandboxSettings | None = None, **settings: Any
) -> AsyncIterator[Shop]:
    async with connected(sandbox) as connection:
        clock = Clock()
        provider = provider_at(connection.url, clock, limits, **settings)
        try:
            yield Shop(provider, connection, clock)
        finally:
            await provider.close()


READER_ID = SandboxSettings().reader_ids[0]


def wanted(**other: Any) -> PaymentWanted:
    facts: dict[str, Any] = {
        "payment_id": "o1.1",
        "order_id": "o1",
        "currency_code": "EUR",
        "amount_minor": 2000,
        "flow": Flow.HOSTED,
        "captures_at_once": True,
        "description": "Order 1",
        "create_time": NOW,
        "customer_return_url": "https://shop.example/paid",
        "reader_id": READER_ID if other.get("flow") is Flow.READER else "",
        **other,
    }
    return PaymentWanted(**facts)


def name_of(wish: PaymentWanted, reference: str = "") -> PaymentName:
    return PaymentName(
        wish.payment_id,
        reference,
        wish.currency_code,
        wish.flow,
        wish.create_time,
        reader_id=wish.reader_id,
    )
