"""Where the shop of a data directory runs: written by `up`, read by every other command.

With embedded servers nobody knows their ports and passwords, so `up` leaves them in a file that only
its owner can read. Variables of the environment and options come first.
"""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from ops.failures import ExitStatus, Problem

FILE_NAME = "running.json"
SCHEMES = {
    "DATABASE_URL": ("postgresql://", "postgres://"),
    "REDIS_URL": ("redis://", "rediss://", "redis+cluster://", "unix://"),
}
"""How the addresses of servers begin."""


@contextmanager
def remembered(data_dir: Path, environment: Mapping[str, str]) -> Iterator[None]:
    """Leaves `environment` in `data_dir` for as long as the block runs."""
    data_dir.mkdir(parents=True, exist_ok=True)
    path = data_dir / FILE_NAME
    path.unlink(missing_ok=True)
    # It holds passwords.
    path.touch(mode=0o600)
    path.write_text(json.dumps(dict(environment), indent=2), encoding="utf-8")
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def recalled(data_dir: Path) -> dict[str, str]:
    """This process's environment, completed by what the `up` of `data_dir` left there."""
    return {**_left_by_up(data_dir), **os.environ}


def server_url(variable: str, given: str | None, data_dir: Path) -> str:
    """The address in an option, else in the variable, else of the `up` that runs in `data_dir`.

    Raises:
        Problem: it is nowhere, or is no address.
    """
    url = given or recalled(data_dir).get(variable)
    if not url:
        raise Problem(
            f"{variable} is not set, and no `shopkeeper up` runs in {data_dir}", ExitStatus.UNREACHABLE
        )
    if not url.startswith(SCHEMES[variable]):
        raise Problem(f"{variable} must begin with {' or '.join(SCHEMES[variable])}")
    return url


def _left_by_up(data_dir: Path) -> dict[str, str]:
    try:
        text = (data_dir / FILE_NAME).read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    found: dict[str, str] = json.loads(text)
    return found
