"""What can go wrong on the command line, told to people: a sentence, and an exit status to script by."""

import os
import traceback
import unicodedata
from enum import IntEnum
from pathlib import Path
from typing import Any

import psycopg
import redis
import sqlalchemy.exc
import typer
from rich.console import Console
from rich.text import Text
from typer.core import TyperGroup

from ops.account import NoPlaceToRun
from ops.embedded import ServerDidNotStart
from ops.supervisor import AddressInUse, ServiceDidNotStart, WrongAddress

TRACEBACK_VARIABLE = "SHOPKEEPER_TRACEBACK"

NO_SHOP = "the database holds no shop of this version; run `shopkeeper migrate` first"

errors = Console(stderr=True)


class ExitStatus(IntEnum):
    """How a command ended."""

    DONE = 0
    REFUSED = 1
    """It was refused, or something was found that ought not to be."""
    USAGE = 2
    """Nothing was begun: an argument or a setting is not what it must be; typer says so too."""
    UNREACHABLE = 3
    """A server or a service could not be started or reached: try again later."""
    UNPROVEN = 4
    """Nothing was found, but not all could be looked at: try again later."""
    BROKEN = 70
    """A mistake in this program."""
    INTERRUPTED = 130
    """Ctrl-C."""


class Problem(Exception):
    """Ends the command with a message for people."""

    def __init__(self, message: str, status: ExitStatus = ExitStatus.REFUSED) -> None:
        super().__init__(message)
        self.status = status


class ReadableErrors(TyperGroup):
    """A group of commands that answers exceptions with sentences instead of tracebacks."""

    def invoke(self, ctx: Any) -> Any:
        """Runs the command; the outermost place, so that nothing passes it as a traceback."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise typer.Exit(ExitStatus.INTERRUPTED) from None
        except (typer.Exit, typer.Abort, typer.TyperException):
            raise
        except Exception as error:  # noqa: BLE001 the last one who could tell a person
            problem = as_problem(error)
            errors.print(Text.assemble(("error: ", "bold red"), visible(str(problem))), soft_wrap=True)
            if os.environ.get(TRACEBACK_VARIABLE):
                errors.print("".join(traceback.format_exception(error)), markup=False, soft_wrap=True)
            raise typer.Exit(problem.status) from None


def visible(text: str) -> str:
    """The text with its control characters spelled out: an id must not command a terminal."""
    return "".join(each if each == "\n" or not _is_control(each) else ascii(each)[1:-1] for each in text)


def _is_control(character: str) -> bool:
    # Cc: control characters, escape among them; Cf: what turns the direction of text around; Cs: halves
    # of characters, which JSON can spell and no output can encode.
    return unicodedata.category(character) in ("Cc", "Cf", "Cs")


def as_problem(error: Exception) -> Problem:
    """The error as people should hear of it."""
    match error:
        case Problem():
            return error
        case WrongAddress():
            return Problem(str(error), ExitStatus.USAGE)
        case ServiceDidNotStart():
            # Its last words have been printed as they came.
            return Problem(error.summary, ExitStatus.UNREACHABLE)
        case ServerDidNotStart() | AddressInUse() | NoPlaceToRun():
            return Problem(str(error), ExitStatus.UNREACHABLE)
        case psycopg.OperationalError() | sqlalchemy.exc.OperationalError():
            return Problem(f"the database cannot be used: {_sentence(error)}", ExitStatus.UNREACHABLE)
        case psycopg.errors.UndefinedTable():
            return Problem(NO_SHOP)
        case redis.RedisError() | redis.exceptions.RedisClusterException():
            return Problem(f"Redis cannot be used: {_sentence(error)}", ExitStatus.UNREACHABLE)
        case TimeoutError():
            return Problem(_sentence(error) or "no answer in time", ExitStatus.UNREACHABLE)
        case OSError(filename=str() | Path() as path, strerror=str(reason)):
            return Problem(f"{path}: {reason}")
        case _:
            return Problem(
                f"{type(error).__name__}: {_sentence(error)}\n"
                f"This is a mistake in shopkeeper; {TRACEBACK_VARIABLE}=1 shows where.",
                ExitStatus.BROKEN,
            )


def _sentence(error: Exception) -> str:
    """The first line: the rest is for programmers."""
    cause = error.orig if isinstance(error, sqlalchemy.exc.OperationalError) else error
    return str(cause).partition("\n")[0]
