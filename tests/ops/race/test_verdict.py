"""The judge of the race sees: each way in which a race can have been unfair is told."""

from ops.race.buyers import Finish, Finishes
from ops.race.ledger import Ledger
from ops.race.verdict import Verdict, judge
from shopkeeper.cart.v1.cart_pb2 import Cart
from shopkeeper.inventory.v1.inventory_history_service_pb2 import ExplainStockResponse, StockMovement
from shopkeeper.inventory.v1.inventory_pb2 import Stock, StockDeltas, StockLevel
from shopkeeper.ordering.v1.ordering_pb2 import Order


def ledger(*movements: tuple[str, StockDeltas], stock: Stock | None = None) -> Ledger:
    """The movements of one location, each with its cause, and the stock that they come to."""
    told = [
        StockMovement(position=position, location_id="main", cause=cause, deltas=deltas)
        for position, (cause, deltas) in enumerate(movements, start=1)
    ]
    on_hand = sum(movement.deltas.on_hand for movement in told)
    reserved = sum(movement.deltas.reserved for movement in told)
    available = on_hand - reserved
    level = StockLevel(location_id="main", on_hand=on_hand, reserved=reserved, available=available)
    summed = Stock(sku_id="MUG", available=max(0, available), levels=[level])
    return Ledger([ExplainStockResponse(stock=stock or summed, movements=told)])


def finishes(*orders: str, losers: int = 0, reason: str = "OUT_OF_STOCK") -> Finishes:
    won = [Finish(i, Cart(), 0.0, 0.1, Order(order_id=each), "") for i, each in enumerate(orders)]
    lost = [Finish(len(won) + i, Cart(), 0.0, 0.2, None, reason) for i in range(losers)]
    return Finishes([*won, *lost])


RECEIVED = ("delivery", StockDeltas(on_hand=2))
BEFORE = ledger(RECEIVED)


def reserved(cause: str, quantity: int = 1) -> tuple[str, StockDeltas]:
    return cause, StockDeltas(reserved=quantity)


def verdict(after: Ledger, ended: Finishes, *, is_alone: bool = False) -> Verdict:
    return judge(BEFORE, after, ended, is_alone=is_alone)


def test_as_many_winners_as_units_is_right() -> None:
    found = verdict(ledger(RECEIVED, reserved("a"), reserved("b")), finishes("a", "b", losers=5))
    assert (found.wrong, found.oversold_units) == ([], 0)
    assert found.line == "race: sku=MUG buyers=7 units=2 winners=2 losers=5 oversold=0"


def test_a_third_winner_of_two_units_is_oversold() -> None:
    after = ledger(RECEIVED, reserved("a"), reserved("b"), reserved("c"))
    found = verdict(after, finishes("a", "b", "c"))
    assert found.oversold_units == 1
    assert "1 units were promised that are not there" in found.wrong
    assert "2 should have won, and 3 did" in found.wrong


def test_a_moment_of_overselling_is_seen_though_it_has_passed() -> None:
    moment = [reserved("a"), reserved("x", 2), reserved("x", -2), reserved("b")]
    found = verdict(ledger(RECEIVED, *moment), finishes("a", "b"))
    assert found.oversold_units == 1


def test_a_winner_without_a_unit_is_told() -> None:
    found = verdict(ledger(RECEIVED, reserved("a")), finishes("a", "b"))
    assert found.wrong == ["order b was won, and holds 0 units"]


def test_a_winner_with_two_units_is_told() -> None:
    found = verdict(ledger(RECEIVED, reserved("a", 2)), finishes("a", losers=1))
    assert "order a was won, and holds 2 units" in found.wrong


def test_a_loser_while_units_were_left_is_told() -> None:
    found = verdict(ledger(RECEIVED, reserved("a")), finishes("a", losers=3))
    assert found.wrong == [
        "2 should have won, and 1 did",
        "buyers were told OUT_OF_STOCK while never fewer than 1 were left",
    ]


def test_a_loser_for_another_reason_is_told() -> None:
    after = ledger(RECEIVED, reserved("a"), reserved("b"))
    found = verdict(after, finishes("a", "b", losers=2, reason="PRICE_CHANGED"))
    assert found.wrong == ["2 buyers were refused for another reason: PRICE_CHANGED"]


def test_other_customers_may_buy_meanwhile() -> None:
    found = verdict(ledger(RECEIVED, reserved("a"), reserved("other")), finishes("a", losers=3))
    assert found.wrong == []
    assert [movement.cause for movement in found.account.others] == ["other"]


def test_of_a_sku_that_nobody_else_knows_nobody_else_moves_units() -> None:
    after = ledger(RECEIVED, reserved("a"), reserved("ghost"))
    found = verdict(after, finishes("a", losers=3), is_alone=True)
    assert found.wrong == ["ghost is none of the winners, and moved units"]


def test_a_stock_that_its_movements_do_not_come_to_is_told() -> None:
    level = StockLevel(location_id="main", on_hand=3, reserved=2, available=1)
    stock = Stock(sku_id="MUG", available=1, levels=[level])
    after = ledger(RECEIVED, reserved("a"), reserved("b"), stock=stock)
    found = verdict(after, finishes("a", "b", losers=1))
    assert found.wrong == [
        "main on_hand: the counter is 3, its movements sum to 2",
        "1 available, its movements come to 0",
    ]
