"""Options that several commands share, and the console they print to."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from ops.whereabouts import DEFAULT_DATA_DIR

RUN, LOOK, REPAIR = "Run", "Look", "Repair"
"""The panels of --help."""

# A pipe has no width: what goes there is not folded at the 80 columns that rich would assume.
PIPE_COLUMNS = 220
console = Console(width=None if sys.stdout.isatty() else PIPE_COLUMNS)

FLAG = ""
"""The metavar of an option that takes no value; typer would call it one of <bool>."""

DataDir = Annotated[
    Path,
    typer.Option(
        envvar="SHOPKEEPER_DATA_DIR",
        help="Where `shopkeeper up` keeps its data, and tells other commands how to reach it.",
    ),
]
DATA_DIR: Path = DEFAULT_DATA_DIR

DatabaseUrl = Annotated[
    str | None,
    typer.Option(
        envvar="DATABASE_URL",
        show_default="that of the running `up`",
        help="postgresql://user:password@host:port/database",
    ),
]
RedisUrl = Annotated[
    str | None,
    typer.Option(
        envvar="REDIS_URL",
        show_default="that of the running `up`",
        help="redis://:password@host:port/0",
    ),
]
Address = Annotated[
    str | None,
    typer.Option(
        show_default="that of the running `up`, or the default port",
        help="host:port of the service.",
    ),
]
