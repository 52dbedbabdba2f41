"""Runs the command line for a test, and tells how it ended."""

import os
import sys
from pathlib import Path
from typing import NamedTuple

from typer.testing import CliRunner

from ops.cli import app

SHOPKEEPER = (sys.executable, "-c", "from ops.cli import app; app()")
DONE, REFUSED, USAGE, UNREACHABLE = 0, 1, 2, 3


class Ended(NamedTuple):
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str


def run(*arguments: str, cwd: Path, **environment: str) -> Ended:
    """Runs `shopkeeper` in this process, which is fast, where nothing runs and without a terminal."""
    unset = {name: None for name in os.environ if name.endswith(("_URL", "_ADDRESS"))}
    at = {"SHOPKEEPER_DATA_DIR": str(cwd / ".shopkeeper")}
    result = CliRunner().invoke(app, arguments, env={**unset, **at, **environment})
    return Ended(result.exit_code, result.stdout, result.stderr)
