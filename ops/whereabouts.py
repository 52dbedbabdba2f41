"""Where the shop of a data directory runs: written by `up`, read by every other command.

With embedded servers nobody knows their ports and passwords, so `up` leaves them in a file that only
its owner can read, and which it holds locked while it runs: however it ends, the lock ends with it.
Variables of the environment and options come first.
"""

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated

import psycopg
from psycopg.conninfo import conninfo_to_dict
from pydantic import AfterValidator, TypeAdapter, ValidationError

from ops.failures import ExitStatus, Problem
from ops.services import Service
from serving.settings import PostgresUrl, RedisUrl

FILE_NAME = "running.json"
DEFAULT_DATA_DIR = Path(".shopkeeper")


def _understood(url: str) -> str:
    try:
        conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        # From None: the message repeats what it stumbles over, which may be a part of a password.
        raise ValueError("must be an address as libpq understands it") from None
    return url


KINDS: Mapping[str, TypeAdapter[str]] = {
    "DATABASE_URL": TypeAdapter(Annotated[PostgresUrl, AfterValidator(_understood)]),
    "REDIS_URL": TypeAdapter(RedisUrl),
}
"""What the addresses of servers must be like."""


@contextmanager
def remembered(data_dir: Path, environment: Mapping[str, str]) -> Iterator[None]:
    """Leaves `environment` in `data_dir` for as long as the block runs."""
    data_dir.mkdir(parents=True, exist_ok=True)
    path = data_dir / FILE_NAME
    scratch = path.with_suffix(".new")
    scratch.unlink(missing_ok=True)
    # It holds passwords.
    scratch.touch(mode=0o600)
    with scratch.open("w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        json.dump(dict(environment), file, indent=2)
        file.flush()
        # At once: who reads it meanwhile finds all of it or nothing.
        scratch.replace(path)
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
        raise Problem(f"{variable} is not set, and {_no_up_in(data_dir)}", ExitStatus.UNREACHABLE)
    return checked_url(variable, url)


def checked_url(variable: str, url: str) -> str:
    """The address of a server.

    Raises:
        Problem: it is none.
    """
    try:
        return KINDS[variable].validate_python(url)
    except ValidationError as error:
        reason = error.errors(include_input=False)[0]["ctx"]["error"]
        raise Problem(f"{variable} {reason}", ExitStatus.USAGE) from None


def service_address(service: Service, given: str | None, data_dir: Path) -> str:
    """The address in an option, else in its variable, else of the running `up`, else the default.

    Raises:
        Problem: a data directory was named, in which no `up` runs: the default would be another shop's.
    """
    variable = f"{service.prefix}_ADDRESS"
    told = recalled(data_dir)
    if not given and not told.get(variable) and data_dir != DEFAULT_DATA_DIR:
        raise Problem(
            f"{_no_up_in(data_dir)}; name the service by --address or {variable}", ExitStatus.UNREACHABLE
        )
    return given or service.address(told) or ""


def _no_up_in(data_dir: Path) -> str:
    return f"no `shopkeeper up` runs in {data_dir}"


def _left_by_up(data_dir: Path) -> dict[str, str]:
    """What the `up` that runs left; nothing if it has ended, however that was."""
    try:
        file = (data_dir / FILE_NAME).open(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return {}
    with file:
        with suppress(BlockingIOError):
            # Only who holds it exclusively, which is a running `up`, keeps us from sharing it.
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return {}
        found: dict[str, str] = json.load(file)
    return found
