"""A sandbox of SumUp and a bare HTTP client to talk to it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from tests.sandboxes.sumup.server import SumUpSandbox
from tests.sandboxes.sumup.settings import SumUpSettings

PATIENCE_SECONDS = 60.0
"""Of clients that are to get an answer, on a machine that does a lot besides."""


@dataclass(frozen=True, slots=True)
class SumUpConnection:
    """Everything a test needs."""

    sandbox: SumUpSandbox
    url: str
    http: httpx.AsyncClient

    @property
    def reader_id(self) -> str:
        """The one that is paired."""
        return self.sandbox.settings.reader_ids[0]

    async def act(self, path: str, **arguments: Any) -> Any:
        """Something that the customer or somebody in the shop does."""
        answer = await self.http.post(f"/_sandbox/{path}", json=arguments)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def arm(self, kind: str, method: str, path_prefix: str = "/v", count: int = 1) -> None:
        """Has the next calls go wrong."""
        await self.act(
            "faults/armed",
            kind=kind,
            method=method,
            path_prefix=path_prefix,
            remaining_count=count,
        )

    async def get(self, path: str) -> Any:
        """What can be read."""
        answer = await self.http.get(path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def totals(self, currency: str = "EUR") -> tuple[int, int]:
        """What was captured and what was refunded, in minor units."""
        told = (await self.get("/_sandbox/totals"))["by_currency"].get(currency, {})
        return told.get("captured_minor", 0), told.get("refunded_minor", 0)

    async def call_count(self, method: str, ending: str) -> int:
        """How many calls there were of a method and to paths that end so."""
        records = await self.get("/_sandbox/calls/records")
        return sum(record["method"] == method and record["path"].endswith(ending) for record in records)


@asynccontextmanager
async def connected(settings: SumUpSettings | None = None) -> AsyncIterator[SumUpConnection]:
    """A sandbox in this loop, on a port of its own."""
    sandbox = SumUpSandbox(settings)
    headers = {"Authorization": f"Bearer {sandbox.settings.api_key}"}
    async with (
        sandbox.running() as url,
        httpx.AsyncClient(base_url=url, headers=headers, timeout=PATIENCE_SECONDS) as http,
    ):
        yield SumUpConnection(sandbox, url, http)
