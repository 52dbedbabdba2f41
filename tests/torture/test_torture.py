"""A short torture, run as anybody would."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

MINUTES = 1.0
"""Of faults: with beginning, healing and calm a minute and a half on an idle machine."""
ROOT = Path(__file__).resolve().parents[2]
LAST_LINE = re.compile(r"torture: seed=7 minutes=\S+ faults=([1-9]\d*) commands=([1-9]\d*) violations=0")


@pytest.mark.timeout(900)
def test_a_short_torture_breaks_nothing() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "tests.torture", "--minutes", str(MINUTES), "--seed", "7"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    lines = ended.stdout.splitlines() or [""]
    assert LAST_LINE.fullmatch(lines[-1]), f"{ended.stdout}\n{ended.stderr}"
    assert ended.returncode == 0
