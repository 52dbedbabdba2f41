"""Generations that cannot be fed, set aside so that the one that serves need not wait for them."""

import time
from collections.abc import Callable, Collection

import structlog

from projections.metrics import STUCK_GENERATIONS

log = structlog.get_logger(__name__)

RETRY_SECONDS = 10.0
"""Unless told otherwise, before one that was set aside is tried again: it reads and retells a batch each
time, and the one that serves waits meanwhile. Memory that was freed, say, is noticed by then."""


class SetAside:
    """Which generations are set aside; tells people of them, by the log and a metric."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, *, retry_seconds: float = RETRY_SECONDS
    ) -> None:
        """retry_seconds: before one that was set aside is tried again."""
        self._clock = clock
        self._retry_seconds = retry_seconds
        self._tried_seconds: dict[int, float] = {}

    def add(self, generation: int, error: Exception) -> None:
        """Sets a generation aside, from now on, because of an error."""
        log.error("a generation cannot be fed, the others go on", generation=generation, exc_info=error)
        self._tried_seconds[generation] = self._clock()
        STUCK_GENERATIONS.set(len(self._tried_seconds))

    def rests(self, generation: int) -> bool:
        """Whether it is set aside and not yet to be tried again."""
        tried = self._tried_seconds.get(generation)
        return tried is not None and self._clock() - tried < self._retry_seconds

    def remove(self, generations: Collection[int]) -> None:
        """They are fed again; of one that was not set aside it says nothing."""
        self.keep(self._tried_seconds.keys() - generations)

    def keep(self, generations: Collection[int]) -> None:
        """Forgets all but these: there are no others any more."""
        for gone in self._tried_seconds.keys() - generations:
            del self._tried_seconds[gone]
        STUCK_GENERATIONS.set(len(self._tried_seconds))
