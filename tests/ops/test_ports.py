"""A port that was given away is nobody else's, used or not."""

import secrets
import socket
import subprocess
import sys

import pytest

from ops import ports
from ops.ports import HOST, NoPortLeft, free_port

TRIES_ONE_PORT = """
import sys
from ops import ports

ports.PORTS = range(int(sys.argv[1]), int(sys.argv[1]) + 1)
ports.ATTEMPTS_MAX = 3
try:
    print(ports.free_port())
except ports.NoPortLeft as error:
    print(error)
"""


def tried_elsewhere(port: int) -> str:
    """What another process is told that would take this port only."""
    asked = [sys.executable, "-c", TRIES_ONE_PORT, str(port)]
    return subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip()


def test_a_port_is_given_to_one_process_only_until_that_ends() -> None:
    port = free_port()
    assert tried_elsewhere(port) == f"no free port from {port} to {port}"
    other = next(each for each in ports.PORTS if tried_elsewhere(each) == str(each))
    assert tried_elsewhere(other) == str(other)


def test_a_port_is_given_away_once(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = free_port(), free_port()
    drawn = iter([first, second, first, 20_000])
    monkeypatch.setattr(secrets, "choice", lambda _: next(drawn))
    monkeypatch.setattr(ports, "ATTEMPTS_MAX", 3)
    with pytest.raises(NoPortLeft):
        free_port()


def test_a_port_that_somebody_listens_on_is_not_given_away(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server((HOST, 0)) as taken:
        monkeypatch.setattr(ports, "PORTS", [taken.getsockname()[1]])
        monkeypatch.setattr(ports, "ATTEMPTS_MAX", 3)
        with pytest.raises(NoPortLeft):
            free_port()
