"""Log lines that would come many times a second while a server is away, said now and then instead."""

import time
from collections.abc import Callable

REMIND_SECONDS = 10.0


class Reminder:
    """Tells which of many equal log lines to write: the first, then one every REMIND_SECONDS."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._said_seconds_by_kind: dict[str, float] = {}

    def is_due(self, kind: str) -> bool:
        """Whether to say it: another kind of trouble is news, however recent the last was."""
        now = self._clock()
        said = self._said_seconds_by_kind.get(kind)
        if said is not None and now - said < REMIND_SECONDS:
            return False
        self._said_seconds_by_kind[kind] = now
        return True
