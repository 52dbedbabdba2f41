"""The `shopkeeper` command."""

import sys
from io import TextIOWrapper

import typer

from ops.commands import (
    alarms,
    call,
    database,
    demo,
    explain,
    log,
    race,
    rebuild,
    reconcile,
    up,
    verify,
)
from ops.failures import ReadableErrors

app = typer.Typer(
    name="shopkeeper",
    cls=ReadableErrors,
    help="Run and look after a Shopkeeper.",
    epilog=(
        "Exit status: 0 done; 1 refused, or something is wrong with the data; 2 wrong usage; "
        "3 a server or service cannot be started or reached; 4 nothing wrong was found, but not all "
        "could be looked at; 70 a mistake of ours; 130 interrupted."
    ),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    # Fits paragraphs to the terminal, where the other modes keep the line ends of the source.
    rich_markup_mode="markdown",
)


@app.callback()
def shopkeeper() -> None:
    """Run and look after a Shopkeeper."""
    if isinstance(sys.stdout, TextIOWrapper):
        # What a terminal's encoding lacks is spelled out; stderr does so by itself.
        sys.stdout.reconfigure(errors="backslashreplace")


for module in (up, demo, rebuild, database, verify, reconcile, alarms, race, explain, log, call):
    app.add_typer(module.app)
