"""An HTTP server in a process and a loop that are not its own."""

import asyncio
import contextlib
import socket
from collections.abc import Generator

import uvicorn

TICK_SECONDS = 0.1
"""As uvicorn has it: every tenth tick renews the date header."""


class GuestServer(uvicorn.Server):
    """Says when it is ready, and leaves the signals to the process it runs in."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.is_ready = asyncio.Event()
        self._told_to_stop = asyncio.Event()

    def stop(self) -> None:
        """Has it answer what was begun and end."""
        self.should_exit = True
        self._told_to_stop.set()

    async def main_loop(self) -> None:
        """Ticks until it is told to stop: at once then, where uvicorn finds out at its next tick."""
        counter = 0
        while not await self.on_tick(counter):
            counter += 1
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._told_to_stop.wait(), TICK_SECONDS)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listens, as uvicorn has it."""
        await super().startup(sockets)
        self.is_ready.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Captures none."""
        yield
