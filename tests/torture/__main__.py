"""`python -m tests.torture`: tortures a shop of its own, tells how that goes, and what came of it.

With --judge FOLDER, which a run has left behind, it only judges that again.
"""

import argparse
import asyncio
import shutil
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from ops.account import temporary_data_dir
from tests.conftest import memory
from tests.torture.kept import read_kept
from tests.torture.running import Result, torture
from tests.torture.showing import replay, told
from tests.torture.violations import Violation


def _tell(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _missed(result: Result, kind: str) -> str:
    count = result.missed_faults[kind]
    return f", and {count} that nobody met" if count else ""


def conclude(result: Result, folder: Path) -> int:
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
    if result.violations:
        _show(result.violations, folder)
    _tell(result.line)
    return 1 if result.violations else 0


def _show(violations: Iterable[Violation], folder: Path) -> None:
    """Prints what was broken, what shows it, and how to see it again."""
    kept = read_kept(folder)
    for line in (*told(list(violations), kept), *replay(folder, kept.record)):
        _tell(line)


def _run(minutes: float, seed: int) -> int:
    """Tortures; the exit status. What is to be known of it is kept if anything was broken."""
    folder = Path(tempfile.mkdtemp(prefix=f"torture-{seed}-"))
    with temporary_data_dir(memory()) as data_dir:
        result = asyncio.run(torture(data_dir, folder, seed=seed, seconds=60 * minutes, tell=_tell))
    status = conclude(result, folder)
    if not result.violations:
        shutil.rmtree(folder)
    return status


def _judge(folder: Path) -> int:
    """Judges again what a run has left behind; the exit status."""
    kept = read_kept(folder)
    if not kept.judged:
        _tell(f"judged: nothing, for {folder} holds no evidence")
        return 2
    found = {str(each): each for judged in kept.judged for each in judged.found()}
    for line in (*told(list(found.values()), kept), *replay(folder, kept.record)):
        _tell(line)
    _tell(f"judged: operations={len(kept.record.operations)} violations={len(found)}")
    return 1 if found else 0


def main() -> int:
    """Runs it; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--judge", type=Path, metavar="FOLDER")
    given = parser.parse_args()
    return _judge(given.judge) if given.judge else _run(given.minutes, given.seed)


if __name__ == "__main__":
    sys.exit(main())
