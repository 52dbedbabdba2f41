"""The webhook service put together: HTTP in front, the command service behind."""

import asyncio
import contextlib
import socket
from datetime import UTC, datetime
from typing import cast

import grpc
import structlog
import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from payment_providers.wiring import ProviderSettings, providers_of
from serving.guest_server import GuestServer
from serving.server import DRAIN_SECONDS_MAX, CannotServe, run
from shopkeeper.payment.v1 import payment_command_service_pb2_grpc
from webhooks.hearing import BODY_SECONDS_MAX, HEARD, Hearing
from webhooks.settings import Settings

log = structlog.get_logger(__name__)

BODY_BYTES_MAX = 256 * 1024
"""Providers' events have a few kilobytes; what is longer is not read to its end."""

BACKLOG = 512

RECONNECT_MS_MAX = 1_000
"""Between two attempts to reach the command service: gRPC's own two minutes would keep providers
waiting long after it is back."""


def application(hearing: Hearing, *, body_seconds_max: float = BODY_SECONDS_MAX) -> Starlette:
    """POST /webhooks/{provider}, and GET /healthz for whoever balances the load."""

    async def webhook(request: Request) -> Response:
        provider = request.path_params["provider"]
        if not hearing.knows(provider):
            return PlainTextResponse("no such provider\n", status_code=404)
        try:
            async with asyncio.timeout(body_seconds_max):
                body = await _body(request)
        except TimeoutError:
            HEARD.labels(provider, "slow").inc()
            return PlainTextResponse("too slow\n", status_code=408)
        if body is None:
            HEARD.labels(provider, "oversized").inc()
            log.warning("not heard", provider=provider, outcome="oversized")
            return PlainTextResponse("too large\n", status_code=413)
        heard = await hearing.hear(provider, dict(request.headers), body)
        return PlainTextResponse(f"{heard.name.lower()}\n", status_code=heard.value)

    async def healthz(_: Request) -> Response:
        return PlainTextResponse("serving\n")

    return Starlette(
        routes=[
            Route("/webhooks/{provider}", webhook, methods=["POST"]),
            Route("/healthz", healthz, methods=["GET"]),
        ]
    )


async def _body(request: Request) -> bytes | None:
    """The body, byte for byte; None when it is longer than any provider's."""
    parts, length = [], 0
    with contextlib.suppress(ClientDisconnect):
        async for part in request.stream():
            length += len(part)
            if length > BODY_BYTES_MAX:
                return None
            parts.append(part)
    return b"".join(parts)


class HttpServer:
    """Serves an application until it is drained; a Part."""

    def __init__(
        self, address: str, app: Starlette, *, drain_seconds_max: float = DRAIN_SECONDS_MAX
    ) -> None:
        self._address = address
        self._server = GuestServer(
            uvicorn.Config(
                app,
                lifespan="off",
                ws="none",
                log_config=None,
                access_log=False,
                server_header=False,
                # Whatever the annotation says, it takes parts of a second.
                timeout_graceful_shutdown=cast("int", drain_seconds_max),
                backlog=BACKLOG,
            )
        )
        self._serving: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Listens.

        Raises:
            CannotServe: the address is taken, or none.
        """
        listener = _listening(self._address)
        self._serving = asyncio.create_task(self._server.serve(sockets=[listener]))
        await self._server.is_ready.wait()

    async def drain(self) -> None:
        """Takes no new connections and returns when what was begun is answered."""
        self._server.stop()
        if self._serving is not None:
            await self._serving


def _listening(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, int(port)))
    except (OSError, ValueError, OverflowError) as error:
        listener.close()
        raise CannotServe(f"cannot listen on {address}: {error}") from error
    return listener


async def serve(settings: Settings) -> None:
    """Hears providers until SIGTERM, then answers what was begun and stops."""
    providers = providers_of(ProviderSettings())
    options = (("grpc.max_reconnect_backoff_ms", RECONNECT_MS_MAX),)
    async with grpc.aio.insecure_channel(settings.command_address, options=options) as channel:
        commands = payment_command_service_pb2_grpc.PaymentCommandServiceStub(channel)
        hearing = Hearing(
            providers,
            commands,
            lambda: datetime.now(UTC),
            command_seconds_max=settings.webhooks_command_seconds_max,
        )
        app = application(hearing, body_seconds_max=settings.webhooks_body_seconds_max)
        drain_seconds_max = settings.drain_seconds_max
        log.info("hears", providers=sorted(providers))
        await run(
            [HttpServer(settings.webhooks_address, app, drain_seconds_max=drain_seconds_max)],
            metrics_port=settings.webhooks_metrics_port,
        )
    for provider in providers.values():
        await provider.close()
