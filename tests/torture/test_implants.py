"""What is planted takes effect: clocks step wherever a service asks for the system's time."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.torture.implants import CLOCK_FILE, SteppedClock

ROOT = Path(__file__).resolve().parents[2]
SERVICES = (
    "command_service",
    "event_log",
    "history_service",
    "payment_providers",
    "projections",
    "query_service",
    "read_models",
    "serving",
    "webhooks",
)
ASK = """
import time, webhooks.server, command_service.ids
from datetime import UTC, datetime
print(time.time(), time.time_ns() / 1e9, webhooks.server.datetime.now(UTC).timestamp())
print(datetime.now(UTC).timestamp())
"""


def modules_with(pattern: str) -> set[str]:
    found = set()
    for service in SERVICES:
        for path in (ROOT / service).rglob("*.py"):
            if re.search(pattern, path.read_text()):
                found.add(".".join(path.relative_to(ROOT).with_suffix("").parts))
    return found


def test_every_module_that_asks_datetime_for_the_time_is_known() -> None:
    text = (ROOT / "tests/torture/implants/sitecustomize.py").read_text()
    listed = re.search(r"MODULES_THAT_ASK_DATETIME = \{(.*?)\}", text, re.DOTALL)
    assert listed is not None
    known = set(re.findall(r'"(.*?)"', listed[1]))
    assert modules_with(r"datetime\.(now|utcnow|today)\(") == known


def test_nobody_imports_the_time_by_name() -> None:
    assert modules_with(r"from time import") == set()


def test_a_stepped_clock_tells_another_time(tmp_path: Path) -> None:
    clock = SteppedClock(tmp_path / "clock")
    clock.step(3600)
    environment = {**os.environ, **clock.environment}
    asked = subprocess.run(
        [sys.executable, "-c", ASK],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    )
    *stepped, true = map(float, asked.stdout.split())
    assert all(3500 < each - true < 3700 for each in stepped)


def test_a_clock_can_be_put_right_again(tmp_path: Path) -> None:
    clock = SteppedClock(tmp_path / "clock")
    clock.step(-5)
    clock.step(0)
    assert (tmp_path / "clock").read_bytes() == CLOCK_FILE.pack(0.0, 0)


READ = "import time; time.time()"
LOG = "import logging; logging.warning('a line with its time')"


@pytest.mark.parametrize(("code", "seconds", "read_count"), [(READ, 5, 1), (READ, 0, 0), (LOG, 5, 0)])
def test_a_stepped_clock_counts_who_reads_it_and_leaves_log_lines_out(
    tmp_path: Path, code: str, seconds: float, read_count: int
) -> None:
    clock = SteppedClock(tmp_path / "clock")
    clock.step(seconds)
    environment = {**os.environ, **clock.environment}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True)
    assert clock.read_count == read_count
