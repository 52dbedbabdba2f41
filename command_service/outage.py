"""An outage in two log lines: one when it begins, one when it is over, with what it cost meanwhile."""

import time
from collections.abc import Callable

import structlog

from command_service.database_failures import DatabaseFailure
from command_service.errors import Failure

log = structlog.get_logger(__name__)


class Outage:
    """Told of every failure and success of one thing that is tried again and again; says what is news.

    facts: what failed, on both lines.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic, **facts: str) -> None:
        self._clock = clock
        self._facts = facts
        self._begin_seconds = 0.0
        self._failure_count = 0
        self._lost_count = 0
        self._kinds: set[str] = set()

    def failed(self, error: Exception, *, lost_count: int = 0) -> None:
        """Counts a failure and says it, unless one of its kind was said since the last success.

        As an error, with its traceback, if it is a mistake of ours.

        lost_count: commands that were given up because of it.
        """
        if not self._kinds:
            self._begin_seconds = self._clock()
        self._failure_count += 1
        self._lost_count += lost_count
        # A server that goes and comes fails in many ways, all of which are one outage.
        is_of_database = isinstance(error, DatabaseFailure)
        kind = "database" if is_of_database else type(error).__name__
        if kind not in self._kinds:
            self._kinds.add(kind)
            tell = log.warning if isinstance(error, DatabaseFailure | Failure) else log.error
            facts = {**self._facts, "error": str(error).strip()}
            tell("failing, trying again", exc_info=None if is_of_database else error, **facts)

    def succeeded(self) -> None:
        """Says that it is over, if there was one: at the level of its beginning, as one of a pair."""
        if not self._kinds:
            return
        log.warning(
            "working again",
            seconds=round(self._clock() - self._begin_seconds, 1),
            failure_count=self._failure_count,
            lost_count=self._lost_count,
            **self._facts,
        )
        self._failure_count = self._lost_count = 0
        self._kinds.clear()
