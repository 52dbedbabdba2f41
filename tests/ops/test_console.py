"""Log lines as people read them."""

import io
import json
import time
from collections.abc import Iterator

import pytest
from rich.console import Console

from ops.console import LogPrinter, rendered
from ops.service_process import LogLine

MOMENT = "2010-12-01T08:26:00.123456Z"


def shown(text: str, source: str = "command_service#0") -> str:
    return rendered(LogLine(source, text)).plain


def entry(**facts: object) -> str:
    return json.dumps({"timestamp": MOMENT, "level": "info", "event": "serving", **facts})


@pytest.fixture(autouse=True)
def here_is_utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


def test_a_log_line_is_told_as_time_source_level_event_and_facts() -> None:
    line = shown(entry(request_id="6f", lane="bulk", seconds=0.25))
    assert line == (
        "08:26:00.123 command_service#0 info    serving request_id=6f lane=bulk seconds=0.25"
    )


def test_sources_and_levels_are_aligned() -> None:
    line = shown(entry(level="warning"), source="projections#0")
    assert line == "08:26:00.123 projections#0     warning serving"


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("plain", "plain"),
        ("two words", '"two words"'),
        ("a=b", '"a=b"'),
        ("", '""'),
        (None, "null"),
        ([1, 2], "[1, 2]"),
        ("[bold]", "[bold]"),
    ],
)
def test_a_fact_is_told_so_that_its_end_is_clear(value: object, told: str) -> None:
    assert shown(entry(fact=value)).endswith(f" fact={told}")


@pytest.mark.parametrize("text", ["Segmentation fault", "", "[1, 2]", '"text"', "{broken", "12"])
def test_what_is_no_log_line_is_passed_on_as_it_is(text: str) -> None:
    assert shown(text) == f"             command_service#0 {text}"


def test_what_service_it_is_is_not_repeated() -> None:
    assert "service=" not in shown(entry(service="command_service"))


def test_a_structured_traceback_stands_below_its_line() -> None:
    frame = {"filename": "committer.py", "lineno": 7, "name": "commit"}
    raised = {"exc_type": "ValueError", "exc_value": "no", "frames": [frame]}
    assert shown(entry(event="failed", exception=[raised])).splitlines()[1:] == [
        '    File "committer.py", line 7, in commit',
        "    ValueError: no",
    ]


@pytest.mark.parametrize("timestamp", ["yesterday", None, 12])
def test_an_unreadable_time_leaves_its_place_empty(timestamp: object) -> None:
    assert shown(entry(timestamp=timestamp)).startswith("             command_service#0 info")


def test_without_a_terminal_a_line_is_neither_coloured_nor_folded() -> None:
    out = io.StringIO()
    LogPrinter(Console(file=out, width=40))(LogLine("query_service#1", entry(fact="x" * 100)))
    assert out.getvalue() == f"08:26:00.123 query_service#1   info    serving fact={'x' * 100}\n"


def test_a_terminal_gets_colours() -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, color_system="standard")
    LogPrinter(console)(LogLine("query_service#1", entry(level="error")))
    assert "\x1b[1;31merror" in out.getvalue()


@pytest.mark.parametrize(
    "text",
    [
        entry(cart_id="\x1b[2J\u202egnp"),
        entry(message="a \x9b b"),
        entry(event="\x1b[2J"),
        entry(exception="Error: \x1b[2J"),
        entry(**{"\x9b": 1}),
        "\x1b[2J",
    ],
)
def test_what_others_chose_does_not_command_the_terminal(text: str) -> None:
    assert not set(shown(text)) & {"\x1b", "\x9b", "\u202e"}


def test_half_a_character_is_spelled_out_and_does_not_end_the_log() -> None:
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    printer = LogPrinter(Console(file=out))
    printer(LogLine("webhooks#0", entry(event_id="\ud800", exception="\udfff")))
    printer(LogLine("webhooks#0", entry(event_id="evt_2")))
    out.seek(0)
    told = out.read()
    assert "event_id=\\ud800" in told
    assert "\\udfff" in told
    assert "event_id=evt_2" in told
