"""`python -m tests.soak`: a shop at steady load; tells what its processes and tables come to."""

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from ops.account import temporary_data_dir
from tests.conftest import memory
from tests.soak.running import Plan, Result, soak
from tests.soak.samples import BOUNDED_TABLES, rows_per_order, slopes

SHOWN_MAX = 20


def _tell(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _conclude(result: Result, path: Path) -> int:
    """Prints what came of it; the exit status."""
    _tell("\nmemory, KiB                    at first  at half   at end  KiB a minute, second half")
    for each in slopes(result.samples):
        growth = f"{each.kib_per_minute:8.1f} +- {each.error_kib_per_minute:.1f}"
        _tell(f"  {each.name:26} {each.first_kib:10,} {each.middle_kib:8,} {each.last_kib:8,}  {growth}")
    half, last = result.samples[len(result.samples) // 2], result.samples[-1]
    _tell("\nrows that must not grow         at half   at end")
    for name in BOUNDED_TABLES:
        _tell(f"  {name:26} {half.rows[name]:10,} {last.rows[name]:8,}")
    _tell("\nmore an order, second half")
    for name, count in rows_per_order(result.samples).items():
        _tell(f"  {name:26} {count:10.2f}")
    files = {name: (each.file_count, last.usage[name].file_count) for name, each in half.usage.items()}
    _tell(f"\nopen files at half, at end: {files}")
    _tell(f"sessions at half, at end: {half.session_count}, {last.session_count}")
    _tell(f"answers: {dict(result.answers)}")
    for sentence in (*result.leaks, *result.errors[:SHOWN_MAX]):
        _tell(f"wrong: {sentence}")
    _tell(f"every look: {path}")
    _tell(result.line)
    return 0 if result.is_good else 1


def main() -> int:
    """Runs it; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--rate", type=float, default=8.0, help="visitors a second")
    given = parser.parse_args()
    path = Path(tempfile.gettempdir()) / "soak.jsonl"
    with temporary_data_dir(memory()) as data_dir:
        result = asyncio.run(soak(data_dir, Plan.of(given.minutes, given.rate), _tell))
    result.write(path)
    return _conclude(result, path)


if __name__ == "__main__":
    sys.exit(main())
