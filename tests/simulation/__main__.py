"""`python -m tests.simulation --seeds 1000`, or `--seed 7` to see what happened in one."""

import argparse
import gc
import sys
import time

from tests.simulation.simulation import KINDS, Result, in_silence, simulate

BROKEN_COUNT_MAX = 5
"""Seeds that break something before the rest is left out."""

SEEDS_A_COLLECTION = 10


def main() -> int:
    """Exit status 1 if anything was broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5_000, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--seed", type=int, help="this one alone, with all that happened in it")
    parser.add_argument("--only", default="", choices=["", *KINDS], help="this kind of workload")
    chosen = parser.parse_args()
    with in_silence():
        if chosen.seed is not None:
            return _replay(chosen.seed, chosen.only)
        return _run(chosen.first, chosen.seeds, chosen.only)


def _replay(seed: int, only: str) -> int:
    result = simulate(seed, only)
    _show(result)
    return int(bool(result.violations))


def _run(first: int, count: int, only: str) -> int:
    begun, broken = time.process_time(), 0
    done = commits = waits = faults = 0
    virtual_seconds = 0.0
    # What is here stays, and is not looked through again; what seeds leave behind is collected while
    # it is still near the processor.
    gc.disable()
    gc.freeze()
    for seed in range(first, first + count):
        result = simulate(seed, only)
        done += 1
        commits += result.commit_count
        waits += result.wait_count
        faults += result.fault_count
        virtual_seconds += result.seconds
        if done % SEEDS_A_COLLECTION == 0:
            gc.collect()
        if result.violations:
            broken += 1
            _show(result)
            if broken == BROKEN_COUNT_MAX:
                break
    rate = done / (time.process_time() - begun)
    _say(
        f"simulate: seeds={done} first={first} commits={commits} waits={waits} faults={faults}"
        f" virtual_hours={virtual_seconds / 3600:.0f} seeds_per_second={rate:.0f} violations={broken}"
    )
    return int(broken > 0)


def _show(result: Result) -> None:
    for line in result.history:
        _say(line)
    for violation in result.violations:
        _say(f"VIOLATION {violation}")
    _say(
        f"seed {result.seed}, history {result.digest}: to see it again, make simulate SEED={result.seed}"
    )


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
