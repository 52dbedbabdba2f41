"""`verify`: whether everything that must hold does hold."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable
from typing import Annotated

import typer
from rich.text import Text

from ops.commands.options import DATA_DIR, FLAG, LOOK, DatabaseUrl, DataDir, RedisUrl, console
from ops.failures import ExitStatus, visible
from ops.progress import progress
from ops.verify import Violation, examine
from ops.verify.next_steps import next_step
from ops.whereabouts import server_url

app = typer.Typer()

VIOLATIONS_SHOWN = 20


@app.command(rich_help_panel=LOOK)
def verify(
    *,
    database_only: Annotated[
        bool, typer.Option("--database-only", metavar=FLAG, help="Leave the read models out.")
    ] = False,
    limit: Annotated[
        int, typer.Option(min=1, help="Violations to list for each check; all are counted.")
    ] = VIOLATIONS_SHOWN,
    database_url: DatabaseUrl = None,
    redis_url: RedisUrl = None,
    data_dir: DataDir = DATA_DIR,
) -> None:
    """Check every invariant, over the whole database and all read models.

    Sums of the stock ledger, money against orders, coupons against their uses, holds against orders,
    and each view in Redis against what the tables say. Writes nothing; the shop may go on meanwhile.
    Exit status 1 with a list if anything is not as it must be, and what to do next; 4 if nothing is
    wrong, but views changed so often that they could not be compared. The last line is for scripts.
    """
    database = server_url("DATABASE_URL", database_url, data_dir)
    redis = None if database_only else server_url("REDIS_URL", redis_url, data_dir)
    with progress(console) as on_progress:
        found = asyncio.run(examine(database, redis, on_progress=on_progress))
    _print_violations(found.proven, limit, "")
    _print_violations(found.not_compared, limit, "not compared: ")
    if found.not_compared and not found.proven:
        console.print(Text("everything else is as it must be", "yellow"))
    elif not found.proven:
        console.print(Text("everything is as it must be", "green"))
    # Never wrapped, however narrow the terminal is.
    console.print(Text(found.line), soft_wrap=True)
    if found.proven:
        raise typer.Exit(ExitStatus.REFUSED)
    if found.not_compared:
        raise typer.Exit(ExitStatus.UNPROVEN)


def _print_violations(violations: Iterable[Violation], limit: int, what: str) -> None:
    by_check: dict[str, list[Violation]] = defaultdict(list)
    for violation in violations:
        by_check[violation.check].append(violation)
    for check, found in by_check.items():
        console.print(Text(f"{what}{check}: {len(found):,}", "bold red"), soft_wrap=True)
        for violation in found[:limit]:
            told = visible(f"  {violation.subject}: {violation.explanation}")
            console.print(Text(told), soft_wrap=True)
        if len(found) > limit:
            console.print(f"  and {len(found) - limit:,} more")
        if found[0].is_proven:
            console.print(Text(visible(f"  next: {next_step(found[0])}"), "dim"), soft_wrap=True)
