"""A service as a process: settings, logs, event loop, and one clear line if it cannot start."""

import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeVar

import structlog
import uvloop
from pydantic import ValidationError

from serving.logs import configure_logs
from serving.server import CannotServe

log = structlog.get_logger(__name__)

INTERRUPTED = 128 + signal.SIGINT
"""The exit status that shells give to what Ctrl-C has ended."""

OURS = "Value error, "
"""What pydantic puts before the message of a rule of our own."""


class Configured(Protocol):
    """What the settings of every service have."""

    log_level: str


SettingsT = TypeVar("SettingsT", bound=Configured)


def run_service(
    name: str,
    read_settings: Callable[[], SettingsT],
    serve: Callable[[SettingsT], Coroutine[Any, Any, None]],
) -> None:
    """Serves until SIGTERM; ends the process with status 1 if it cannot be started as configured."""
    configure_logs(name)
    try:
        settings = read_settings()
        configure_logs(name, settings.log_level)
        uvloop.run(serve(settings))
    except (ValidationError, CannotServe) as error:
        log.critical("cannot start", reason=reason_of(error))
        sys.exit(1)
    except KeyboardInterrupt:
        # While it waits for a server: once it serves, Ctrl-C asks it to drain.
        sys.exit(INTERRUPTED)


def reason_of(error: ValidationError | CannotServe) -> str:
    """One line; of wrong settings the variables and what is wrong with each, without their values."""
    if isinstance(error, CannotServe):
        return str(error)
    return "; ".join(
        f"{'.'.join(map(str, wrong['loc'])).upper()}: {wrong['msg'].removeprefix(OURS)}"
        for wrong in error.errors(include_url=False, include_input=False)
    )
