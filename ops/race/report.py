"""What people read at the end of a race; its last line is for scripts."""

from collections.abc import Iterator
from dataclasses import dataclass

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ops.explanations import available_text, stock_accounts, stock_table
from ops.failures import visible
from ops.race.clearing import Cleared
from ops.race.ledger import Ledger
from ops.race.stake import Stake
from ops.race.verdict import Verdict

MOVEMENTS_SHOWN = 12
"""Of each location; those before become one row."""
WINNERS_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Entry:
    """Who races for what. sku_id: of the shop; None has one made, with `units` of it.

    is_kept: won orders and lost carts stay as they are.
    """

    sku_id: str | None
    buyer_count: int
    units: int
    currency_code: str | None
    connection_count: int
    is_kept: bool


@dataclass(frozen=True, slots=True)
class Outcome:
    """All that the report tells. ledger: at the end of the race. final: after the clearing, if any."""

    entry: Entry
    stake: Stake
    verdict: Verdict
    ledger: Ledger
    connection_count: int
    cleared: Cleared | None
    final: Ledger

    @property
    def is_good(self) -> bool:
        """Whether everything adds up, and nothing is left behind."""
        return self.verdict.is_good and not self.left_behind

    @property
    def left_behind(self) -> list[str]:
        """What the clearing ought to have put right and did not, a sentence each."""
        if self.cleared is None:
            return []
        units, now = self.verdict.units, self.final.stock.available
        is_alone = not self.verdict.account.others and not self.stake.is_ours
        lost = [f"{now:,} units available, {units:,} before"] if is_alone and now != units else []
        return [*self.cleared.failed, *self.final.differences, *lost]


def print_report(console: Console, outcome: Outcome) -> None:
    """Prints the report; its last line is for machines."""
    verdict = outcome.verdict
    console.print()
    console.print(Text(_title(outcome), "bold"), soft_wrap=True)
    console.print(_figures(outcome))
    accounts = stock_accounts(outcome.ledger.pages, shown_count_max=MOVEMENTS_SHOWN)
    for account in accounts.values():
        console.print(stock_table(account))
    for level in outcome.ledger.stock.levels:
        console.print(f"  {available_text(level)}", highlight=False, soft_wrap=True)
    console.print()
    for sentence in _afterwards(outcome):
        console.print(Text(sentence), soft_wrap=True)
    for sentence in verdict.wrong:
        console.print(Text(visible(f"wrong: {sentence}"), "bold red"), soft_wrap=True)
    # Never wrapped, however narrow the terminal is.
    console.print(Text(visible(verdict.line)), soft_wrap=True)


def _title(outcome: Outcome) -> str:
    units = outcome.verdict.units
    last = "the last unit" if units == 1 else f"the last {units:,} units"
    return visible(f"{outcome.entry.buyer_count:,} buyers race for {last} of {outcome.stake.sku_id}")


def _figures(outcome: Outcome) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_header=False, pad_edge=False)
    for name, value in _figure_rows(outcome):
        table.add_row(Text(name, "bold"), Text(visible(value)))
    return table


def _figure_rows(outcome: Outcome) -> Iterator[tuple[str, str]]:
    finishes = outcome.verdict.finishes
    spread = f"over {outcome.connection_count} connections"
    at_once = f"{finishes.at_once_count:,} of them before the first answer came"
    sent_ms = finishes.sent_seconds * 1000
    yield "orders", f"{len(finishes.each):,} sent within {sent_ms:.1f} ms {spread}; {at_once}"
    yield "answers", f"the last after {finishes.answered_seconds * 1000:.1f} ms"
    for winner in finishes.winners[:WINNERS_SHOWN]:
        assert winner.order is not None, "a winner has an order"
        named = f"order {winner.order.order_number}, {winner.order.order_id}"
        took_ms = winner.answered_seconds * 1000
        yield "won", f"buyer {winner.buyer} after {took_ms:.1f} ms: {named}"
    if len(finishes.winners) > WINNERS_SHOWN:
        yield "won", f"and {len(finishes.winners) - WINNERS_SHOWN:,} more"
    for reason, count in finishes.reasons.most_common():
        yield "lost", f"{count:,} buyers: {reason}"
    if outcome.verdict.account.others:
        yield "others", f"{len(outcome.verdict.account.others):,} movements of other customers meanwhile"


def _afterwards(outcome: Outcome) -> Iterator[str]:
    if outcome.cleared is None:
        yield "kept: the won orders hold their units until they are paid, called off or expire"
        return
    yield from (f"afterwards: {sentence}" for sentence in outcome.cleared.done)
    units, now = outcome.verdict.units, outcome.final.stock.available
    # Or else the race's own SKU looks as if its unit had been lost.
    why = " that the SKU is out of use and its stock with it" if outcome.cleared.is_put_away else ""
    yield f"available: {units:,} before, {now:,} now{why}"
    yield from (f"left behind: {sentence}" for sentence in outcome.left_behind)
