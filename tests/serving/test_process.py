"""A service that cannot be started as configured says so in one line and ends with status 1."""

import json
import os
import socket
import subprocess
import sys
from contextlib import closing

import pytest

from ops.ports import HOST, free_port

NOWHERE = "postgresql://nobody@127.0.0.1:1/nothing"
POSTGRES = "must begin with postgresql:// or postgres://"
REDIS = "must begin with redis:// or rediss:// or redis+cluster:// or unix://"
SERVICES = ("command_service", "query_service", "history_service", "projections")


def start(module: str, **environment: str) -> tuple[int, list[dict[str, str]], str]:
    """The exit status, and what was logged: as JSON lines, and as it is."""
    named = ("_URL", "_ADDRESS", "_PORT", "_MAX", "LOG_LEVEL")
    kept = {name: value for name, value in os.environ.items() if not name.endswith(named)}
    ended = subprocess.run(
        [sys.executable, "-m", module],
        capture_output=True,
        check=False,
        env={**kept, **environment},
        text=True,
        timeout=60,
    )
    lines = [json.loads(line) for line in ended.stderr.splitlines() if line.startswith("{")]
    return ended.returncode, lines, ended.stderr


@pytest.mark.parametrize("module", SERVICES)
def test_settings_that_are_missing_are_named(module: str) -> None:
    status, [line], text = start(module)
    assert status == 1
    assert (line["event"], line["level"], line["service"]) == ("cannot start", "critical", module)
    assert "_URL: Field required" in line["reason"]
    assert "Traceback" not in text


@pytest.mark.parametrize(
    ("variable", "value", "reason"),
    [
        ("LOG_LEVEL", "LOUD", "LOG_LEVEL: must be one of CRITICAL,"),
        ("COMMAND_METRICS_PORT", "abc", "COMMAND_METRICS_PORT: Input should be a valid integer"),
        ("COMMAND_METRICS_PORT", "70000", "COMMAND_METRICS_PORT: Input should be less than"),
        ("BATCH_ROWS_MAX", "0", "BATCH_ROWS_MAX: Input should be greater than 0"),
        (
            "ORDER_HOLD_SECONDS",
            "-1",
            "ORDER_HOLD_SECONDS: Input should be greater than or equal to 0.001",
        ),
        ("ORDER_HOLD_SECONDS", "1e11", "ORDER_HOLD_SECONDS: Input should be less than or equal to"),
        (
            "DATABASE_LOCK_SECONDS_MAX",
            "inf",
            "DATABASE_LOCK_SECONDS_MAX: Input should be a finite number",
        ),
    ],
)
def test_wrong_settings_are_named_without_the_secrets_among_them(
    variable: str, value: str, reason: str
) -> None:
    status, [line], text = start("command_service", DATABASE_URL=NOWHERE, **{variable: value})
    assert status == 1
    assert line["reason"].startswith(reason)
    assert "nobody@" not in text
    assert "Traceback" not in text


@pytest.mark.parametrize(
    ("module", "variable", "url", "reason"),
    [
        ("command_service", "DATABASE_URL", "mysql://u:hush@h/d", f"DATABASE_URL: {POSTGRES}"),
        ("history_service", "HISTORY_DATABASE_URL", "hush", f"HISTORY_DATABASE_URL: {POSTGRES}"),
        ("query_service", "REDIS_URL", "h:6379/hush", f"REDIS_URL: {REDIS}"),
        ("projections", "REDIS_URL", "redis://:hu/sh@h", "REDIS_URL: must have a number for its port"),
        (
            *("command_service", "DATABASE_URL", "postgresql://u:%hush@h/d"),
            "the database's address is none that libpq understands",
        ),
    ],
)
def test_an_address_of_a_server_that_is_none_is_named(
    module: str, variable: str, url: str, reason: str
) -> None:
    others = {"DATABASE_URL": NOWHERE} if module == "projections" else {}
    status, [line], text = start(module, **others, **{variable: url})
    assert status == 1
    assert line["reason"] == reason
    assert "hush" not in text
    assert "sh@h" not in text
    assert "Traceback" not in text


@pytest.mark.parametrize("is_number", [True, False])
def test_an_address_on_which_it_cannot_listen_is_named(is_number: bool) -> None:
    with closing(socket.create_server((HOST, 0))) as taken:
        address = f"{HOST}:{taken.getsockname()[1]}" if is_number else "nonsense"
        status, [line], text = start("query_service", REDIS_URL="redis://x", QUERY_ADDRESS=address)
    assert status == 1
    assert line["reason"] == f"cannot listen on {address}: no such address, or it is in use"
    assert "Traceback" not in text


def test_a_metrics_port_that_is_taken_is_named() -> None:
    address = f"{HOST}:{free_port()}"
    with closing(socket.create_server((HOST, 0))) as taken:
        port = taken.getsockname()[1]
        status, lines, text = start(
            *("query_service",),
            REDIS_URL="redis://x",
            QUERY_ADDRESS=address,
            QUERY_METRICS_PORT=str(port),
        )
    assert status == 1
    assert lines[-1]["reason"] == f"cannot serve metrics on {HOST}:{port}: Address already in use"
    assert "Traceback" not in text
