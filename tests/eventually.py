"""Waiting for what must come true, without guessing how long it takes."""

import asyncio
from collections.abc import Awaitable, Callable

POLL_SECONDS = 0.02


async def eventually(is_true: Callable[[], Awaitable[bool]], *, seconds: float = 10) -> None:
    """Returns once the condition holds; fails after `seconds`."""
    async with asyncio.timeout(seconds):
        while not await is_true():  # noqa: ASYNC110 what is waited for happens in other processes
            await asyncio.sleep(POLL_SECONDS)
