"""A sandbox of PayPal, with bare HTTP to act on it and look at it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from tests.sandboxes.paypal.server import PayPalSandbox
from tests.sandboxes.paypal.settings import PayPalSettings

PATIENCE_SECONDS = 60.0
"""Of clients that are to get an answer, on a machine that does a lot besides."""


@dataclass(frozen=True, slots=True)
class Connection:
    """Everything a test needs."""

    sandbox: PayPalSandbox
    url: str
    http: httpx.AsyncClient

    async def act(self, path: str, **arguments: Any) -> Any:
        """Something that the customer does, or PayPal."""
        answer = await self.http.post(f"/_sandbox/{path}", json=arguments)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def arm(self, kind: str, path_prefix: str, *, method: str = "POST") -> None:
        """Has the next call go wrong."""
        await self.act("faults/armed", kind=kind, method=method, path_prefix=path_prefix)

    async def look(self, what: str) -> Any:
        """`state`, `totals` or `calls`."""
        answer = await self.http.get(f"/_sandbox/{what}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def token(self) -> str:
        """A token of its own."""
        settings = self.sandbox.settings
        answer = await self.http.post(
            "/v1/oauth2/token",
            data={"grant_type": "client_credentials"},
            auth=(settings.client_id, settings.client_secret),
        )
        assert answer.status_code == 200, answer.text
        return str(answer.json()["access_token"])

    async def send(
        self, method: str, path: str, body: Any = None, *, request_id: str = "", **headers: str
    ) -> httpx.Response:
        """A call as bare as it comes, with a token."""
        sent = {"Authorization": f"Bearer {await self.token()}", **headers}
        if request_id:
            sent["PayPal-Request-Id"] = request_id
        return await self.http.request(method, path, json=body, headers=sent)


@asynccontextmanager
async def connected(settings: PayPalSettings | None = None) -> AsyncIterator[Connection]:
    """A sandbox in this loop, on a port of its own."""
    sandbox = PayPalSandbox(settings)
    async with (
        sandbox.running() as url,
        httpx.AsyncClient(base_url=url, timeout=PATIENCE_SECONDS) as http,
    ):
        yield Connection(sandbox, url, http)
