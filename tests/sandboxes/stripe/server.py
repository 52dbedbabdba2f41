"""The sandbox: the way of a call from the socket to the account and back.

Authorization; what goes wrong on the way in; the idempotency layer; validation; the effect; what goes
wrong on the way out.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Mount, Route

from tests.sandboxes.calls import CallLog, CallRecord
from tests.sandboxes.control import call_routes, delivery_routes, fault_routes, looking_routes
from tests.sandboxes.deliveries import Deliveries
from tests.sandboxes.faults import FaultKind, Faults
from tests.sandboxes.serving import hang_up, served, wait_until_gone
from tests.sandboxes.stripe.account import Account
from tests.sandboxes.stripe.call import Call
from tests.sandboxes.stripe.control import acting_routes, event_routes, setting_routes
from tests.sandboxes.stripe.endpoints import Act, Endpoints
from tests.sandboxes.stripe.errors import (
    ApiError,
    key_in_use,
    rate_limited,
    server_error,
    unrecognized,
)
from tests.sandboxes.stripe.events import Cause
from tests.sandboxes.stripe.forms import Params
from tests.sandboxes.stripe.idempotency import IdempotencyKeys, Reply
from tests.sandboxes.stripe.objects import Json
from tests.sandboxes.stripe.refunds import Refund, failure_reason_of
from tests.sandboxes.stripe.settings import StripeSettings
from tests.sandboxes.stripe.webhook_delivery import Webhooks

ALL_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]
UNAVAILABLE_PAGE = "<html><body><h1>503 Service Temporarily Unavailable</h1></body></html>"
REQUEST_LOG = "https://dashboard.stripe.com/test/logs"
LOCK_TIMEOUT_SHARE = 0.3
"""Of the answers with status 429, those that are about one object and not about the rate."""


class StripeSandbox:
    """One account behind its API. Make it in a running loop, then run it with `running`."""

    def __init__(self, settings: StripeSettings | None = None) -> None:
        self.settings = settings or StripeSettings()
        self.faults = Faults(self.settings.faults)
        self.calls = CallLog()
        self.keys = IdempotencyKeys()
        self.deliveries = Deliveries(self.settings.deliveries)
        self.webhooks = Webhooks(self.deliveries, self.settings.webhook_endpoints)
        self.account = Account(
            self.settings,
            listen=self.webhooks.send,
            count_listeners=self.webhooks.count_listeners,
            settle_later=self._settle_later,
        )
        self._endpoints = Endpoints(self.account)
        self._timers: list[asyncio.TimerHandle] = []
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
                self.account.sessions.page_url = base_url
                try:
                    yield base_url
                finally:
                    self._is_closing.set()
        finally:
            for timer in self._timers:
                timer.cancel()
            await self.deliveries.close()

    def _control_routes(self) -> list[Route]:
        return [
            *fault_routes(self.faults),
            *delivery_routes(self.deliveries),
            *call_routes(self.calls),
            *looking_routes(self.account),
            *acting_routes(self.account),
            *event_routes(self.account, self.webhooks),
            *setting_routes(self.webhooks, self.keys),
        ]

    # --- the way of a call -----------------------------------------------------------------------

    async def _answer(self, request: Request) -> Response:
        call = await Call.read(request)
        try:
            call.check_credentials(self.settings.secret_key)
        except ApiError as error:
            return self._respond(call, _reply_to(call, error), None)
        fault = self.faults.draw(call.method, call.path, has_key=call.idempotency_key is not None)
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
            self._turn_away(call, fault)
            return await self._execute_once(call, fault)
        except ApiError as error:
            return _reply_to(call, error)

    def _turn_away(self, call: Call, fault: FaultKind | None) -> None:
        """What is answered before the idempotency layer, and so stored nowhere."""
        match fault:
            case FaultKind.ERROR_BEFORE:
                raise server_error()
            case FaultKind.KEY_IN_USE:
                raise key_in_use(str(call.idempotency_key))
            case FaultKind.RATE_LIMITED:
                raise rate_limited(
                    is_lock=self.faults.random.random() < LOCK_TIMEOUT_SHARE,
                    retry_after_seconds=self.faults.settings.retry_after_seconds,
                )

    async def _execute_once(self, call: Call, fault: FaultKind | None) -> Reply:
        """The idempotency layer: a key's first reply is its only one."""
        found = self._endpoints.find(call.method, call.path)
        if found is None:
            raise unrecognized(call.method, call.path)
        (endpoint, ids), parameters = found, call.parameters()
        key = call.idempotency_key
        if key is None:
            return await self._execute(call, endpoint.prepare(Params(parameters), ids), fault)
        stored = self.keys.find_reply(key, endpoint=call.path, parameters=parameters)
        if stored is not None:
            return stored
        act = endpoint.prepare(Params(parameters), ids)
        with self.keys.executing(key, endpoint=call.path, parameters=parameters) as execution:
            execution.reply = await self._execute(call, act, fault)
            return execution.reply

    async def _execute(self, call: Call, act: Act, fault: FaultKind | None) -> Reply:
        if fault is FaultKind.LATE_EFFECT:
            await self._stall(call)
            await self._wait_while_open(self.faults.settings.late_seconds)
        elif call.idempotency_key is not None:
            await asyncio.sleep(self.settings.think_seconds)
        if fault is FaultKind.ERROR_STORED:
            return _reply_to(call, server_error())
        reply = self._perform(call, act)
        return _reply_to(call, server_error()) if fault is FaultKind.ERROR_AFTER else reply

    def _perform(self, call: Call, act: Act) -> Reply:
        """The effect. A refusal while executing is a reply like any other."""
        with self.account.events.caused_by(Cause(call.request_id, call.idempotency_key)):
            try:
                return Reply(200, _encode(act()))
            except ApiError as error:
                if not error.is_executed:
                    raise
                return _reply_to(call, error)

    # --- the way out -----------------------------------------------------------------------------

    async def _stall(self, call: Call) -> None:
        await wait_until_gone(call.request, seconds_max=self.faults.settings.stall_seconds)

    async def _wait_while_open(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._is_closing.wait()

    async def _cut(self, call: Call, fault: FaultKind) -> Response:
        self._record(call, None, fault, status=None)
        return await hang_up(call.request)

    def _respond(self, call: Call, reply: Reply, fault: FaultKind | None) -> Response:
        self._record(call, reply, fault, status=reply.status)
        headers = {
            "Request-Id": call.request_id,
            "Stripe-Version": call.api_version or self.settings.api_version,
            **reply.headers,
        }
        if call.idempotency_key is not None:
            headers["Idempotency-Key"] = call.idempotency_key
        if reply.is_replay:
            headers["Idempotent-Replayed"] = "true"
        return Response(reply.body, reply.status, headers, media_type="application/json")

    def _record(
        self, call: Call, reply: Reply | None, fault: FaultKind | None, *, status: int | None
    ) -> None:
        found = self._endpoints.find(call.method, call.path)
        self.calls.add(
            CallRecord(
                method=call.method,
                path=call.path,
                route=found[0].template if found else "unrecognized",
                request_id=call.request_id,
                idempotency_key=call.idempotency_key,
                api_version=call.api_version,
                status=status,
                is_replay=reply is not None and reply.is_replay,
                fault=fault,
            )
        )

    # --- time ------------------------------------------------------------------------------------

    def _settle_later(self, refund: Refund) -> None:
        """The bank's last word comes by itself, if the settings say when."""
        if self.settings.refund_settle_seconds is not None:
            self._timers.append(
                asyncio.get_running_loop().call_later(
                    self.settings.refund_settle_seconds, self._settle, refund
                )
            )

    def _settle(self, refund: Refund) -> None:
        if refund.counts:
            self.account.refunds.settle(refund, failure_reason=failure_reason_of(refund))


def _reply_to(call: Call, error: ApiError) -> Reply:
    shown = {**error.error, "request_log_url": f"{REQUEST_LOG}/{call.request_id}"}
    return Reply(error.status, _encode({"error": shown}), error.headers)


def _encode(body: Json) -> bytes:
    return json.dumps(body, indent=2).encode()
