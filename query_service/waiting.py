"""Waiting for what Redis has yet to tell: one task asks for all, each waits until its own deadline."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress


class Poll:
    """Looks again and again while somebody waits, and not at all while nobody does."""

    def __init__(self, look: Callable[[], Awaitable[None]], *, pause_seconds: float) -> None:
        """look: tells those who wait what it finds; it does not raise."""
        self._look = look
        self._pause_seconds = pause_seconds
        self._waiting_count = 0
        self._task: asyncio.Task[None] | None = None

    @contextmanager
    def running(self) -> Iterator[None]:
        """Somebody waits while the block runs."""
        self._waiting_count += 1
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())
        try:
            yield
        finally:
            self._waiting_count -= 1

    async def close(self) -> None:
        """Stops looking; whoever still waits runs into its deadline."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        while self._waiting_count:
            await asyncio.sleep(self._pause_seconds)
            await self._look()


async def told_in_time(future: "asyncio.Future[bool]", until: float) -> bool:
    """True once somebody tells the future; False when time is up first."""
    timer = asyncio.get_running_loop().call_at(until, _time_is_up, future)
    try:
        return await future
    finally:
        timer.cancel()


def tell(future: "asyncio.Future[bool]") -> None:
    """Wakes who waits, unless that has given up or was told already."""
    if not future.done():
        future.set_result(True)


def fail(future: "asyncio.Future[bool]", error: Exception) -> None:
    """Raises the error where somebody waits, unless that has given up or was told already."""
    if not future.done():
        future.set_exception(error)
        # Whoever gives up in this very moment does not fetch it, and asyncio would log that.
        future.exception()


def _time_is_up(future: "asyncio.Future[bool]") -> None:
    if not future.done():
        future.set_result(False)
