"""The door of a server that is about to stop: who is still inside, and whether anybody still comes."""

import asyncio
from contextlib import suppress

from serving.failures import Unavailable

QUIET_SECONDS = 0.1
"""So long nobody has come: whoever was on the way when the door was shut has been told so."""

QUIET_LOOKS = 5
"""Looks in that time. A process that was frozen for as long has had no chance to hear anybody."""

REFUSING_SHARE = 0.5
"""Of the time that calls in flight have, and before it. Whoever still comes after that does not mind
health checks: gRPC turns it away, without a reason.

Long enough for a balancer that asks for our health every few seconds.
"""


class Draining(Unavailable):
    """The service is shutting down; send the same request to another one."""


class Gate:
    """Counts the calls that are inside, and lets none in once it is shut.

    A call is inside while a `with` block runs, which raises Draining when the gate is shut.
    """

    def __init__(self, *, refusing_seconds_max: float) -> None:
        """refusing_seconds_max: how long those who still come are told so, once it is shut."""
        self._refusing_seconds_max = refusing_seconds_max
        self._is_shut = False
        self._inside_count = 0
        self._come_count = 0

    def __enter__(self) -> None:
        """Raises Draining when it is shut."""
        self.check()
        self._inside_count += 1

    def __exit__(self, *_exception: object) -> None:
        """The call is out again."""
        self._inside_count -= 1

    def check(self) -> None:
        """Lets a stream in, which may be endless: whoever answers it ends it.

        Raises:
            Draining: the gate is shut.
        """
        self._come_count += 1
        if self._is_shut:
            raise Draining

    async def shut(self) -> None:
        """Lets nobody in any more; returns once all are out and nobody comes, or after a while.

        gRPC hands us calls one after another. Those that wait for their turn when its server is stopped
        are cancelled without a word, so they are heard and refused before.
        """
        self._is_shut = True
        with suppress(TimeoutError):
            async with asyncio.timeout(self._refusing_seconds_max):
                while not await self._is_quiet():
                    pass

    async def _is_quiet(self) -> bool:
        """False as soon as somebody comes, or while somebody is inside."""
        come_count = self._come_count
        for _ in range(QUIET_LOOKS):
            await asyncio.sleep(QUIET_SECONDS / QUIET_LOOKS)
            if self._inside_count or self._come_count != come_count:
                return False
        return True
