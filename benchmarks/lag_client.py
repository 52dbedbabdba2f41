"""Watches how long the views take: from the moment when a commit is told until every partition shows it.

    python -m benchmarks.lag_client < description

PostgreSQL tells listeners of a commit when it has happened, with the last position of its events; from
then on the checkpoints are looked at again and again. Each event counts. Speaks with whoever started it
as load_client does.
"""

import json
import sys
import time
from collections import deque
from typing import Any

import psycopg
import redis

from event_log.appending import NOTIFY_CHANNEL
from read_models.checkpoints import Checkpoint
from read_models.partitions import PARTITIONS, checkpoint_key

POLL_SECONDS = 0.005
"""How often it looks. What it finds is up to that much too long, never too short; to look each
millisecond took half of a processor from those who are measured."""

DRAIN_SECONDS_MAX = 60.0


class Watch:
    """Commits that were told and are not shown yet, and how long the others took."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._last_position: int | None = None
        self._told: deque[tuple[int, float, int]] = deque()

    @property
    def is_waiting(self) -> bool:
        """Whether something is told and not shown."""
        return bool(self._told)

    @property
    def is_empty(self) -> bool:
        """Whether nothing was told that counts."""
        return not self.seconds and not self._told

    def told(self, position: int, now: float, *, counts: bool) -> None:
        """A commit up to a position has happened. How many events it has, the one before tells."""
        if counts and self._last_position is not None and position > self._last_position:
            self._told.append((position, now, position - self._last_position))
        self._last_position = position

    def shown(self, position: int, now: float) -> None:
        """Every partition shows what stands up to a position."""
        while self._told and self._told[0][0] <= position:
            _, told, event_count = self._told.popleft()
            self.seconds += [now - told] * event_count


def watch(load: dict[str, Any], begin: float, end: float) -> list[float]:
    """How long each event that was told within a span of time took to be shown."""
    keys = [checkpoint_key(load["generation"], partition) for partition in PARTITIONS]
    found = Watch()
    shop = redis.Redis.from_url(load["redis_url"])
    with psycopg.connect(load["database_url"], autocommit=True) as connection:
        connection.execute(f"LISTEN {NOTIFY_CHANNEL}".encode())
        while (now := time.monotonic()) < end or (
            (found.is_waiting or found.is_empty) and now < end + DRAIN_SECONDS_MAX
        ):
            for notice in connection.notifies(timeout=POLL_SECONDS):
                now = time.monotonic()
                # On a machine that freezes, the first commit after the span is better than none.
                counts = begin <= now and (now < end or found.is_empty)
                found.told(int(notice.payload), now, counts=counts)
            if found.is_waiting:
                found.shown(_shown_position(shop.mget(keys)), time.monotonic())
    if found.is_waiting:
        sys.exit("the views do not come after")
    return found.seconds


def _shown_position(values: list[Any]) -> int:
    checkpoints = [Checkpoint.parse(value) for value in values]
    return min(each.position for each in checkpoints if each is not None)


def main() -> None:
    """Does what standard input describes."""
    load: dict[str, Any] = json.loads(sys.stdin.readline())
    print("ready", flush=True)
    begin, end = map(float, sys.stdin.readline().split())
    seconds = watch(load, begin, end)
    json.dump({"seconds": seconds, "answer_bytes": 0, "sent_count": len(seconds)}, sys.stdout)


if __name__ == "__main__":
    main()
