"""A picture for each curve: throughput and latency against load, beside a bare echo."""

from collections.abc import Iterable
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from benchmarks.points import Curve, Curves, Point

INCHES = (10.0, 4.2)
DOTS_PER_INCH = 110
ECHO_NAME = "bare grpc.aio echo of the same bytes"
OURS, BASELINE = "#1f5fa8", "#8a8a8a"


def plot_curves(curves: Curves, folder: Path, *, caption: str) -> list[Path]:
    """Draws each curve; where the pictures are. caption: when and where it was measured."""
    folder.mkdir(parents=True, exist_ok=True)
    return [
        _plot(name, curve, caption, folder / f"{name.replace(' ', '_').lower()}.png")
        for name, curve in curves.items()
    ]


def _plot(name: str, curve: Curve, caption: str, path: Path) -> Path:
    figure = Figure(figsize=INCHES, layout="constrained")
    figure.suptitle(f"{name[0].upper()}{name[1:]}")
    figure.supxlabel(caption, fontsize="small", color=BASELINE)
    throughput, latency = figure.subplots(1, 2)
    _draw_throughput(throughput, name, curve.ours, curve.echo)
    _draw_latency(latency, name, curve.ours, curve.echo)
    for axes in (throughput, latency):
        _label_load(axes, [point.in_flight_count for point in curve.ours])
    figure.savefig(path, dpi=DOTS_PER_INCH)
    return path


def _draw_throughput(axes: Axes, name: str, points: list[Point], echo: list[Point]) -> None:
    for label, those, colour in ((ECHO_NAME, echo, BASELINE), (name, points, OURS)):
        axes.plot(_loads(those), [each.per_second for each in those], "o-", color=colour, label=label)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("calls answered a second")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    _add_legend(axes)


def _draw_latency(axes: Axes, name: str, points: list[Point], echo: list[Point]) -> None:
    for label, those, colour in ((ECHO_NAME, echo, BASELINE), (name, points, OURS)):
        axes.plot(
            _loads(those), [each.p50_ms for each in those], "o-", color=colour, label=f"{label}, p50"
        )
        axes.plot(
            _loads(those), [each.p99_ms for each in those], "x--", color=colour, label=f"{label}, p99"
        )
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_ylabel("milliseconds to the answer")
    _add_legend(axes)


def _add_legend(axes: Axes) -> None:
    """Above the picture: within it, some line would always be behind it."""
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, fontsize="small", frameon=False)


def _loads(points: Iterable[Point]) -> list[int]:
    return [point.in_flight_count for point in points]


def _label_load(axes: Axes, counts: list[int]) -> None:
    axes.set_xscale("log", base=2)
    axes.set_xticks(counts, [str(count) for count in counts])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("calls in flight")
    axes.grid(visible=True, alpha=0.3)
