"""Waiting for a server that a service cannot begin without, which its log says now and then."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from serving.reminders import Reminder

log = structlog.get_logger(__name__)

RETRY_SECONDS = 1.0

AnswerT = TypeVar("AnswerT")


async def answer_of(
    server: str, ask: Callable[[], Awaitable[AnswerT]], away: tuple[type[Exception], ...]
) -> AnswerT:
    """What `ask` returns once it no longer raises one of `away`, however long that takes."""
    reminder = Reminder()
    while True:
        try:
            return await ask()
        except away as error:
            if reminder.is_due(type(error).__name__):
                log.warning(f"waiting for {server}", reason=str(error).strip())
        await asyncio.sleep(RETRY_SECONDS)
