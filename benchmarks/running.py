"""One run: a shop is opened, and each figure that is wanted is measured."""

from collections.abc import Callable, Set
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from benchmarks.bench import Bench, Extent
from benchmarks.curves import curves
from benchmarks.figures.catalogue import GROUPS, names
from benchmarks.points import Curves
from benchmarks.reporting import Figure, Report
from benchmarks.shop_under_test import shop_under_test
from benchmarks.surroundings import machine, settings


async def run(
    extent: Extent,
    wanted: Set[str],
    say: Callable[[str], None],
    *,
    worker_count: int = 1,
    with_curves: bool = True,
) -> Report:
    """Measures the figures that are wanted."""
    time, here = datetime.now(UTC).isoformat(timespec="seconds"), machine()
    figures: list[Figure] = []
    async with shop_under_test(worker_count) as shop:
        bench = Bench(shop, extent, frozenset(wanted), say)
        await bench.open()
        for name, pids in shop.pids.items():
            say(f"{name}: process {', '.join(map(str, pids))}")
        for group in GROUPS:
            if wanted & set(group.names):
                figures += await group.measure(bench)
        drawn: Curves = await curves(bench) if with_curves else {}
        # Now that all were at work: sessions are opened when they are first used.
        told: dict[str, Any] = settings(shop)
    shown = [figure for name in names() for figure in figures if figure.name == name]
    return Report(
        time=time,
        machine=here,
        settings=told,
        extent=asdict(extent),
        figures=[figure for figure in shown if figure.name in wanted],
        curves=drawn,
    )
