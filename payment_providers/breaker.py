"""A circuit breaker: calls that would fail anyway fail at once, and one probe tells when that ends.

Of the libraries for asyncio none takes the time as an argument, admits a single probe and is typed and
alive; those that come close let every waiting call through as soon as the rest is over.
"""

from collections.abc import Callable
from enum import Enum

from payment_providers.port import NotDone

FAILURE_COUNT_MAX = 5
"""Failures in a row before it opens: fewer happen to a healthy provider by chance."""

OPEN_SECONDS = 5.0
"""Rest before a probe, unless told otherwise: short beside a customer's patience, long beside a call's
time limit."""


class BreakerState(Enum):
    """As in the literature."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class BreakerOpen(NotDone):
    """The provider has been failing; nothing was sent."""


class Passage:
    """One call that was let through. Whoever made it hands it back with how it ended."""


class Breaker:
    """Counts the failures of one provider. Not thread-safe: one event loop uses it.

    monotonic: the time in seconds, of any origin. open_seconds: its rest before a probe.
    """

    def __init__(self, monotonic: Callable[[], float], *, open_seconds: float = OPEN_SECONDS) -> None:
        self._monotonic = monotonic
        self._open_seconds = open_seconds
        self._failure_count = 0
        self._open_until = 0.0
        self._probe: Passage | None = None

    @property
    def state(self) -> BreakerState:
        """Where it stands now."""
        if self._failure_count < FAILURE_COUNT_MAX:
            return BreakerState.CLOSED
        if self._probe is not None or self._monotonic() < self._open_until:
            return BreakerState.OPEN
        return BreakerState.HALF_OPEN

    def enter(self) -> Passage:
        """Before each call; when half open this makes the call the one probe.

        Raises:
            BreakerOpen: do not call.
        """
        state = self.state
        if state is BreakerState.OPEN:
            wait_seconds = max(self._open_until - self._monotonic(), 0.1)
            raise BreakerOpen("circuit_open", retry_after_seconds=wait_seconds)
        passage = Passage()
        if state is BreakerState.HALF_OPEN:
            self._probe = passage
        return passage

    def succeeded(self) -> None:
        """The provider answered, be it with a refusal."""
        self._failure_count = 0
        self._probe = None

    def failed(self, passage: Passage) -> None:
        """The provider did not answer, or was out of order."""
        self._failure_count += 1
        self._end(passage)
        if self._failure_count >= FAILURE_COUNT_MAX:
            self._open_until = self._monotonic() + self._open_seconds

    def abandoned(self, passage: Passage) -> None:
        """The call was given up before it told anything."""
        self._end(passage)

    def _end(self, passage: Passage) -> None:
        # A call from before it opened may end while the probe is under way: it must not stand for it.
        if passage is self._probe:
            self._probe = None
