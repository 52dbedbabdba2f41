"""Ports on loopback for servers about to start."""

import fcntl
import os
import secrets
import socket
import tempfile
from functools import cache
from pathlib import Path

HOST = "127.0.0.1"
# Below what Linux (32768) and macOS (49152) hand out to outgoing connections. A port from there may
# be taken by some client while its server restarts, and a client that keeps trying to reach a dead
# server there ends up connected to itself.
PORTS = range(20_000, 32_000)
ATTEMPTS_MAX = 10 * len(PORTS)

_promised: set[int] = set()


class NoPortLeft(Exception):
    """Every port is in use, or promised to somebody."""


def free_port() -> int:
    """A TCP port that nobody listens on, promised to this process until it ends.

    Between the choice of a port and the start of its server, nobody else who asks here is given it: no
    other process of this account, and no other caller in this one. Nor while the server is down.

    Raises:
        NoPortLeft
    """
    for _ in range(ATTEMPTS_MAX):
        port = secrets.choice(PORTS)
        if port not in _promised and _is_free(port) and _promise(port):
            return port
    raise NoPortLeft(f"no free port from {PORTS[0]} to {PORTS[-1]}")


def _promise(port: int) -> bool:
    """Locks the port's byte of the common file; False if another process has it."""
    try:
        # A record lock goes with its process, however that ends.
        fcntl.lockf(_promises(os.getpid()), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except BlockingIOError:
        return False
    _promised.add(port)
    return True


@cache
def _promises(_pid: int) -> int:
    # A file per process: a forked one has none of its parent's locks.
    # Never closed: closing any descriptor of the file would drop the process's locks.
    path = Path(tempfile.gettempdir()) / f"shopkeeper-ports-{os.geteuid()}"
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    return os.open(path, flags, 0o600)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As the servers do: a port whose last connections are still closing is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True
