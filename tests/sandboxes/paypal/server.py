"""The sandbox: the way of a call from the socket to the account and back.

What goes wrong on the way in; the token; the request id; validation; the effect; what goes wrong on the
way out. Tokens and certificates take the same way, as they come from the same hosts.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Mount, Route

from tests.sandboxes.calls import CallLog, CallRecord
from tests.sandboxes.control import call_routes, delivery_routes, fault_routes, looking_routes
from tests.sandboxes.deliveries import Deliveries
from tests.sandboxes.faults import FaultKind, Faults
from tests.sandboxes.paypal.account import Account
from tests.sandboxes.paypal.call import Call
from tests.sandboxes.paypal.certificates import authority_called, signer_of
from tests.sandboxes.paypal.control import acting_routes, event_routes, setting_routes
from tests.sandboxes.paypal.endpoints import Act, Endpoint, Endpoints
from tests.sandboxes.paypal.errors import (
    ApiError,
    in_progress,
    no_such_path,
    not_found,
    rate_limited,
    server_error,
)
from tests.sandboxes.paypal.events import Shown
from tests.sandboxes.paypal.objects import Json
from tests.sandboxes.paypal.reporting import SearchTransactions
from tests.sandboxes.paypal.request_ids import RequestIds
from tests.sandboxes.paypal.settings import PayPalSettings
from tests.sandboxes.paypal.tokens import Tokens
from tests.sandboxes.paypal.webhook_delivery import Webhooks
from tests.sandboxes.serving import hang_up, served, wait_until_gone

ALL_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]
UNAVAILABLE_PAGE = "<html><body><h1>503 Service Unavailable</h1></body></html>"
TOKEN_PATH = "/v1/oauth2/token"
REPORTING_PATH = "/v1/reporting/transactions"
CERTIFICATES_PATH = "/v1/notifications/certs/"
CERTIFICATE_ID = "CERT-sandbox-0001"
MINIMAL = ("id", "status", "links")


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer as bytes."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    is_replay: bool = False
    media_type: str = "application/json"


class PayPalSandbox:
    """One account behind its API. Make it in a running loop, then run it with `running`."""

    def __init__(self, settings: PayPalSettings | None = None) -> None:
        self.settings = settings or PayPalSettings()
        self.faults = Faults(self.settings.faults)
        self.calls = CallLog()
        self.request_ids = RequestIds()
        self.tokens = Tokens(self.settings)
        self.authority = authority_called("paypal")
        self.signer = signer_of(self.authority)
        self.certificate_by_id = {CERTIFICATE_ID: self.signer.pem}
        self.deliveries = Deliveries(self.settings.deliveries)
        self.webhooks = Webhooks(self.deliveries, self.settings.webhooks, self.signer)
        self.account = Account(self.settings, listen=self.webhooks.send)
        self._endpoints = Endpoints(self.account)
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
                self.account.events.api_url = base_url
                self.webhooks.certificate_url = f"{base_url}{CERTIFICATES_PATH}{CERTIFICATE_ID}"
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
            *event_routes(self.account, self.webhooks),
            *setting_routes(self.webhooks, self.request_ids, self.tokens),
            Route("/authority", self._show_authority),
        ]

    async def _show_authority(self, _request: Request) -> Response:
        """GET /authority: whose certificates a receiver of webhooks has to trust, as PEM."""
        return Response(self.authority.pem, media_type="application/x-pem-file")

    # --- the way of a call -----------------------------------------------------------------------

    async def _answer(self, request: Request) -> Response:
        call = await Call.read(request)
        fault = self.faults.draw(call.method, call.path, has_key=call.request_id is not None)
        match fault:
            case FaultKind.UNAVAILABLE:
                self._record(call, None, fault, status=503)
                return HTMLResponse(UNAVAILABLE_PAGE, status_code=503)
            case FaultKind.RESET_BEFORE:
                return await self._cut(call, fault)
            case FaultKind.STALL_BEFORE:
                await self._stall(call)
                return await self._cut(call, fault)
        reply = await self._reply(call, fault)
        match fault:
            case FaultKind.RESET_AFTER:
                return await self._cut(call, fault)
            case FaultKind.STALL_AFTER:
                await self._stall(call)
        return self._respond(call, reply, fault)

    async def _reply(self, call: Call, fault: FaultKind | None) -> Reply:
        try:
            self._turn_away(fault)
            reply = self._special_reply(call) or await self._execute_once(call, fault)
            if fault is FaultKind.ERROR_AFTER:
                raise server_error()
        except ApiError as error:
            return Reply(error.status, _encode(error.as_json(call.debug_id)), error.headers)
        return reply

    def _turn_away(self, fault: FaultKind | None) -> None:
        """What is answered before anything is looked at."""
        match fault:
            # PayPal documents no failures that a request id remembers: both are one here.
            case FaultKind.ERROR_BEFORE | FaultKind.ERROR_STORED:
                raise server_error()
            case FaultKind.KEY_IN_USE:
                raise in_progress()
            case FaultKind.RATE_LIMITED:
                raise rate_limited(retry_after_seconds=self.faults.settings.retry_after_seconds)

    def _special_reply(self, call: Call) -> Reply | None:
        """Tokens, certificates and reports: what is not about one object."""
        if (call.method, call.path) == ("POST", TOKEN_PATH):
            authorization, content_type = call.header("authorization"), call.header("content-type")
            token = self.tokens.issue(
                authorization=authorization, content_type=content_type, body=call.body
            )
            return Reply(200, _encode(token))
        if call.method == "GET" and call.path.startswith(CERTIFICATES_PATH):
            id_ = call.path.removeprefix(CERTIFICATES_PATH)
            if id_ not in self.certificate_by_id:
                raise not_found("certificate_id", id_)
            return Reply(200, self.certificate_by_id[id_], media_type="application/x-pem-file")
        self.tokens.check(call.header("authorization"))
        if (call.method, call.path) == ("GET", REPORTING_PATH):
            search = SearchTransactions.read(call.request.query_params)
            return Reply(200, _encode(self.account.reporting.page(search)))
        return None

    async def _execute_once(self, call: Call, fault: FaultKind | None) -> Reply:
        """A known request id tells the object as it is now, with 200 instead of 201."""
        found = self._endpoints.find(call.method, call.path)
        if found is None:
            raise no_such_path()
        endpoint, ids = found
        if call.request_id is None:
            return await self._execute(call, endpoint, ids, fault)
        made = self.request_ids.find(call.request_id, path=call.path, body=call.body)
        if made is not None:
            return self._shown(call, made, 200, is_replay=True)
        act = endpoint.prepare(call.fields(), ids)
        with self.request_ids.executing(call.request_id, path=call.path, body=call.body) as execution:
            await self._wait(call, fault)
            execution.made = act()
        return self._shown(call, execution.made, endpoint.status)

    async def _execute(
        self, call: Call, endpoint: Endpoint, ids: list[str], fault: FaultKind | None
    ) -> Reply:
        act: Act = endpoint.prepare(call.fields(), ids)
        if fault is FaultKind.LATE_EFFECT:
            await self._wait(call, fault)
        return self._shown(call, act(), endpoint.status)

    def _shown(self, call: Call, made: Shown, status: int, *, is_replay: bool = False) -> Reply:
        body: Json = made.as_json(self.account.events.api_url)
        if not call.wants_all:
            if call.path.endswith("/void"):
                return Reply(204, b"", is_replay=is_replay)
            body = {name: body[name] for name in MINIMAL}
        return Reply(status, _encode(body), is_replay=is_replay)

    # --- the way out -----------------------------------------------------------------------------

    async def _wait(self, call: Call, fault: FaultKind | None) -> None:
        if fault is FaultKind.LATE_EFFECT:
            await self._stall(call)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self.faults.settings.late_seconds):
                    await self._is_closing.wait()
        else:
            await asyncio.sleep(self.settings.think_seconds)

    async def _stall(self, call: Call) -> None:
        await wait_until_gone(call.request, seconds_max=self.faults.settings.stall_seconds)

    async def _cut(self, call: Call, fault: FaultKind) -> Response:
        self._record(call, None, fault, status=None)
        return await hang_up(call.request)

    def _respond(self, call: Call, reply: Reply, fault: FaultKind | None) -> Response:
        self._record(call, reply, fault, status=reply.status)
        headers = {"Paypal-Debug-Id": call.debug_id, **reply.headers}
        return Response(reply.body, reply.status, headers, media_type=reply.media_type)

    def _record(
        self, call: Call, reply: Reply | None, fault: FaultKind | None, *, status: int | None
    ) -> None:
        found = self._endpoints.find(call.method, call.path)
        self.calls.add(
            CallRecord(
                method=call.method,
                path=call.path,
                route=found[0].template if found else call.path,
                request_id=call.debug_id,
                idempotency_key=call.request_id,
                api_version=None,
                status=status,
                is_replay=reply is not None and reply.is_replay,
                fault=fault,
            )
        )


def _encode(body: Json) -> bytes:
    return json.dumps(body).encode()
