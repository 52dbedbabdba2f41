"""A whole run in small: that everything works together, never how fast."""

import json
from pathlib import Path

import pytest

from benchmarks.__main__ import main
from benchmarks.figures.catalogue import names

PROMISED = (
    "hot_sku_vs_pgbench hot_sku_vs_spread hot_sku_vs_echo place_order_vs_pgbench place_order_cpu_vs_echo"
    " stock_lookup_vs_echo stock_lookup_cpu_vs_echo cart_lookup_cpu_vs_echo batch_lookup_vs_mget"
    " projection_lag_ms query_latency_ms rebuild_vs_copy growth add_to_cart_growth"
).split()
QUICK = "stock_lookup_vs_echo,projection_lag_ms"


def test_every_figure_that_was_promised_is_there() -> None:
    assert names() == PROMISED


def test_an_unknown_figure_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--only", "hot_sku_vs_echo,warp_speed"])

    assert ended.value.code == 2
    assert "no such figure: warp_speed" in capsys.readouterr().err


def test_a_quick_run_reports_each_figure_asked_for_and_every_curve(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["--quick", "--only", QUICK, "--into", str(tmp_path)])

    report = json.loads((tmp_path / "benchmarks" / "latest.json").read_text())
    figures = {figure["name"]: figure for figure in report["figures"]}
    assert set(figures) == set(QUICK.split(","))
    assert all(figure["value"] > 0 for figure in figures.values())
    assert figures["stock_lookup_vs_echo"]["ratio"] > 0
    assert figures["projection_lag_ms"]["baseline"] is None
    assert report["settings"]["postgresql"]["fsync"] == "on"
    assert report["settings"]["postgresql"]["synchronous_commit"] == "on"
    assert report["settings"]["worker_processes"] == {"command_service": 1, "query_service": 1}
    assert len(report["curves"]) == len(list((tmp_path / "docs" / "benchmarks").glob("*.png")))
    printed = capsys.readouterr().out
    assert all(name in printed for name in figures)
