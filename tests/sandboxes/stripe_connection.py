"""A sandbox of Stripe with the two ways to talk to it: the official SDK, and bare HTTP."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import stripe

from tests.sandboxes.stripe.server import StripeSandbox
from tests.sandboxes.stripe.settings import StripeSettings

SDK_WARNS = pytest.mark.filterwarnings(
    "ignore:Use 'content=<...>' to upload raw:DeprecationWarning:httpx._models"
)
"""The SDK hands httpx its form as `data`, of which httpx 0.28 disapproves on every POST."""

PATIENCE_SECONDS = 60.0
"""Of clients that are to get an answer, on a machine that does a lot besides."""


@dataclass(frozen=True, slots=True)
class Connection:
    """Everything a test needs."""

    sandbox: StripeSandbox
    url: str
    http: httpx.AsyncClient
    sdk: stripe.StripeClient

    async def post(
        self, path: str, form: dict[str, Any] | None = None, *, key: str | None = None
    ) -> httpx.Response:
        """A POST under an idempotency key, or without one."""
        headers = {} if key is None else {"Idempotency-Key": key}
        return await self.http.post(path, data=form, headers=headers)

    async def intent(self, **form: Any) -> dict[str, Any]:
        """A PaymentIntent over 20 dollars, unless told otherwise."""
        wanted = {"amount": 2000, "currency": "usd", "allowed_payment_method_types[0]": "card", **form}
        answer = await self.post("/v1/payment_intents", wanted)
        assert answer.status_code == 200, answer.text
        created: dict[str, Any] = answer.json()
        return created

    async def paid_intent(self, **form: Any) -> dict[str, Any]:
        """One that was paid at once, unless told otherwise."""
        return await self.intent(**{"confirm": "true", "payment_method": "pm_card_visa", **form})

    async def act(self, path: str, **arguments: Any) -> Any:
        """Something that the customer or the bank does."""
        answer = await self.http.post(f"/_sandbox/{path}", json=arguments)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def get(self, path: str) -> Any:
        """What can be read."""
        answer = await self.http.get(path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def event_types(self) -> list[str]:
        """What happened, oldest first."""
        events = (await self.get("/_sandbox/state"))["events"]
        return [event["type"] for event in events]


@asynccontextmanager
async def connected(settings: StripeSettings | None = None) -> AsyncIterator[Connection]:
    """A sandbox in this loop, on a port of its own."""
    stripe.enable_telemetry = False  # it would write into the home folder
    sandbox = StripeSandbox(settings)
    key = sandbox.settings.secret_key
    transport = stripe.HTTPXClient(timeout=PATIENCE_SECONDS)
    async with (
        sandbox.running() as url,
        httpx.AsyncClient(
            base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=PATIENCE_SECONDS
        ) as http,
    ):
        sdk = stripe.StripeClient(key, base_addresses={"api": url}, http_client=transport)
        try:
            yield Connection(sandbox, url, http, sdk)
        finally:
            await transport.close_async()  # type: ignore[no-untyped-call] # as the SDK has it
