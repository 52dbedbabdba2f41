"""The plain alternative to a lookup of many SKUs: redis-py in one process, MGET after MGET.

    python -m benchmarks.mget_client < description

Speaks with whoever started it as load_client does.
"""

import json
import sys
import time
from itertools import cycle
from typing import Any

import redis


def main() -> None:
    """Does what standard input describes."""
    load: dict[str, Any] = json.loads(sys.stdin.readline())
    client = redis.Redis.from_url(load["redis_url"])
    print("ready", flush=True)
    begin, end = map(float, sys.stdin.readline().split())
    seconds: list[float] = []
    answer_bytes, sent_count = 0, 0
    for keys in cycle(load["batches"]):
        sent = time.monotonic()
        values: list[Any] = client.mget(keys)
        now = time.monotonic()
        sent_count += 1
        if now >= end:
            break
        assert all(values), "a view is missing"
        if sent >= begin:
            seconds.append(now - sent)
            answer_bytes += sum(map(len, values))
    json.dump({"seconds": seconds, "answer_bytes": answer_bytes, "sent_count": sent_count}, sys.stdout)


if __name__ == "__main__":
    main()
