"""What calls leave behind for the garbage collector does not pile up."""

import subprocess
import sys
from textwrap import dedent

# A process of its own: what is frozen is so for good. Calls leave a small cycle each, as gRPC's do, and
# are in flight until a thousand more have come: as many survive each look at the young.
SERVING = dedent("""
    from collections import deque
    from serving.server import spare_what_stays

    class Call:
        alive_count = 0

        def __init__(self):
            self.cycle, self.held = self, [[] for _ in range(8)]
            Call.alive_count += 1

        def __del__(self):
            Call.alive_count -= 1

    modules = [[] for _ in range(200_000)]
    spare_what_stays()
    in_flight = deque(maxlen=1_000)
    for _ in range(8):
        alive_count_max = 0
        for _ in range(40_000):
            in_flight.append(Call())
            alive_count_max = max(alive_count_max, Call.alive_count)
        print(alive_count_max)
""")


def test_calls_in_flight_when_the_garbage_collector_looks_are_not_kept_for_long() -> None:
    told = subprocess.run([sys.executable, "-c", SERVING], capture_output=True, text=True, check=True)
    alive_counts = list(map(int, told.stdout.split()))
    assert max(alive_counts[4:]) <= max(alive_counts[:4]) < 10_000
