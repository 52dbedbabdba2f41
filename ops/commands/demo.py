"""`demo`: five real days of an online shop."""

import os

import typer

from ops.commands.options import RUN, console
from ops.demo.run import run_demo

app = typer.Typer()


@app.command(rich_help_panel=RUN)
def demo() -> None:
    """Sell five real days of an online shop, and check every claim that this project makes.

    Starts everything on free ports, the servers embedded unless DATABASE_URL and REDIS_URL name others
    (which must be empty), replays 10,000 lines of real invoices through the public API as a client,
    prints a report and leaves nothing behind. Takes minutes. Exit status 1 if a claim did not hold.
    """
    raise typer.Exit(run_demo(console, os.environ))
