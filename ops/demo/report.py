"""What people read at the end: where the lines went, what was sold, how each odd case is decided."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from rich.console import Console
from rich.table import Table

from ops.demo.accounts import Accounts, Bucket
from ops.demo.audit import Audit
from ops.demo.errands import Plan
from ops.demo.legend import legend
from ops.demo.sales import CURRENCY_CODE
from ops.demo.shop import Traffic, quantile_ms

COMPLAINTS_SHOWN_MAX = 20

MEANINGS: Mapping[Bucket, str] = MappingProxyType(
    {
        Bucket.ORDERED: "sold, paid and, but for the last hours, shipped",
        Bucket.REFUSED: "could not be had; the rest of the cart was ordered",
        Bucket.RETURNED: "came back from an order that is known, and was refunded",
        Bucket.UNMATCHED_RETURN: "came back from an order before the first day",
        Bucket.ADJUSTMENT: "stock corrected by staff",
        Bucket.NOT_GOODS: "postage, fees, discounts",
    }
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """All that the report tells."""

    plan: Plan
    accounts: Accounts
    audit: Audit
    traffic: Traffic
    replay_seconds: float

    @property
    def orders_per_second(self) -> float:
        """Orders placed over the time of the replay; each was also filled, paid and shipped in it."""
        return self.accounts.order_count / self.replay_seconds

    @property
    def is_good(self) -> bool:
        """Whether nothing is lost, oversold, stale or different from what it must be."""
        return (
            self.accounts.accounted == self.plan.line_count
            and self.audit.oversold_units == 0
            and not self.accounts.mismatches
            and not self.accounts.stale_reads
        )


def print_report(console: Console, outcome: Outcome) -> None:
    """Prints the report; its last line is for machines."""
    for table in (_lines(outcome), legend(outcome.plan), _figures(outcome)):
        console.print()
        console.print(table)
    console.print()
    for complaint in _complaints(outcome):
        console.print(complaint, style="red", markup=False, highlight=False)
    # Never wrapped, however narrow the terminal is.
    console.print(last_line(outcome), soft_wrap=True, markup=False, highlight=False)


def last_line(outcome: Outcome) -> str:
    """The result in one line of name=value pairs; times are rounded up, rates down."""
    return (
        f"demo: lines={outcome.plan.line_count}"
        f" accounted={outcome.accounts.accounted}"
        f" oversold={outcome.audit.oversold_units}"
        f" mismatches={len(outcome.accounts.mismatches)}"
        f" stale_reads={len(outcome.accounts.stale_reads)}"
        f" query_p99_ms={math.ceil(quantile_ms(outcome.traffic.query_seconds, 0.99))}"
        f" orders_per_second={int(outcome.orders_per_second)}"
    )


def _lines(outcome: Outcome) -> Table:
    table = Table(title="Where the lines of the file went", title_justify="left")
    table.add_column("")
    table.add_column("lines", justify="right")
    table.add_column("which are they")
    counts = outcome.accounts.counts()
    for bucket, meaning in MEANINGS.items():
        table.add_row(bucket.value, f"{counts[bucket]:,}", meaning)
        if bucket is Bucket.REFUSED:
            for reason, count in sorted(outcome.accounts.refusals().items()):
                table.add_row(f"  {reason}", f"({count:,})", "", style="dim")
    table.add_section()
    table.add_row("all", f"{outcome.accounts.accounted:,}", f"of {outcome.plan.line_count:,}")
    return table


def _figures(outcome: Outcome) -> Table:
    table = Table(title="What the shop did", title_justify="left", show_header=False)
    for name, value in _figure_rows(outcome):
        table.add_row(name, value)
    return table


def _figure_rows(outcome: Outcome) -> Iterator[tuple[str, str]]:
    accounts, audit, traffic = outcome.accounts, outcome.audit, outcome.traffic
    states = ", ".join(
        f"{count:,} {state}" for state, count in sorted(audit.order_count_by_state.items())
    )
    yield "orders", f"{accounts.order_count:,} ({states})"
    yield "revenue by the service", _pounds(audit.revenue_minor)
    yield "accepted lines by the file", _pounds(accounts.revenue_minor)
    yield "refunded", _pounds(accounts.refunded_minor)
    yield "payments", f"{audit.fault_count:,} calls went wrong, {audit.webhook_count:,} webhooks came"
    yield "SKUs sold out", f"{audit.sold_out_count:,} of {len(outcome.plan.titles):,}"
    yield "replay", f"{outcome.replay_seconds:.1f} s, {outcome.orders_per_second:.1f} orders a second"
    yield "commands", _times(traffic.command_seconds)
    yield "queries", _times(traffic.query_seconds)
    yield (
        "sent twice",
        f"{traffic.sent_twice_count:,}, {len(traffic.different_replies):,} with another second answer",
    )
    retries = traffic.retries.count_by_code
    yield "sent again", ", ".join(f"{n:,} {code}" for code, n in retries.items()) or "none"


def _times(seconds: Sequence[float]) -> str:
    """How many, and how long they took as their caller sees it."""
    shares = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999}
    quantiles = (f"{name} {quantile_ms(seconds, share):.1f} ms" for name, share in shares.items())
    return f"{len(seconds):,} ({', '.join(quantiles)})"


def _pounds(amount_minor: int) -> str:
    return f"{CURRENCY_CODE} {amount_minor / 100:,.2f}"


def _complaints(outcome: Outcome) -> Iterator[str]:
    """What is wrong, each kind cut off after a while."""
    found = {"mismatch": outcome.accounts.mismatches, "stale read": outcome.accounts.stale_reads}
    for kind, sentences in found.items():
        yield from (f"{kind}: {each}" for each in sentences[:COMPLAINTS_SHOWN_MAX])
        if len(sentences) > COMPLAINTS_SHOWN_MAX:
            yield f"{kind}: and {len(sentences) - COMPLAINTS_SHOWN_MAX:,} more"
