"""A client process: keeps so many calls in flight and reports those that ended within a span of time.

    python -m benchmarks.load_client < description

Standard input: a line with the load as JSON, then, after it has said `ready`, a line with the begin and
the end of the span on the monotonic clock, which all processes of a machine share. It calls from that
moment on, so what comes before the span warms everything up. Standard output: `ready`, then the report.
"""

import json
import math
import selectors
import sys
import time
from collections.abc import Iterator, Sequence
from itertools import cycle
from typing import Any

from benchmarks.http2 import Connection
from benchmarks.shoppers import KINDS

SELECT_SECONDS_MAX = 0.5
DRAIN_SECONDS_MAX = 20.0


class _Client:
    """Connections that calls go through in turn, and what became of those that count.

    paced: calls begin at fixed times, whether or not those before are answered, and take as long as from
    the time at which they should have begun; else each answer is followed by another call.
    """

    def __init__(
        self, connections: Sequence[Connection], messages: Iterator[bytes], calls_per_second: float
    ) -> None:
        self._selector = selectors.DefaultSelector()
        self._connections = connections
        for connection in connections:
            self._selector.register(connection, selectors.EVENT_READ, connection)
        self._messages = messages
        self._pause_seconds = 1 / calls_per_second if calls_per_second else math.inf
        self._next_call = math.inf
        self.seconds: list[float] = []
        self.answer_bytes = 0
        self.sent_count = 0
        self.is_used_up = False

    def run(self, in_flight_each: int, begin: float, end: float) -> None:
        """Calls until `end`, then waits for the answers that are out."""
        now = time.monotonic()
        if self._pause_seconds < math.inf:
            self._next_call = now
        else:
            self._fill(in_flight_each, now)
        while now < end + DRAIN_SECONDS_MAX and (now < end or self._is_waiting):
            for key, _ in self._selector.select(self._wait_seconds(now)):
                self._attend(key.data, begin, end)
            now = time.monotonic()
            self._call_on_time(now, end)
        if self._is_waiting:
            sys.exit("some calls are not answered")

    @property
    def _is_waiting(self) -> bool:
        return any(connection.in_flight_count for connection in self._connections)

    def _wait_seconds(self, now: float) -> float:
        return min(SELECT_SECONDS_MAX, max(0.0, self._next_call - now))

    def _fill(self, in_flight_each: int, now: float) -> None:
        for connection in self._connections:
            for _ in range(in_flight_each):
                self._begin_call(connection, now)
            self._flush(connection)

    def _call_on_time(self, now: float, end: float) -> None:
        while self._next_call <= now < end:
            connection = self._connections[self.sent_count % len(self._connections)]
            self._begin_call(connection, self._next_call)
            self._flush(connection)
            self._next_call += self._pause_seconds

    def _attend(self, connection: Connection, begin: float, end: float) -> None:
        now = time.monotonic()
        is_paced = self._pause_seconds < math.inf
        for answered in connection.read(now):
            # A call that was due within the span counts however late it was answered.
            moment = now - answered.seconds if is_paced else now
            # On a machine that freezes, the first answer after the span is better than none.
            if begin <= moment < end or (now >= end and not self.seconds):
                self.seconds.append(answered.seconds)
                self.answer_bytes += answered.answer_bytes
            if now < end and not is_paced:
                self._begin_call(connection, now)
        self._flush(connection)

    def _flush(self, connection: Connection) -> None:
        connection.flush()
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if connection.has_unsent else 0)
        if self._selector.get_key(connection).events != wanted:
            self._selector.modify(connection, wanted, connection)

    def _begin_call(self, connection: Connection, now: float) -> None:
        message = next(self._messages, None)
        if message is None:
            self.is_used_up = True
            return
        connection.call(message, now)
        self.sent_count += 1


def main() -> None:
    """Does what standard input describes."""
    load: dict[str, Any] = json.loads(sys.stdin.readline())
    messages = KINDS[load["kind"]](**load["arguments"])
    connections = [
        Connection(load["address"], load["path"], (("x-actor", "benchmark"),))
        for _ in range(load["connection_count"])
    ]
    client = _Client(
        connections,
        cycle(messages) if load["is_repeatable"] else iter(messages),
        load["calls_per_second"],
    )
    print("ready", flush=True)
    begin, end = map(float, sys.stdin.readline().split())
    before = time.process_time()
    client.run(load["in_flight_count"] // load["connection_count"], begin, end)
    spent = time.process_time() - before
    for connection in connections:
        connection.close()
    json.dump(
        {
            "seconds": client.seconds,
            "answer_bytes": client.answer_bytes,
            "sent_count": client.sent_count,
            "client_seconds": spent,
            "is_used_up": client.is_used_up,
        },
        sys.stdout,
    )


if __name__ == "__main__":
    main()
