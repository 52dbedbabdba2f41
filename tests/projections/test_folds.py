"""What each event makes of a view: pure."""

from collections.abc import Callable

import pytest

from projections.cart import (
    cart_after_change,
    cart_after_closing,
    cart_after_creation,
    skus_beside,
)
from projections.catalog import product_after_sku, product_after_upsert, product_without_sku
from projections.contexts import PROJECTIONS
from projections.inventory import stock_after_movement, stock_after_repair
from projections.ordering import (
    order_after_progress,
    summary_after_placing,
    summary_after_progress,
    summary_of,
)
from projections.retelling import ViewMissing, retell, steps_of
from read_models.views import cart_skus_address
from shopkeeper.cart.v1.cart_pb2 import CART_STATE_ORDERED, Cart
from shopkeeper.catalog.v1.catalog_query_service_pb2 import ProductView
from shopkeeper.inventory.v1.inventory_events_pb2 import StockRepaired
from shopkeeper.inventory.v1.inventory_pb2 import Stock, StockLevel
from shopkeeper.ordering.v1.ordering_pb2 import (
    ORDER_STATE_PAID,
    ORDER_STATE_PARTIALLY_FULFILLED,
    OrderSummary,
)
from tests.projections.shop_events import (
    at,
    cart_changed,
    cart_closed,
    cart_created,
    cart_line,
    mugs_shipped,
    order,
    order_paid,
    order_placed,
    pounds,
    product_upserted,
    sku,
    sku_upserted,
)
from tests.read_side import stock_moved, stored


def new_cart() -> Cart:
    return cart_after_creation(None, cart_created("c"))


def test_levels_stand_in_the_order_of_their_locations_and_replace_each_other() -> None:
    stock = stock_after_movement(None, stock_moved("MUG", 3, "west"))
    stock = stock_after_movement(stock, stock_moved("MUG", 4, "east"))
    stock = stock_after_movement(stock, stock_moved("MUG", 5, "west"))
    assert [(level.location_id, level.available) for level in stock.levels] == [
        ("east", 4),
        ("west", 5),
    ]
    assert stock.available == 9


def test_a_location_that_is_promised_short_takes_nothing_from_the_others() -> None:
    stock = stock_after_movement(None, stock_moved("MUG", -2, "west"))
    stock = stock_after_movement(stock, stock_moved("MUG", 4, "east"))
    assert stock.available == 4


def test_more_than_anyone_can_order_is_shown_as_the_most_that_can_be_told() -> None:
    stock = None
    for location_id in ("east", "north", "west"):
        stock = stock_after_movement(stock, stock_moved("MUG", 1_000_000_000, location_id))
    assert stock is not None
    assert stock.available == 2_000_000_000


def test_a_repair_replaces_the_stock() -> None:
    repaired = Stock(sku_id="MUG", available=1, levels=[StockLevel(location_id="x", available=1)])
    before = stock_after_movement(None, stock_moved("MUG", 9))
    assert stock_after_repair(before, StockRepaired(stock=repaired)) == repaired


def test_a_product_keeps_its_skus_when_it_is_replaced_and_sorts_them_by_id() -> None:
    view = product_after_upsert(None, product_upserted("p"))
    for sku_id in ("B", "A", "B"):
        view = product_after_sku(view, sku_upserted(sku_id, "p", f"Mug {sku_id}"))
    view = product_after_upsert(view, product_upserted("p", "Cup"))
    assert view == ProductView(
        product=product_upserted("p", "Cup").product,
        skus=[sku("A", "p", "Mug A"), sku("B", "p", "Mug B")],
    )


def test_a_sku_that_is_replaced_leaves_the_others_of_its_product_as_they_were() -> None:
    view = product_after_upsert(None, product_upserted("p"))
    for sku_id in ("S-2", "S-10", "S-1", "S-3"):
        view = product_after_sku(view, sku_upserted(sku_id, "p"))
    view = product_after_sku(view, sku_upserted("S-2", "p", "Mug, red"))
    assert list(view.skus) == [
        sku("S-1", "p"),
        sku("S-10", "p"),
        sku("S-2", "p", "Mug, red"),
        sku("S-3", "p"),
    ]


def test_a_sku_that_its_former_product_never_had_leaves_it_as_it_was() -> None:
    view = product_after_sku(None, sku_upserted("S-2", "p"))
    left = product_without_sku(view, sku_upserted("S-1", "q", moved_from="p"))
    assert list(left.skus) == [sku("S-2", "p")]


