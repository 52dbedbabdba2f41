"""`python -m tests.torture`: tortures a shop of its own, tells how that goes, and what came of it."""

import argparse
import asyncio
import os
import sys
import tempfile
from pathlib import Path

from ops.account import temporary_data_dir
from tests.conftest import memory
from tests.torture.running import Result, torture

VIOLATIONS_SHOWN_MAX = 20


def _tell(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _missed(result: Result, kind: str) -> str:
    count = result.missed_faults[kind]
    return f", and {count} that nobody met" if count else ""


def _conclude(result: Result, file_path: Path, *, minutes: float) -> int:
    """Prints what came of it; the exit status."""
    for kind, count in sorted({**dict.fromkeys(result.missed_faults, 0), **result.faults}.items()):
        _tell(f"{count:6} {kind}{_missed(result, kind)}")
    _tell(f"{result.provider_fault_count:6} calls to the provider spoilt by it, beside those faults")
    for outcome, count in sorted(result.outcomes.items()):
        _tell(f"{count:6} {outcome}")
    if result.converged_seconds:
        slowest, times = max(result.converged_seconds), sorted(result.converged_seconds)
        _tell(f"caught up after healing: median {times[len(times) // 2]:.2f} s, slowest {slowest:.2f} s")
    if result.calm_seconds:
        _tell(f"nothing under way any more after {result.calm_seconds:.1f} s")
    _tell(f"inspected {result.inspection_count} times while faults struck, besides after each round")
    for violation in result.violations[:VIOLATIONS_SHOWN_MAX]:
        _tell(f"\n{violation}")
    if result.violations:
        _tell(f"\nthe whole history: {file_path}")
        _tell(f"the same faults again: make torture MINUTES={minutes:g} SEED={result.seed}")
    _tell(result.line)
    return 1 if result.violations else 0


def main() -> int:
    """Runs it; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    descriptor, name = tempfile.mkstemp(prefix=f"torture-{given.seed}-", suffix=".jsonl")
    file_path = Path(name)
    with (
        os.fdopen(descriptor, "w", encoding="utf-8") as file,
        temporary_data_dir(memory()) as data_dir,
    ):
        result = asyncio.run(
            torture(data_dir, file, seed=given.seed, seconds=60 * given.minutes, tell=_tell)
        )
    if not result.violations:
        file_path.unlink()
    return _conclude(result, file_path, minutes=given.minutes)


if __name__ == "__main__":
    sys.exit(main())
