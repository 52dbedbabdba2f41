"""Measures the shop, or those figures of it that are named.

    python -m benchmarks [--only NAME,...] [--rounds 3] [--seconds 2] [--workers 1] [--profile]

Everything runs on servers and services of its own, which end with it. To look into a process while it
works, add --profile to --only: the process ids are printed, and then the load of ours alone, without the
baseline, is put on again and again until Ctrl-C, so that for example

    .venv/bin/python -m benchmarks --only stock_lookup_cpu_vs_echo --profile
    py-spy record --pid <query_service> --duration 20 --output query.svg

sees nothing but what the figure is about.
"""

import argparse
import asyncio
import time
from collections.abc import Callable, Sequence

import uvloop
from rich.console import Console

from benchmarks.bench import Bench, Extent
from benchmarks.figures.catalogue import GROUPS, names
from benchmarks.reporting import Figure, print_table
from benchmarks.shop_under_test import shop_under_test

DEFAULT = Extent()
LINE_WIDTH_MIN = 130


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures what the command line asks for and prints the table."""
    asked = _parser().parse_args(arguments)
    console = Console()
    # Into a file too, the table keeps its lines.
    console.width = max(console.width, LINE_WIDTH_MIN)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        figures = runner.run(_run(asked, console))
    print_table(console, figures)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measures the shop.")
    parser.add_argument("--only", default="", help="figures, with commas between: all if not said")
    parser.add_argument("--rounds", type=int, default=DEFAULT.round_count)
    parser.add_argument("--seconds", type=float, default=DEFAULT.span_seconds, help="of one turn")
    parser.add_argument("--skus", type=int, default=DEFAULT.sku_count)
    parser.add_argument("--events", type=int, default=DEFAULT.event_count, help="of the rebuilt log")
    parser.add_argument("--workers", type=int, default=1, help="of command and query service, each")
    parser.add_argument("--profile", action="store_true", help="only put the load on, until Ctrl-C")
    return parser


def _sayer(console: Console) -> Callable[[str], None]:
    """Prints a line, with the seconds since the beginning before it."""
    begun = time.monotonic()

    def say(text: str) -> None:
        seconds = time.monotonic() - begun
        console.print(f"{seconds:5.0f} s  {text}", highlight=False, soft_wrap=True, markup=False)

    return say


async def _run(asked: argparse.Namespace, console: Console) -> list[Figure]:
    wanted = set(asked.only.split(",")) if asked.only else set(names())
    if unknown := wanted - set(names()):
        raise SystemExit(
            f"no such figure: {', '.join(sorted(unknown))}; there are: {', '.join(names())}"
        )
    extent = Extent(*(asked.rounds, asked.seconds, asked.skus, asked.events), is_endless=asked.profile)
    figures: list[Figure] = []
    async with shop_under_test(asked.workers) as shop:
        bench = Bench(shop, extent, frozenset(wanted), _sayer(console))
        await bench.open()
        bench.say("processes: " + ", ".join(f"{name} {pids}" for name, pids in shop.pids.items()))
        for group in GROUPS:
            if wanted & set(group.names):
                figures += await group.measure(bench)
    return [figure for figure in figures if figure.name in wanted]


if __name__ == "__main__":
    main()
