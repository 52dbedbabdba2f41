"""Measures the shop, or those figures of it that are named.

    python -m benchmarks [--only NAME,...] [--rounds 3] [--seconds 2] [--workers 1] [--profile]

Everything runs on servers and services of its own, which end with it. A whole run writes
benchmarks/latest.json, and the table and the plots in docs/benchmarks/; one with --only just prints.

To look into a process while it works, add --profile to --only: the process ids are printed, and then the
load of ours alone, without the baseline, is put on again and again until Ctrl-C, so that for example

    .venv/bin/python -m benchmarks --only stock_lookup_cpu_vs_echo --profile
    py-spy record --pid <query_service> --duration 20 --output query.svg

sees nothing but what the figure is about.
"""

import argparse
import asyncio
import signal
import sys
import time
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import uvloop
from rich.console import Console

from benchmarks.bench import Extent
from benchmarks.figures.catalogue import names
from benchmarks.reporting import Report, print_table, write_report
from benchmarks.rounds import ROUND_COUNT_MIN
from benchmarks.running import run

DEFAULT = Extent()
QUICK = Extent(round_count=1, span_seconds=0.3, sku_count=300, event_count=4_000, in_flight_counts=(8,))
"""Enough to see that everything works; its figures mean nothing."""

REPOSITORY = Path(__file__).resolve().parent.parent
LINE_WIDTH_MIN = 130
INTERRUPTED = 128 + signal.SIGINT


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures what the command line asks for, prints the table, and keeps it if it is whole."""
    parser = _parser()
    asked = parser.parse_args(arguments)
    wanted = set(asked.only.split(",")) if asked.only else set(names())
    if unknown := wanted - set(names()):
        parser.error(f"no such figure: {', '.join(sorted(unknown))}; there are: {', '.join(names())}")
    is_whole = not asked.only or asked.into is not None
    if is_whole and not asked.quick and asked.rounds < ROUND_COUNT_MIN:
        parser.error(f"a report that is kept takes {ROUND_COUNT_MIN} rounds at least")
    console = Console()
    # Into a file too, the table keeps its lines.
    console.width = max(console.width, LINE_WIDTH_MIN)
    extent, say = _extent(asked), _sayer(console)
    measuring = run(extent, wanted, say, worker_count=asked.workers, with_curves=is_whole)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            report = runner.run(_until_asked_to_stop(measuring))
        except (KeyboardInterrupt, asyncio.CancelledError):
            say("interrupted: everything is stopped")
            sys.exit(INTERRUPTED)
    print_table(console, report.figures)
    if is_whole:
        write_report(report, asked.into or REPOSITORY)


async def _until_asked_to_stop(measuring: Coroutine[Any, Any, Report]) -> Report:
    """SIGTERM is a Ctrl-C: no process of ours outlives us."""
    task = asyncio.current_task()
    assert task is not None, "this is a coroutine"
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await measuring


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measures the shop.")
    parser.add_argument("--only", default="", help="figures, with commas between: all if not said")
    parser.add_argument("--rounds", type=int, default=DEFAULT.round_count)
    parser.add_argument("--seconds", type=float, default=DEFAULT.span_seconds, help="of one turn")
    parser.add_argument("--skus", type=int, default=DEFAULT.sku_count)
    parser.add_argument("--events", type=int, default=DEFAULT.event_count, help="of the rebuilt log")
    parser.add_argument("--workers", type=int, default=1, help="of command and query service, each")
    parser.add_argument("--profile", action="store_true", help="only put the load on, until Ctrl-C")
    parser.add_argument("--quick", action="store_true", help="only see whether everything works")
    parser.add_argument("--into", type=Path, help="where to keep the report, --only or not")
    return parser


def _extent(asked: argparse.Namespace) -> Extent:
    if asked.quick:
        return QUICK
    told = (asked.rounds, asked.seconds, asked.skus, asked.events)
    return Extent(*told, is_endless=asked.profile)


def _sayer(console: Console) -> Callable[[str], None]:
    """Prints a line, with the seconds since the beginning before it."""
    begun = time.monotonic()

    def say(text: str) -> None:
        seconds = time.monotonic() - begun
        console.print(f"{seconds:5.0f} s  {text}", highlight=False, soft_wrap=True, markup=False)

    return say


if __name__ == "__main__":
    main()
