"""The registry as it was last read, and waiting until it changes.

However many callers ask or wait, they share each look at Redis.
"""

import asyncio

from query_service.errors import ReadModelUnavailable
from query_service.waiting import Poll, fail, tell, told_in_time
from read_models.connections import REDIS_AWAY, Connection
from read_models.registry import Registry, load_registry

REGISTRY_SECONDS_MAX = 1.0
"""How old the known registry may be. One that came to serve shows no less than the one before, which is
fed with it unless it cannot be: changing late is harmless."""

POLL_SECONDS = 0.02
"""Waited for after a restore only, while all views are told anew: a little more is nothing."""


class RegistryWatch:
    """Knows the registry, and tells when it changes."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.known = Registry()
        self._read_time = float("-inf")
        self._coming: asyncio.Task[None] | None = None
        self._one_at_a_time = asyncio.Lock()
        self._waiting: set[asyncio.Future[bool]] = set()
        self._poll = Poll(self._look_for_the_waiting, pause_seconds=POLL_SECONDS)

    @property
    def is_old(self) -> bool:
        """Whether it is to be read anew before it is relied on."""
        age_seconds = asyncio.get_running_loop().time() - self._read_time
        # While none serves, each query looks whether one does by now.
        return self.known.serving is None or age_seconds > REGISTRY_SECONDS_MAX

    async def refresh(self) -> None:
        """Reads it anew, as it is when asked or later.

        Raises:
            one of REDIS_AWAY.
        """
        if self._coming is None:
            self._coming = asyncio.create_task(self._look())
            self._coming.add_done_callback(_note_failure)
        # Others share the look: whoever gives up must not end it.
        await asyncio.shield(self._coming)

    async def changed(self, until: float) -> bool:
        """True once the registry is another than the known one; False when time is up.

        Raises:
            ReadModelUnavailable: Redis went away meanwhile.
        """
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.add(future)
        try:
            with self._poll.running():
                return await told_in_time(future, until)
        finally:
            self._waiting.discard(future)

    async def close(self) -> None:
        """Stops looking; whoever still waits runs into its deadline."""
        await self._poll.close()

    async def _look(self) -> None:
        async with self._one_at_a_time:
            # The question goes out now: whoever asks from here on must not be told of an earlier moment.
            self._coming = None
            found = await load_registry(self._connection)
        is_new = found != self.known
        self.known, self._read_time = found, asyncio.get_running_loop().time()
        if is_new:
            for future in self._waiting:
                tell(future)

    async def _look_for_the_waiting(self) -> None:
        try:
            await self.refresh()
        except REDIS_AWAY:
            for future in self._waiting:
                fail(future, ReadModelUnavailable())


def _note_failure(look: "asyncio.Task[None]") -> None:
    """Fetches the error that all who waited may have given up on, which asyncio would log."""
    if not look.cancelled():
        look.exception()
