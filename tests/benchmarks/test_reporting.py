"""What is told of a run, for people and for programs."""

import json
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks.points import Curve, Point
from benchmarks.reporting import Bound, Figure, Reach, Report, print_table, write_report
from benchmarks.rounds import Compared

RATE = Figure.beside(
    *("rate", "calls/s", Reach(Bound.AT_LEAST, 0.6)),
    Compared(1234.5678, 2000.0, (0.6, 0.617284, 0.7)),
    against="an echo",
    told={"p99_ms": [1.23456, 2.0], "rows": 6, "postgres_us": [90.0, 80.0, 100.0], "echo_us": [1.0]},
)
LAG = Figure("lag", "ms, p99", Reach(Bound.UNDER, 100), 100.0)
CURVES = {
    "stock lookups": Curve(
        ours=[Point(1, 700.0, 1.4, 2.6), Point(4, 1500.0, 2.5, 4.0)],
        echo=[Point(1, 900.0, 1.0, 2.0), Point(4, 1800.0, 2.0, 3.0)],
    )
}
REPORT = Report(
    time="2026-11-21T12:00:00+00:00",
    machine={
        "processor": "a processor",
        "processor_count": 2,
        "system": "Linux",
        "python": "3.11.7 (main, May 9 2026) [GCC 12.2.0]",
        "busy_share_before": 0.02,
        "sched_autogroup": True,
    },
    settings={
        "postgresql": {"fsync": "on"},
        "postgresql_file_system": "ext4",
        "worker_processes": {"command_service": 2},
    },
    extent={"round_count": 3, "span_seconds": 2.0},
    figures=[RATE, LAG],
    curves=CURVES,
)


@pytest.mark.parametrize(
    ("bound", "number", "is_reached"),
    [
        (Bound.AT_LEAST, 1.0, True),
        (Bound.AT_LEAST, 0.99, False),
        (Bound.UNDER, 1.0, False),
        (Bound.UNDER, 0.99, True),
    ],
)
def test_a_limit_is_reached_on_its_side(bound: Bound, number: float, is_reached: bool) -> None:
    assert Reach(bound, 1.0).is_reached_by(number) is is_reached


def test_a_figure_with_a_baseline_is_judged_by_its_ratio_and_one_without_by_its_value() -> None:
    assert RATE.is_reached
    assert not LAG.is_reached


def test_a_figure_whose_other_half_fails_is_not_reached() -> None:
    compared = Compared(1.0, 1.0, (1.0,))
    flat = Figure("f", "us", Reach(Bound.AT_LEAST, 0.1), 1.0, "b", compared)
    growing = Figure("f", "us", Reach(Bound.AT_LEAST, 0.1), 1.0, "b", compared, holds=False)

    assert flat.is_reached
    assert not growing.is_reached


def test_json_has_everything_about_a_figure_to_four_digits() -> None:
    assert RATE.as_json() == {
        "name": "rate",
        "value": 1235.0,
        "unit": "calls/s",
        "baseline": 2000.0,
        "against": "an echo",
        "ratio": 0.6173,
        "ratios": [0.6, 0.6173, 0.7],
        "reach": "at least 0.6",
        "reached": True,
        "told": {
            "p99_ms": [1.235, 2.0],
            "rows": 6,
            "postgres_us": [90.0, 80.0, 100.0],
            "echo_us": [1.0],
        },
    }
    assert LAG.as_json()["baseline"] is None
    assert LAG.as_json()["ratio"] is None


def test_the_table_shows_ours_the_baseline_and_how_far_rounds_differ() -> None:
    output = StringIO()
    print_table(Console(file=output, width=130), [RATE, LAG])

    rows = [line.split() for line in output.getvalue().splitlines()]
    assert rows[1] == [
        "rate",
        "1,235",
        "calls/s",
        "2,000",
        "0.62",
        "0.60-0.70",
        *"at least 0.6 yes".split(),
    ]
    assert rows[2] == ["lag", "100", "ms,", "p99", "-", "-", "-", *"under 100 no".split()]


def test_a_report_says_which_build_of_python_it_is_of() -> None:
    assert "3.11.7 (main, May 9 2026) [GCC 12.2.0]" in REPORT.as_markdown()


@pytest.mark.parametrize(("busy_share", "is_warned"), [(0.09, False), (0.1, True)])
def test_a_run_on_a_busy_machine_says_so(busy_share: float, is_warned: bool) -> None:
    report = replace(REPORT, machine={**REPORT.machine, "busy_share_before": busy_share})

    assert ("Others were at work" in report.as_markdown()) is is_warned
    assert ("Others were at work" in report.caption) is is_warned


@pytest.mark.parametrize(("kind", "is_warned"), [("ext4", False), ("tmpfs", True)])
def test_a_run_in_memory_says_that_nothing_was_durable(kind: str, is_warned: bool) -> None:
    report = replace(REPORT, settings={**REPORT.settings, "postgresql_file_system": kind})

    assert f"PostgreSQL's data on {kind}" in report.as_markdown()
    assert ("nothing was durable" in report.as_markdown()) is is_warned


def test_a_report_is_kept_with_its_table_and_a_plot_for_each_curve(tmp_path: Path) -> None:
    write_report(REPORT, tmp_path)

    kept = json.loads((tmp_path / "benchmarks" / "latest.json").read_text())
    assert [figure["name"] for figure in kept["figures"]] == ["rate", "lag"]
    assert kept["machine"]["processor_count"] == 2
    assert kept["settings"] == REPORT.settings
    assert kept["curves"]["stock lookups"]["ours"][1]["per_second"] == 1500.0
    docs = tmp_path / "docs" / "benchmarks"
    [row] = [line for line in (docs / "last_run.md").read_text().splitlines() if "| rate |" in line]
    assert row.startswith("| rate | 1,235 | calls/s | 2,000 | 0.62 |")
    assert row.endswith("| postgres 90 |")
    assert [path.name for path in docs.glob("*.png")] == ["stock_lookups.png"]
    assert (docs / "stock_lookups.png").read_bytes().startswith(b"\x89PNG")
