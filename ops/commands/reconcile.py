"""`reconcile`: whether a provider and we tell of the same money."""

import asyncio
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.table import Table
from rich.text import Text

from ops.commands.options import DATA_DIR, LOOK, DatabaseUrl, DataDir, console
from ops.failures import ExitStatus, Problem, visible
from ops.progress import OnProgress, progress
from ops.reconcile import Difference, Reconciled
from ops.reconcile import reconcile as compare
from ops.whereabouts import server_url
from payment_providers.amounts import to_decimal
from payment_providers.wiring import ProviderSettings, providers_of

app = typer.Typer()


def _moment(text: str) -> datetime:
    """A date or a time; in UTC unless it says otherwise."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter("must be like 2026-11-20 or 2026-11-20T10:00:00Z") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


@app.command(rich_help_panel=LOOK)
def reconcile(
    *,
    provider: Annotated[str, typer.Option(metavar="NAME", help="stripe, sumup or paypal.")],
    since: Annotated[
        datetime,
        typer.Option(parser=_moment, metavar="TIME", help="2026-11-20 or 2026-11-20T10:00:00Z."),
    ],
    database_url: DatabaseUrl = None,
    data_dir: DataDir = DATA_DIR,
) -> None:
    """Compare a provider's list of payments with ours, both ways.

    Takes the provider's credentials from the same variables as the services. Writes nothing; the shop
    may go on meanwhile: what is under way is told apart and is no difference. Exit status 1 if anything
    differs, 3 if the provider or the database cannot be reached.
    """
    if since > datetime.now(UTC):
        raise Problem("--since lies in the future", ExitStatus.USAGE)
    settings = _settings()
    database = server_url("DATABASE_URL", database_url, data_dir)
    with progress(console) as on_progress:
        found = asyncio.run(_reconciled(settings, provider, database, since, on_progress))
    if found.under_way:
        _print_table("under way: no difference yet", found.under_way)
    if found.differences:
        _print_table("differences", found.differences)
    console.print(Text(summary(provider, found)), soft_wrap=True)
    if found.differences:
        raise typer.Exit(ExitStatus.REFUSED)


def summary(provider: str, found: Reconciled) -> str:
    """The last line: one word a fact, for scripts."""
    return (
        f"reconcile: provider={provider} payments={found.payment_count}"
        f" captured={_sums(found.captured_minor)} refunded={_sums(found.refunded_minor)}"
        f" differences={len(found.differences)}"
    )


def _settings() -> ProviderSettings:
    try:
        return ProviderSettings()
    except ValidationError as error:
        [first, *_] = error.errors(include_input=False, include_url=False)
        name = str(first["loc"][0]).upper() if first["loc"] else error.title
        raise Problem(f"{name}: {first['msg']}", ExitStatus.USAGE) from None


async def _reconciled(
    settings: ProviderSettings, name: str, database: str, since: datetime, on_progress: OnProgress
) -> Reconciled:
    providers = providers_of(settings)
    try:
        if name not in providers:
            at_work = ", ".join(sorted(providers)) or "none"
            raise Problem(
                f"{visible(name)} is no provider whose credentials are set here; at work: {at_work}",
                ExitStatus.USAGE,
            )
        return await compare(providers[name], database, since, on_progress=on_progress)
    finally:
        for provider in providers.values():
            await provider.close()


def _print_table(title: str, differences: Iterable[Difference]) -> None:
    console.print(Text(title, "bold"))
    table = Table(box=None, pad_edge=False)
    for heading in ("what", "id", "order"):
        table.add_column(heading, overflow="fold")
    for heading in ("here", "there"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("each side says", overflow="fold")
    for each in differences:
        amounts = (_amount(minor, each.currency_code) for minor in (each.here_minor, each.there_minor))
        cells = (each.what, each.subject_id, each.order_id, *amounts, each.told)
        table.add_row(*(Text(visible(cell)) for cell in cells))
    console.print(table)


def _amount(amount_minor: int | None, currency_code: str) -> str:
    """In the currency's units; "-" for a side that knows nothing of it."""
    return "-" if amount_minor is None else f"{to_decimal(amount_minor, currency_code)} {currency_code}"


def _sums(by_currency: Mapping[str, int]) -> str:
    told = [f"{to_decimal(minor, code)}{code}" for code, minor in sorted(by_currency.items()) if minor]
    return ",".join(told) or "0"
