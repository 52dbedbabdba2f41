"""Somebody who is told of events: keeps every request, and answers as a test wishes."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tests.sandboxes.serving import served


@dataclass(frozen=True, slots=True)
class Received:
    """One request, byte for byte."""

    body: bytes
    headers: dict[str, str]

    def json(self) -> Any:
        """What it says."""
        return json.loads(self.body)


@dataclass(slots=True)
class Receiver:
    """Answers with the next of `statuses`, then with 200."""

    url: str = ""
    statuses: list[int] = field(default_factory=list)
    received: list[Received] = field(default_factory=list)

    async def take(self, request: Request) -> Response:
        """Keeps a request."""
        self.received.append(Received(await request.body(), dict(request.headers)))
        return Response(status_code=self.statuses.pop(0) if self.statuses else 200)

    def types(self) -> list[str]:
        """The types of the events in the order in which they came."""
        return [received.json()["type"] for received in self.received]


@asynccontextmanager
async def receiving(*statuses: int, port: int = 0) -> AsyncIterator[Receiver]:
    """A receiver on loopback."""
    receiver = Receiver(statuses=list(statuses))
    app = Starlette(routes=[Route("/hook", receiver.take, methods=["POST"])])
    async with served(app, port=port) as base_url:
        receiver.url = f"{base_url}/hook"
        yield receiver
