import io
from collections import Counter
from dataclasses import replace

from rich.console import Console

from ops.demo.accounts import Accounts, Bucket
from ops.demo.audit import Audit
from ops.demo.errands import plan
from ops.demo.legend import cases
from ops.demo.report import Outcome, last_line, print_report
from ops.demo.sales import read_sales
from ops.demo.shop import Traffic

SALES = read_sales()
AUDIT = Audit(
    order_count_by_state=Counter({"FULFILLED": 423}),
    revenue_minor=123_456,
    oversold_units=0,
    sold_out_count=150,
    fault_count=61,
    webhook_count=2_000,
)


def good_outcome() -> Outcome:
    accounts = Accounts(order_count=423)
    for line in SALES:
        accounts.settle(line, Bucket.ORDERED)
    traffic = Traffic(query_seconds=[0.0041] * 100)
    return Outcome(plan(SALES), accounts, AUDIT, traffic, replay_seconds=20.0)


def printed(outcome: Outcome, *, columns: int) -> list[str]:
    file = io.StringIO()
    print_report(Console(file=file, width=columns), outcome)
    return file.getvalue().splitlines()


def test_the_last_line_is_exactly_as_promised() -> None:
    expected = (
        "demo: lines=10000 accounted=10000 oversold=0 mismatches=0 stale_reads=0"
        " query_p99_ms=5 orders_per_second=21"
    )
    assert last_line(good_outcome()) == expected
    # However narrow the terminal is.
    assert printed(good_outcome(), columns=40)[-1] == expected


def test_a_good_outcome_is_good() -> None:
    assert good_outcome().is_good


def test_a_line_that_is_lost_is_not_good() -> None:
    outcome = good_outcome()
    del outcome.accounts.settlements[1]
    assert not outcome.is_good
    assert "accounted=9999" in last_line(outcome)


def test_a_unit_that_is_oversold_is_not_good() -> None:
    outcome = replace(good_outcome(), audit=replace(AUDIT, oversold_units=1))
    assert not outcome.is_good
    assert "oversold=1" in last_line(outcome)


def test_a_mismatch_is_told_and_not_good() -> None:
    outcome = good_outcome()
    outcome.accounts.expect_equal("revenue in pence", 1, 2)
    assert not outcome.is_good
    assert "mismatches=1" in last_line(outcome)
    assert "mismatch: revenue in pence is 1, expected 2" in printed(outcome, columns=100)


def test_a_stale_read_is_told_and_not_good() -> None:
    outcome = good_outcome()
    outcome.accounts.expect_seen("cart 1", seen=False)
    assert not outcome.is_good
    assert "stale_reads=1" in last_line(outcome)
    assert "stale read: cart 1" in printed(outcome, columns=100)


def test_the_legend_counts_what_the_plan_holds() -> None:
    told = " ".join(decision for _, decision in cases(plan(SALES)))
    for claim in (
        "12 lists with 4,948 prices",
        "3 of 426 orders",
        "27 pairs",
        "10 lines",
        "88 lines have no such sale",
        "12 of them match a later sale only",
        "POST (18)",
        "varies from run to run, and with it what is refused, and the revenue",
    ):
        assert claim in told
