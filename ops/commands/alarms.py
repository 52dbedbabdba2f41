"""`alarms`: what people have to see to in the matter of payments."""

from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime
from itertools import groupby
from typing import NamedTuple

import psycopg
import typer
from rich.text import Text

from ops.commands.options import DATA_DIR, LOOK, DatabaseUrl, DataDir, console
from ops.failures import ExitStatus, visible
from ops.whereabouts import server_url
from payment_providers.amounts import to_decimal

app = typer.Typer()

ROWS_MAX = 1_000
"""More are one disaster, not a thousand matters."""

WHAT_TO_DO: Mapping[str, str] = {
    "money_without_order": "Give it back with RefundPayment; what came in another way goes back that"
    " way, then RecordRefund.",
    "money_not_counted": "RecordPayment for this order, under a reference of your own; where it was"
    " recorded by mistake, RecordRefund.",
    "order_without_money": "Find the money in the provider's tools. If there is none, stop the order and"
    " RecordRefund what was recorded by mistake.",
    "refund_above_capture": "Look at the payment in the provider's tools; a mistake of ours: report it.",
    "unknown_past_deadline": "Look at it in the provider's tools. We go on asking, once a minute.",
    "call_overdue": "Find the reason in the provider's tools: credentials, funds, a reader that is off."
    " We go on trying.",
    "refund_pending": "Look at it in the provider's tools, or write to the provider. We go on asking,"
    " every six hours.",
    "failed_refund": "RefundPayment once more, or give it back in another way and RecordRefund.",
}
"""For each alarm."""


class Alarm(NamedTuple):
    """One row of the view. since: when it began to wait."""

    alarm: str
    id: str
    order_id: str
    provider: str
    amount_minor: int
    currency_code: str
    since: datetime


@app.command(rich_help_panel=LOOK)
def alarms(*, database_url: DatabaseUrl = None, data_dir: DataDir = DATA_DIR) -> None:
    """Show money that waits for a person: without an order, not counted, of unknown outcome.

    Writes nothing. Exit status 1 if there is any, each kind with what to do.
    """
    found = _alarms_of(server_url("DATABASE_URL", database_url, data_dir))
    if not found:
        console.print(Text("no alarms", "green"))
        return
    for line in _lines(found):
        console.print(line, soft_wrap=True)
    raise typer.Exit(ExitStatus.REFUSED)


def _alarms_of(database_url: str) -> list[Alarm]:
    options = "-c default_transaction_read_only=on -c statement_timeout=10min -c jit=off"
    connection = psycopg.connect(
        database_url,
        autocommit=True,
        connect_timeout=5,
        application_name="shopkeeper alarms",
        options=options,
    )
    with closing(connection):
        columns = ", ".join(Alarm._fields)
        query = f"SELECT {columns} FROM alarms ORDER BY alarm, since, id LIMIT {ROWS_MAX}"
        return [Alarm(*row) for row in connection.execute(query.encode())]


def _lines(found: list[Alarm]) -> Iterator[Text]:
    for alarm, rows in groupby(found, key=lambda each: each.alarm):
        of_kind = list(rows)
        yield Text(f"{alarm}: {len(of_kind):,}", "bold red")
        yield Text(f"  {WHAT_TO_DO[alarm]}", "dim")
        yield from map(_line, of_kind)
    if len(found) == ROWS_MAX:
        yield Text(f"and perhaps more: the first {ROWS_MAX:,} are shown")


def _line(alarm: Alarm) -> Text:
    where = f" at {alarm.provider}" if alarm.provider else ""
    amount = f"{to_decimal(alarm.amount_minor, alarm.currency_code)} {alarm.currency_code}"
    since = alarm.since.astimezone(UTC).isoformat(" ", "seconds").replace("+00:00", "Z")
    return Text(visible(f"  {alarm.id}: {amount}{where}, order {alarm.order_id}, since {since}"))
