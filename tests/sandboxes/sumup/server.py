"""The sandbox: the way of a call from the socket to the account and back.

Authorization; what goes wrong on the way in; validation and the effect; what goes wrong on the way out.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Mount, Route

from tests.sandboxes.calls import CallLog, CallRecord
from tests.sandboxes.control import call_routes, delivery_routes, fault_routes, looking_routes
from tests.sandboxes.deliveries import Deliveries
from tests.sandboxes.faults import NEEDS_KEY, FaultKind, Faults
from tests.sandboxes.serving import hang_up, served, wait_until_gone
from tests.sandboxes.sumup.account import Account
from tests.sandboxes.sumup.callbacks import Callbacks
from tests.sandboxes.sumup.control import acting_routes, callback_routes
from tests.sandboxes.sumup.endpoints import Endpoints
from tests.sandboxes.sumup.errors import (
    PLAIN,
    ApiError,
    invalid,
    problem,
    rate_limited,
    server_error,
    unauthorized,
)
from tests.sandboxes.sumup.settings import SumUpSettings

ALL_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]
UNAVAILABLE_PAGE = "<html><body><h1>503 Service Temporarily Unavailable</h1></body></html>"


@dataclass(frozen=True, slots=True)
class Call:
    """A call as it came in."""

    request: Request
    body: bytes
    id: str = field(default_factory=lambda: str(uuid4()))

    @property
    def method(self) -> str:
        """As in HTTP."""
        return self.request.method

    @property
    def path(self) -> str:
        """Without the query."""
        return self.request.url.path


class SumUpSandbox:
    """One merchant behind the API. Make it in a running loop, then run it with `running`."""

    def __init__(self, settings: SumUpSettings | None = None) -> None:
        self.settings = settings or SumUpSettings()
        self.faults = Faults(self.settings.faults)
        self.calls = CallLog()
        self.deliveries = Deliveries(self.settings.deliveries)
        self.callbacks = Callbacks(
            self.deliveries, self.settings.callback_url, self.settings.merchant_code
        )
        self.account = Account(
            self.settings,
            tell_checkout=self.callbacks.tell_checkout,
            tell_reader=self.callbacks.tell_reader,
        )
        self._endpoints = Endpoints(self.account, refund_status=self.settings.refund_status)
        self._is_closing = asyncio.Event()
        self.app = Starlette(
            routes=[
                Mount("/_sandbox", routes=self._control_routes()),
                Route("/{path:path}", self._answer, methods=ALL_METHODS),
            ]
        )

    @asynccontextmanager
    async def running(self, *, port: int = 0) -> AsyncIterator[str]:
        """Serves on loopback and gives the base URL; on exit nothing of it is left."""
        try:
            async with served(self.app, port=port) as base_url:
                self.account.checkouts.page_url = base_url
                try:
                    yield base_url
                finally:
                    self._is_closing.set()
        finally:
            await self.deliveries.close()

    def _control_routes(self) -> list[Route]:
        return [
            *fault_routes(self.faults),
            *delivery_routes(self.deliveries),
            *call_routes(self.calls),
            *looking_routes(self.account),
            *acting_routes(self.account),
            *callback_routes(self.callbacks),
        ]

    # --- the way of a call -----------------------------------------------------------------------

    async def _answer(self, request: Request) -> Response:
        call = Call(request, await request.body())
        if request.headers.get("authorization") != f"Bearer {self.settings.api_key}":
            return self._refuse(call, unauthorized(), None)
        fault = self.faults.draw(call.method, call.path, has_key=False)
        assert fault not in NEEDS_KEY, "SumUp knows no idempotency keys"
        match fault:
            case FaultKind.UNAVAILABLE:
                self._record(call, fault, status=503)
                return HTMLResponse(UNAVAILABLE_PAGE, status_code=503)
            case FaultKind.RESET_BEFORE:
                return await self._cut(call, fault)
            case FaultKind.STALL_BEFORE:
                await self._stall(call)
                return await self._cut(call, fault)
        try:
            return await self._execute(call, fault)
        except ApiError as error:
            return self._refuse(call, error, fault)

    async def _execute(self, call: Call, fault: FaultKind | None) -> Response:
        match fault:
            case FaultKind.ERROR_BEFORE:
                raise server_error()
            case FaultKind.RATE_LIMITED:
                raise rate_limited(self.faults.settings.retry_after_seconds)
            case FaultKind.LATE_EFFECT:
                await self._stall(call)
                await self._wait_while_open(self.faults.settings.late_seconds)
        response = self._perform(call, fault)
        match fault:
            case FaultKind.ERROR_AFTER:
                raise server_error()
            case FaultKind.RESET_AFTER:
                return await self._cut(call, fault)
            case FaultKind.STALL_AFTER:
                await self._stall(call)
        self._record(call, fault, status=response.status_code)
        return response

    def _perform(self, call: Call, fault: FaultKind | None) -> Response:
        """The effect. What a fault hides is hidden from the caller only."""
        found = self._endpoints.find(call.method, call.path)
        if found is None:
            raise problem(404, "not-found", "Requested resource couldn't be found")
        media_type = call.request.headers.get("content-type", "").partition(";")[0]
        if call.method == "POST" and call.body and media_type != PLAIN:
            raise invalid("content-type")
        endpoint, ids = found
        try:
            answer = endpoint.perform(ids, dict(call.request.query_params), call.body)
        except ApiError as error:
            if fault in (FaultKind.ERROR_AFTER, FaultKind.RESET_AFTER, FaultKind.STALL_AFTER):
                return _response(error.status, error.body)
            raise
        return _response(endpoint.status, answer)

    # --- the way out -----------------------------------------------------------------------------

    async def _stall(self, call: Call) -> None:
        await wait_until_gone(call.request, seconds_max=self.faults.settings.stall_seconds)

    async def _wait_while_open(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._is_closing.wait()

    async def _cut(self, call: Call, fault: FaultKind) -> Response:
        self._record(call, fault, status=None)
        return await hang_up(call.request)

    def _refuse(self, call: Call, error: ApiError, fault: FaultKind | None) -> Response:
        self._record(call, fault, status=error.status)
        body = json.dumps(error.body)
        return Response(body, error.status, error.headers, media_type=error.media_type)

    def _record(self, call: Call, fault: FaultKind | None, *, status: int | None) -> None:
        found = self._endpoints.find(call.method, call.path)
        self.calls.add(
            CallRecord(
                method=call.method,
                path=call.path,
                route=found[0].template if found else "unrecognized",
                request_id=call.id,
                idempotency_key=None,
                api_version=None,
                status=status,
                is_replay=False,
                fault=fault,
            )
        )


def _response(status: int, body: Any) -> Response:
    if body is None:
        return Response(status_code=status)
    return Response(json.dumps(body), status, media_type=PLAIN)
