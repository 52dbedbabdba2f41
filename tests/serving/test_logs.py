"""Logs: one JSON object a line, whoever writes it, and no line a thousand times."""

import json
import subprocess
import sys
from pathlib import Path

from serving.reminders import REMIND_SECONDS, Reminder

LIBRARY_WARNS = """
import logging
from serving.logs import configure_logs
configure_logs("shop")
logging.getLogger("psycopg").warning("error ignored terminating %s", "a pipeline")
logging.getLogger("psycopg").info("nobody wants to know")
"""


def test_what_a_library_logs_is_a_json_line_like_ours() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", LIBRARY_WARNS], capture_output=True, check=True, text=True, timeout=60
    )
    [line] = [json.loads(text) for text in ended.stderr.splitlines()]
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "error ignored terminating a pipeline",
        "level": "warning",
        "logger": "psycopg",
        "service": "shop",
    }


CANNOT_BE_WRITTEN = """
import logging, sys, structlog
from serving.logs import configure_logs
configure_logs("shop")
structlog.get_logger().warning("failing, trying again")
logging.getLogger("psycopg").warning("error ignored")
print("alive")
"""


def test_what_cannot_be_logged_is_lost_and_ends_nothing() -> None:
    """A disk that is full, which is when there is most to tell."""
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [sys.executable, "-c", CANNOT_BE_WRITTEN],
            check=False,
            stderr=full,
            stdout=subprocess.PIPE,
            timeout=60,
        )
    assert ended.stdout == b"alive\n"
    # Python's own way to say, at the very end, that standard error could not be written.
    assert ended.returncode in (0, 120)


CALLER_GIVES_UP = """
import logging
from serving.logs import configure_logs
configure_logs("shop")
grpc = logging.getLogger("grpc._cython.cygrpc")
grpc.error("ExecuteBatchError raised in core by servicer method [%s]", "/shop/AddCartLine")
grpc.error("Unexpected [%s] raised by servicer method [%s]", "ValueError", "/shop/AddCartLine")
"""


def test_a_caller_who_gives_up_as_it_is_answered_leaves_no_line() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", CALLER_GIVES_UP], capture_output=True, check=True, text=True, timeout=60
    )
    [line] = [json.loads(text) for text in ended.stderr.splitlines()]
    assert line["event"] == "Unexpected [ValueError] raised by servicer method [/shop/AddCartLine]"


COMMAND_FAILS = """
import structlog
from serving.logs import configure_logs
configure_logs("shop")
address = "12 St James's Square"
try:
    raise ValueError("no such street")
except ValueError:
    structlog.get_logger().exception("a command failed")
"""


def test_an_exception_is_told_without_the_values_of_variables() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", COMMAND_FAILS], capture_output=True, check=True, text=True, timeout=60
    )
    assert "no such street" in ended.stderr
    assert "St James" not in ended.stderr


def test_trouble_that_lasts_is_said_at_once_and_then_now_and_then() -> None:
    now = 0.0
    reminder = Reminder(lambda: now)
    assert reminder.is_due("away")
    assert not reminder.is_due("away")
    now = REMIND_SECONDS - 0.1
    assert not reminder.is_due("away")
    now = REMIND_SECONDS
    assert reminder.is_due("away")
    assert not reminder.is_due("away")


def test_trouble_of_another_kind_is_news() -> None:
    reminder = Reminder(lambda: 0.0)
    assert reminder.is_due("away")
    assert reminder.is_due("broken")
