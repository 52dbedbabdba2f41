"""How each odd case of the file is decided, in words, with the counts of the plan. Pure."""

from collections import Counter
from collections.abc import Iterator

from rich.table import Table

from ops.demo.buyers import DAMAGED_ONE_IN, DECLINED_ONE_IN, PARCELS_TWO_ONE_IN
from ops.demo.errands import SHIPPING_ENDS, Plan
from ops.demo.opening_stock import SCARCE_ONE_IN, SCARCE_SHARE_PERCENT
from ops.demo.price_lists import LINES_PER_CART_MAX
from ops.demo.provider import DOUBLED_PERCENT, FAULT_PERCENT, LATE_PERCENT
from ops.demo.replay import IN_FLIGHT
from ops.demo.sales import NOT_GOODS_CODES, Line
from ops.demo.shop import TWICE_ONE_IN


def legend(plan: Plan) -> Table:
    """A row for each case: what it is, and what becomes of it."""
    table = Table(title="How each case is decided", title_justify="left", show_header=False)
    table.add_column(style="bold")
    table.add_column(max_width=90)
    for case, decision in cases(plan):
        table.add_row(case, decision)
    return table


def _case(name: str, *sentences: str) -> tuple[str, str]:
    return name, " ".join(sentences)


def cases(plan: Plan) -> Iterator[tuple[str, str]]:
    """(case, what is decided) of everything that is not plainly a sale."""
    yield from _cases_of_sales(plan)
    yield from _cases_of_stock(plan)
    yield from _cases_of_returns(plan)
    yield _case("not goods", _not_goods(plan))
    yield _case(
        "traffic",
        f"{IN_FLIGHT} invoices at a time, begun in the order of time. Every {TWICE_ONE_IN}th command is",
        "sent twice under one request id: both answers must be the same bytes. After each command of a",
        "buyer a query at least as fresh as its token must see what it did. query_p99_ms is over all",
        "queries as their caller sees them, waiting for that freshness included.",
    )


def _cases_of_sales(plan: Plan) -> Iterator[tuple[str, str]]:
    sales = [line for errand in plan.errands for basket in errand.baskets for line in basket.lines]
    guests = {line.invoice for line in sales if not line.customer}
    prices = sum(len(prices) for prices in plan.price_lists.prices_minor.values())
    split = [errand for errand in plan.errands if len(errand.baskets) > 1]
    yield _case(
        "several prices",
        "Each price that was ever asked stands in a price list made before the run:",
        f"{len(plan.price_lists.prices_minor)} lists with {prices:,} prices, so few that each cart",
        "names one. The service computes every amount.",
    )
    yield _case(
        "second order",
        f"Lines with a second price of a code on one invoice, and lines beyond {LINES_PER_CART_MAX},",
        f"become a second order: {len(split)} of {plan.order_count_max} orders.",
    )
    yield _case("no customer", f"A guest's cart: {len(guests)} invoices.")
    yield _case(
        "countries",
        f"The region of the shipping address: {len({line.country for line in sales})} of them. No price",
        "hangs on it.",
    )
    yield _case(
        "codes that differ by case",
        f"Different SKUs: {_differing_by_case(plan)} pairs, as in the file.",
    )
    yield _case(
        "no description",
        "A SKU is titled by the first description of its code on a line with a price,",
        f"else by its code: {sum(code == title for code, title in plan.titles.items())} SKUs.",
    )
    yield _case(
        "price zero",
        f"With a customer it is sold for nothing: {sum(not line.unit_price_minor for line in sales)}",
        "line. Without one nobody bought it: see stock corrected.",
    )


def _cases_of_stock(plan: Plan) -> Iterator[tuple[str, str]]:
    adjustments = [line for errand in plan.errands for line in errand.adjustments]
    written_off = sum(line.quantity < 0 for line in adjustments)
    yield _case(
        "stock corrected",
        f"A negative quantity without a C ({written_off} lines), or nothing paid and nobody named",
        f"({len(adjustments) - written_off} lines): staff count the shelf, compare-and-set.",
    )
    yield _case(
        "opening stock",
        "A quarter more than five days ask for; of one code in"
        f" {SCARCE_ONE_IN} only {SCARCE_SHARE_PERCENT} %",
        f"({len(plan.opening_stock.scarce)} codes), so that some run out. Codes that are corrected",
        "or come back are spared.",
    )
    yield _case(
        "out of stock",
        "An order is placed whole or not at all. The lines that are short are removed, whole, and it",
        "is placed again; they count as refused. Who is in time for the last units varies from run to",
        "run, and with it what is refused, and the revenue.",
    )
    yield _case(
        "payment",
        "Each order is paid at a sandbox of Stripe, strict about the wire format. Half are authorized",
        f"first and captured by the shop; one in {DECLINED_ONE_IN} is declined and tried again.",
        f"{FAULT_PERCENT} % of all calls to it fail, before or after their effect; of its webhooks",
        f"{DOUBLED_PERCENT} % come doubled, {LATE_PERCENT} % late, all in any order.",
    )
    yield _case(
        "shipping",
        f"In one parcel; every {PARCELS_TWO_ONE_IN}th invoice number in two. Orders after",
        f"{SHIPPING_ENDS.day} {SHIPPING_ENDS:%B, %H:%M} are paid and wait for Monday.",
    )


def _cases_of_returns(plan: Plan) -> Iterator[tuple[str, str]]:
    known = sum(len(errand.returns) for errand in plan.errands)
    unknown = sum(len(errand.unmatched_returns) for errand in plan.errands)
    yield _case(
        "cancellations",
        "A line of a C invoice belongs to the latest earlier sale of its code to its customer of which",
        f"enough units are out: {known} lines. They are refunded at the price paid; one in",
        f"{DAMAGED_ONE_IN} is damaged and not put back on the shelf.",
    )
    yield _case(
        "unmatched returns",
        f"{unknown} lines have no such sale: it is older than the file. {_matching_later(plan)} of them",
        "match a later sale only, from which nothing can have come back yet.",
    )


def _not_goods(plan: Plan) -> str:
    counts = Counter(line.code for errand in plan.errands for line in errand.not_goods)
    codes = "; ".join(f"{code} ({counts[code]}): {reason}" for code, reason in NOT_GOODS_CODES.items())
    return f"No shelf holds them, so no cart does: {codes}."


def _differing_by_case(plan: Plan) -> int:
    """Codes that another code equals but for the case of letters, counted once a pair."""
    return len(plan.titles) - len({code.casefold() for code in plan.titles})


def _matching_later(plan: Plan) -> int:
    def key(line: Line) -> tuple[str, str]:
        return line.customer, line.code

    bought = {key(line) for errand in plan.errands for basket in errand.baskets for line in basket.lines}
    return sum(key(line) in bought for errand in plan.errands for line in errand.unmatched_returns)
