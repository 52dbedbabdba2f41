"""An HTTP server in a process and a loop that are not its own."""

import asyncio
import contextlib
import socket
from collections.abc import Generator

import uvicorn


class GuestServer(uvicorn.Server):
    """Says when it is ready, and leaves the signals to the process it runs in."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.is_ready = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listens, as uvicorn has it."""
        await super().startup(sockets)
        self.is_ready.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Captures none."""
        yield
