"""`python -m tests.simulation --seeds 1000`, or `--seed 7` to see what happened in one."""

import argparse
import gc
import sys
import time
from collections.abc import Mapping

from tests.simulation.simulation import KINDS, Result, in_silence, simulate
from tests.simulation.tally import Tally

BROKEN_COUNT_MAX = 5
"""Seeds that break something before the rest is left out."""

SEEDS_A_COLLECTION = 50


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
    broken = 0
    tallies = {kind: Tally() for kind in KINDS if kind == (only or kind)}
    # What is here stays, and is not looked through again; what seeds leave behind is collected while
    # it is still near the processor.
    gc.disable()
    gc.freeze()
    before = time.process_time()
    for done, seed in enumerate(range(first, first + count), start=1):
        result = simulate(seed, only)
        if done % SEEDS_A_COLLECTION == 0:
            gc.collect()
        after = time.process_time()
        tallies[result.kind].add(result, cpu_seconds=after - before)
        before = after
        if result.violations:
            broken += 1
            _show(result)
            if broken == BROKEN_COUNT_MAX:
                break
    _say_what_was_played(tallies, first, broken)
    return int(broken > 0)


def _say_what_was_played(tallies: Mapping[str, Tally], first: int, broken: int) -> None:
    total = Tally()
    for kind, tally in tallies.items():
        total.merge(tally)
        _say(
            f"  {kind:8} seeds={tally.seed_count} {tally.shares} commits={tally.commit_count}"
            f" seeds_per_second={tally.seeds_per_second}"
        )
    _say(
        f"simulate: seeds={total.seed_count} first={first} commits={total.commit_count}"
        f" waits={total.wait_count} faults={total.fault_count}"
        f" virtual_hours={total.virtual_seconds / 3600:.0f} seeds_per_second={total.seeds_per_second}"
        f" violations={broken} {total.shares}"
    )


def _show(result: Result) -> None:
    for line in result.history:
        _say(line)
    for violation in result.violations:
        _say(f"VIOLATION {violation}")
    _say(f"seed {result.seed}, history {result.digest}: to see it again, {result.command}")


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