def test_a_sku_that_moved_away_is_no_longer_among_those_of_its_product() -> None:
    view = product_after_upsert(None, product_upserted("p"))
    for sku_id in ("A", "B"):
        view = product_after_sku(view, sku_upserted(sku_id, "p"))
    view = product_without_sku(view, sku_upserted("A", "q", moved_from="p"))
    assert view == ProductView(product=product_upserted("p").product, skus=[sku("B", "p")])


def test_a_change_keeps_the_lines_it_does_not_tell_in_their_order() -> None:
    cart = cart_after_change(
        new_cart(), cart_changed("c", cart_line("a", 1), cart_line("b", 1), cart_line("c", 1))
    )
    cart = cart_after_change(
        cart, cart_changed("c", cart_line("d", 1), cart_line("b", 5), removed=("a",), etag="3")
    )
    assert [(line.line_id, line.quantity) for line in cart.lines] == [("b", 5), ("c", 1), ("d", 1)]
    assert (cart.etag, cart.customer_id, list(cart.coupon_codes)) == ("3", "ada", ["SPRING"])
    assert (cart.total, cart.update_time, cart.priced_time) == (pounds(100), at(1), at(1))
    assert (cart.create_time, cart.expire_time) == (at(0), at(61))


def test_an_end_of_prices_that_is_no_more_is_taken_away() -> None:
    cart = cart_after_change(new_cart(), cart_changed("c", valid_minutes=5))
    assert cart.prices_valid_until == at(5)
    assert not cart_after_change(cart, cart_changed("c")).HasField("prices_valid_until")


def test_a_closed_cart_keeps_its_lines() -> None:
    cart = cart_after_change(new_cart(), cart_changed("c", cart_line("a", 2)))
    cart = cart_after_closing(cart, cart_closed("c"))
    assert (cart.state, cart.etag, cart.update_time) == (CART_STATE_ORDERED, "9", at(9))
    assert [line.line_id for line in cart.lines] == ["a"]


def test_each_sku_of_a_cart_stands_beside_it_once() -> None:
    lines = (cart_line("a", 1, "MUG"), cart_line("b", 1, "CUP"), cart_line("c", 1, "MUG"))
    cart = cart_after_change(new_cart(), cart_changed("c", *lines))
    assert skus_beside(cart) == {cart_skus_address("c"): b"MUG\0CUP"}


def test_an_order_moves_on_with_its_lines() -> None:
    placed = order("o")
    paid = order_after_progress(order("o"), order_paid(placed))
    assert (paid.state, paid.paid_minor, paid.etag) == (ORDER_STATE_PAID, 400, "2")
    shipped = order_after_progress(paid, mugs_shipped(placed))
    assert shipped.state == ORDER_STATE_PARTIALLY_FULFILLED
    assert [(line.line_id, line.fulfilled_quantity) for line in shipped.lines] == [
        ("mug", 2),
        ("cup", 0),
    ]
    assert shipped.update_time == at(30)


def test_a_summary_follows_its_order() -> None:
    placed = order("o")
    summary = summary_after_placing(None, order_placed("o"))
    assert summary == OrderSummary(
        order_id="o",
        order_number="1000-0",
        customer_id="ada",
        state=placed.state,
        total=pounds(400),
        unit_count=4,
        placed_time=at(0),
    )
    paid = order_after_progress(order("o"), order_paid(placed))
    assert summary_after_progress(summary, order_paid(placed)) == summary_of(paid)


def test_a_batch_makes_the_same_of_every_generation() -> None:
    added, removed = cart_changed("c", cart_line("a", 1)), cart_changed("c", removed=("a",))
    events = [cart_created("c"), added, removed, added, cart_changed("c", cart_line("b", 1))]
    [(address, steps)] = steps_of(stored(events), PROJECTIONS).items()
    assert retell(address, None, steps) == retell(address, None, steps)


@pytest.mark.parametrize(
    "tell",
    [
        lambda: product_without_sku(None, sku_upserted("A", "q", moved_from="p")),
        lambda: cart_after_change(None, cart_changed("c")),
        lambda: cart_after_closing(None, cart_closed("c")),
        lambda: order_after_progress(None, order_paid(order("o"))),
        lambda: summary_after_progress(None, order_paid(order("o"))),
    ],
)
def test_an_event_about_what_was_never_told_stops_the_projector(tell: Callable[[], object]) -> None:
    with pytest.raises(ViewMissing):
        tell()
