"""Tables whose last row is the sum of those above it."""

import io

import pytest
from rich.console import Console
from rich.table import Table

from ops.explanations import (
    available_text,
    ledger_differences,
    stock_accounts,
    stock_table,
    total_table,
)
from shopkeeper.cart.v1.cart_history_service_pb2 import TotalStep
from shopkeeper.inventory.v1.inventory_history_service_pb2 import ExplainStockResponse, StockMovement
from shopkeeper.inventory.v1.inventory_pb2 import MovementKind, StockDeltas, StockLevel
from shopkeeper.types.v1.money_pb2 import Money


def movement(
    position: int, kind: MovementKind.ValueType, *, at: str = "main", **deltas: int
) -> StockMovement:
    return StockMovement(position=position, location_id=at, kind=kind, deltas=StockDeltas(**deltas))


RECEIVED = movement(1, MovementKind.MOVEMENT_KIND_RECEIVED, on_hand=10)
RESERVED = movement(2, MovementKind.MOVEMENT_KIND_RESERVED, reserved=3)
SHIPPED = movement(4, MovementKind.MOVEMENT_KIND_SHIPPED, on_hand=-1, allocated=-1)
ELSEWHERE = movement(5, MovementKind.MOVEMENT_KIND_RECEIVED, at="shop", on_hand=4)
PAGES = [
    ExplainStockResponse(movements=[RECEIVED, RESERVED], next_page_token="2"),
    ExplainStockResponse(movements=[SHIPPED, ELSEWHERE]),
]


def text_of(table: Table) -> list[list[str]]:
    out = io.StringIO()
    Console(file=out, width=200).print(table)
    lines = [line.split() for line in out.getvalue().splitlines()]
    return [words for words in lines if words and not words[0].startswith("─")]


def test_an_account_sums_the_movements_of_all_pages_by_location() -> None:
    accounts = stock_accounts(PAGES, shown_count_max=50)
    assert {at: account.sums for at, account in accounts.items()} == {
        "main": (9, 3, -1, 0, 0, 0),
        "shop": (4, 0, 0, 0, 0, 0),
    }


def test_movements_that_are_not_listed_are_one_row_and_still_in_the_sum() -> None:
    account = stock_accounts(PAGES, shown_count_max=1)["main"]
    rows = text_of(stock_table(account))
    assert rows[2][:5] == ["2", "earlier", "+10", "+3", "+0"]
    assert rows[3][0] == "4"
    assert rows[-1] == ["sum", "9", "3", "-1"]


def test_nothing_listed_still_sums() -> None:
    account = stock_accounts(PAGES, shown_count_max=0)["main"]
    assert account.sums == (9, 3, -1, 0, 0, 0)
    assert text_of(stock_table(account))[-1] == ["sum", "9", "3", "-1"]


def test_counters_that_most_shops_never_use_are_shown_where_they_are_used() -> None:
    unused = stock_accounts(PAGES, shown_count_max=50)["shop"]
    assert "shortage" not in text_of(stock_table(unused))[1]
    short = movement(6, MovementKind.MOVEMENT_KIND_ADJUSTED, on_hand=-2, shortage=2)
    used = stock_accounts([ExplainStockResponse(movements=[short])], shown_count_max=50)["main"]
    assert "shortage" in text_of(stock_table(used))[1]


def test_a_counter_that_is_not_the_sum_of_its_rows_is_told() -> None:
    accounts = stock_accounts(PAGES, shown_count_max=50)
    right = StockLevel(location_id="shop", on_hand=4)
    wrong = StockLevel(location_id="main", on_hand=8, reserved=3, allocated=-1)
    assert ledger_differences([right, wrong], accounts) == [
        "main on_hand: the counter is 8, its movements sum to 9"
    ]


def test_available_is_told_as_the_sum_that_it_is() -> None:
    level = StockLevel(
        on_hand=10, reserved=3, allocated=2, safety_stock=1, backorder_limit=5, available=9
    )
    assert available_text(level) == (
        "available 9 = on_hand 10 - reserved 3 - allocated 2 - safety_stock 1 + backorder_limit 5"
    )


def test_the_steps_of_a_total_end_in_their_sum() -> None:
    steps = [
        TotalStep(line_id="1", sku_id="MUG", explanation="3 x 2.55", amount_minor=765),
        TotalStep(line_id="1", sku_id="MUG", explanation="a tenth off", amount_minor=-77),
    ]
    rows = text_of(total_table(steps, Money(currency_code="GBP", amount_minor=688)))
    assert rows[-1] == ["sum", "6.88", "GBP"]
    assert rows[-2][-2:] == ["-0.77", "GBP"]


@pytest.mark.parametrize("cause", ["[/nothing]", "[bold]x[/]"])
def test_a_cause_is_shown_as_it_is_and_is_no_markup(cause: str) -> None:
    moved = StockMovement(position=1, location_id="main", cause=cause)
    [account] = stock_accounts([ExplainStockResponse(movements=[moved])], shown_count_max=5).values()
    assert any(cause in row for row in text_of(stock_table(account)))


def test_a_cause_does_not_command_the_terminal() -> None:
    moved = StockMovement(position=1, location_id="main", cause="\x1b[2J")
    [account] = stock_accounts([ExplainStockResponse(movements=[moved])], shown_count_max=5).values()
    assert any(r"\x1b[2J" in row for row in text_of(stock_table(account)))
