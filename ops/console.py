"""What people read: services' JSON log lines as one aligned, coloured line each."""

import json
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.text import Text

from ops.failures import visible
from ops.service_process import LogLine

SOURCE_WIDTH = len("command_service#0")
LEVEL_WIDTH = len("warning")

LEVEL_STYLES = {
    "debug": "dim",
    "info": "green",
    "warning": "yellow",
    "error": "bold red",
    "critical": "bold white on red",
}
SOURCE_STYLES = {
    "command_service": "cyan",
    "query_service": "blue",
    "history_service": "magenta",
    "projections": "bright_yellow",
    "supervisor": "bold red",
}
# Shown at the front of the line, or known already from the source.
SHOWN_APART = {"timestamp", "level", "event", "logger", "service", "exception"}


class LogPrinter:
    """Prints log lines as they come; in a terminal with colours, elsewhere plain."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def __call__(self, line: LogLine) -> None:
        """Prints one line of a service, and below it the traceback that it may carry."""
        # Not wrapped: a line is for grep as well, and terminals wrap by themselves.
        self._console.print(rendered(line), soft_wrap=True)


def rendered(line: LogLine) -> Text:
    """One line for people; what is not JSON, of a crash for example, is passed on as it is."""
    entry = _parsed(line.text)
    if entry is None:
        return Text.assemble(
            " " * len("00:00:00.000"), " ", _source(line.source), " ", visible(line.text)
        )
    text = Text.assemble(_time(entry), " ", _source(line.source), " ", _level(entry), " ")
    text.append(visible(str(entry.get("event", ""))), "bold")
    for name, value in entry.items():
        if name not in SHOWN_APART:
            text.append(f" {visible(name)}=", "dim").append(_value(value))
    if exception := entry.get("exception"):
        text.append("\n" + _indented(visible(_traceback(exception))), "red")
    return text


def _parsed(text: str) -> dict[str, Any] | None:
    try:
        entry = json.loads(text)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) else None


def _time(entry: dict[str, Any]) -> tuple[str, str]:
    """The time of day here, to the millisecond: who watches `up` knows the date."""
    try:
        moment = datetime.fromisoformat(str(entry.get("timestamp"))).astimezone()
    except ValueError:
        return " " * len("00:00:00.000"), ""
    return moment.strftime("%H:%M:%S.") + f"{moment.microsecond // 1000:03}", "dim"


def _source(source: str) -> tuple[str, str]:
    return f"{source:<{SOURCE_WIDTH}}", SOURCE_STYLES.get(source.partition("#")[0], "")


def _level(entry: dict[str, Any]) -> tuple[str, str]:
    level = str(entry.get("level", "info")).lower()
    return f"{level:<{LEVEL_WIDTH}}", LEVEL_STYLES.get(level, "")


def _value(value: object) -> str:
    """Bare where that is unambiguous, as JSON where it is not."""
    if isinstance(value, str) and value and not set(value) & set(' ="\n'):
        return visible(value)
    return visible(json.dumps(value, ensure_ascii=False, default=str))


def _traceback(exception: object) -> str:
    """Structured tracebacks, outermost exception first, in the form that everyone knows."""
    if not isinstance(exception, list):
        return str(exception)
    lines: list[str] = []
    for link in exception:
        lines += [
            f'File "{frame.get("filename")}", line {frame.get("lineno")}, in {frame.get("name")}'
            for frame in link.get("frames", ())
        ]
        lines.append(f"{link.get('exc_type')}: {link.get('exc_value')}")
    return "\n".join(lines)


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())
