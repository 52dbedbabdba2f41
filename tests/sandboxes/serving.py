"""Serving a sandbox: an ASGI application on loopback, in a loop that is already running."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import uvicorn
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from serving.guest_server import GuestServer

Address = tuple[str, int]

HANG_UP = "sandbox.hang_up"
"""The ASGI extension by which an endpoint resets the connection that it is asked over."""

KEEP_ALIVE_SECONDS = 600
"""Longer than a pooled client idles: only a fault may take a connection away."""

GONE_SECONDS_MAX = 10
"""A reset is noticed in the next turn of the loop; more would be a bug here."""

RESET_ON_CLOSE = struct.pack("ii", 1, 0)
"""SO_LINGER on, for no time: closing sends RST instead of FIN."""


class Connections:
    """The open connections by their client's address, so that one can be reset."""

    def __init__(self) -> None:
        self._transports: dict[Address, asyncio.Transport] = {}

    def add(self, client: Address, transport: asyncio.Transport) -> None:
        """Remembers a connection."""
        self._transports[client] = transport

    def discard(self, client: Address) -> None:
        """Forgets one that is gone."""
        self._transports.pop(client, None)

    def reset(self, client: Address) -> None:
        """Drops one without a word, as a crashing peer does; nothing if it is gone already."""
        transport = self._transports.get(client)
        if transport is None:
            return
        transport.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE
        )
        transport.abort()

    def reset_all(self) -> None:
        """Drops all, so that no stalled call outlives the server."""
        for client in list(self._transports):
            self.reset(client)


@asynccontextmanager
async def served(app: ASGIApp, *, port: int = 0) -> AsyncIterator[str]:
    """Serves on 127.0.0.1 and gives the base URL; on exit open calls are cut and the port is free."""
    with listening_socket(port) as listener:
        connections = Connections()
        server = GuestServer(
            uvicorn.Config(
                _offering_to_hang_up(app, connections),
                http=_tracking(connections),
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
            )
        )
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            await server.is_ready.wait()
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.stop()
            connections.reset_all()
            await serving


def listening_socket(port: int) -> socket.socket:
    """A socket on loopback; port 0 takes a free one."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
    except OSError:
        listener.close()
        raise
    return listener


async def hang_up(request: Request) -> Response:
    """Resets the connection of a call whose body was read; what is returned reaches nobody."""
    request.scope["extensions"][HANG_UP]()
    await wait_until_gone(request, seconds_max=GONE_SECONDS_MAX)
    return Response()


async def wait_until_gone(request: Request, *, seconds_max: float) -> None:
    """Returns when the client has gone away, or after `seconds_max`. The body must have been read."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds_max):
            while (await request.receive())["type"] != "http.disconnect":
                pass


def _tracking(connections: Connections) -> type[asyncio.Protocol]:
    class TrackedProtocol(H11Protocol):
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as uvicorn's
            super().connection_made(transport)
            assert self.client is not None
            connections.add(self.client, transport)

        def connection_lost(self, exc: Exception | None) -> None:
            assert self.client is not None
            connections.discard(self.client)
            super().connection_lost(exc)

    return TrackedProtocol


def _offering_to_hang_up(app: ASGIApp, connections: Connections) -> ASGIApp:
    async def offering(scope: Scope, receive: Receive, send: Send) -> None:
        scope.setdefault("extensions", {})[HANG_UP] = partial(connections.reset, scope["client"])
        # A client that was killed in the middle of its call is nobody's mistake.
        with contextlib.suppress(ClientDisconnect):
            await app(scope, receive, send)

    return offering
