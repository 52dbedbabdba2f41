"""ExplainCartTotal."""

import grpc

from shopkeeper.cart.v1.cart_history_service_pb2 import ExplainCartTotalRequest
from tests.history_service.conftest import History, refused
from tests.history_service.stored_shop import Line, StoredShop, adjustment


async def test_the_steps_of_a_cart_add_up_to_its_total(shop: StoredShop, history: History) -> None:
    shop.cart("c1", [Line("A", 3, 255, (adjustment(-77),)), Line("B", 1, 100)])
    answer = await history.carts.ExplainCartTotal(ExplainCartTotalRequest(cart_id="c1"))
    assert [(step.sku_id, step.explanation, step.amount_minor) for step in answer.steps] == [
        ("A", "3 x 2.55 GBP from list retail", 765),
        ("A", "Winter sale", -77),
        ("B", "1 x 1.00 GBP from list retail", 100),
    ]
    assert (answer.total.currency_code, answer.total.amount_minor) == ("GBP", 788)


async def test_an_empty_cart_costs_nothing(shop: StoredShop, history: History) -> None:
    shop.cart("c1", [])
    answer = await history.carts.ExplainCartTotal(ExplainCartTotalRequest(cart_id="c1"))
    assert (len(answer.steps), answer.total.amount_minor) == (0, 0)


async def test_a_cart_that_was_never_made_is_not_found(shop: StoredShop, history: History) -> None:
    # A key row: somebody looked for the cart in order to make it.
    shop.execute("INSERT INTO carts (cart_id) VALUES ('c1')")
    for cart_id in ("c1", "c2"):
        request = ExplainCartTotalRequest(cart_id=cart_id)
        failure = await refused(history.carts.ExplainCartTotal(request))
        assert (failure.code, failure.reason) == (grpc.StatusCode.NOT_FOUND, "CART_NOT_FOUND")
