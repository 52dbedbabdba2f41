"""`race`: the last-unit race, against any running shop."""

from typing import Annotated

import typer

from ops.commands.options import DATA_DIR, FLAG, RUN, DataDir, console
from ops.failures import ExitStatus, Problem
from ops.race import Entry, run_race
from ops.race.shop import Addresses
from ops.rpc import address_of

app = typer.Typer()

BUYERS_MAX = 2_000
"""Below QUEUE_LENGTH_MAX: more would find the queue full, and that is not what is proved here."""
UNITS_MAX = 1_000_000
CONNECTIONS_MAX = 256

AT = "that of the running `up`, or the default port"


@app.command(rich_help_panel=RUN)
def race(
    *,
    sku: Annotated[
        str | None,
        typer.Option(metavar="ID", show_default="one made for the race", help="What is raced for."),
    ] = None,
    buyers: Annotated[int, typer.Option(min=1, max=BUYERS_MAX, help="Who order at once.")] = 64,
    units: Annotated[
        int | None,
        typer.Option(min=1, max=UNITS_MAX, show_default="1", help="Of a SKU made for the race."),
    ] = None,
    currency: Annotated[
        str | None,
        typer.Option(metavar="CODE", show_default="of the SKU's first price", help="Of the carts."),
    ] = None,
    keep: Annotated[
        bool, typer.Option("--keep", metavar=FLAG, help="Leave won orders and lost carts as they are.")
    ] = False,
    connections: Annotated[
        int, typer.Option(min=1, max=CONNECTIONS_MAX, help="To the command service.")
    ] = 8,
    command_address: Annotated[
        list[str] | None,
        typer.Option(show_default=AT, help="host:port; several times to race over several processes."),
    ] = None,
    query_address: Annotated[str | None, typer.Option(show_default=AT, help="host:port.")] = None,
    history_address: Annotated[str | None, typer.Option(show_default=AT, help="host:port.")] = None,
    data_dir: DataDir = DATA_DIR,
) -> None:
    """Have many buyers order the last unit at the same moment, and prove who got it.

    Real carts and real orders through the public API, of a SKU of yours with the stock that it has, or
    of one made for the race. Then the ledger is read and added up: as many winners as units, nobody else
    holds one, nothing was promised that is not there. What was won is called off afterwards, unless
    --keep. Exit status 1 if anything does not add up.
    """
    if sku is not None and units is not None:
        raise Problem(
            "--units is for a SKU made for the race; a SKU of yours is raced for with the stock it has",
            ExitStatus.USAGE,
        )
    named: list[str | None] = [*(command_address or [])] or [None]
    addresses = Addresses(
        commands=tuple(address_of("command_service", each, data_dir) for each in named),
        query=address_of("query_service", query_address, data_dir),
        history=address_of("history_service", history_address, data_dir),
    )
    entry = Entry(sku, buyers, units or 1, currency, connections, is_kept=keep)
    raise typer.Exit(run_race(console, addresses, entry))
