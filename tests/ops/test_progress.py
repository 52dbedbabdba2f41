"""Progress where there is no terminal: lines, but not many."""

import io

import pytest
from rich.console import Console

from ops.progress import LINE_SECONDS, progress


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now_seconds = [100.0]
    monkeypatch.setattr("ops.progress.time.monotonic", lambda: now_seconds[0])
    return now_seconds


def test_the_first_the_last_and_now_and_then_one_in_between_are_told(clock: list[float]) -> None:
    out = io.StringIO()
    with progress(Console(file=out), "events") as tell:
        for done in range(0, 5001, 1000):
            tell("filling", done, 5000)
            clock[0] += LINE_SECONDS / 2
    assert out.getvalue().splitlines() == [
        "filling: 0 of 5,000 events",
        "filling: 2,000 of 5,000 events",
        "filling: 4,000 of 5,000 events",
        "filling: 5,000 of 5,000 events",
    ]


def test_one_thing_after_another_is_told(clock: list[float]) -> None:
    out = io.StringIO()
    with progress(Console(file=out)) as tell:
        tell("invariants", 0, 2)
        tell("invariants", 1, 2)
        tell("views", 7, None)
    assert out.getvalue().splitlines() == ["invariants: 0 of 2", "views: 7"]


def test_a_terminal_gets_a_bar() -> None:
    out = io.StringIO()
    with progress(Console(file=out, force_terminal=True, width=100), "events") as tell:
        tell("filling", 5, 5)
    assert "5/5" in out.getvalue()
    assert "━" in out.getvalue()
