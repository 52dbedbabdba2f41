from ops.demo.buyers import short_line_ids
from shopkeeper.cart.v1.cart_pb2 import CartLine
from shopkeeper.inventory.v1.inventory_pb2 import Stock


def cart_line(line_id: str, sku_id: str, quantity: int) -> CartLine:
    return CartLine(line_id=line_id, sku_id=sku_id, quantity=quantity)


def test_lines_beyond_the_stock_are_short() -> None:
    lines = [cart_line("1", "A", 3), cart_line("2", "B", 5)]
    stocks = {"A": Stock(sku_id="A", available=3), "B": Stock(sku_id="B", available=4)}
    assert short_line_ids(lines, stocks) == ["2"]


def test_several_lines_of_one_sku_share_its_stock() -> None:
    lines = [cart_line("1", "A", 3), cart_line("2", "A", 2), cart_line("3", "A", 1)]
    assert short_line_ids(lines, {"A": Stock(sku_id="A", available=4)}) == ["2"]


def test_a_sku_that_never_had_stock_is_short() -> None:
    assert short_line_ids([cart_line("1", "A", 1)], {}) == ["1"]
