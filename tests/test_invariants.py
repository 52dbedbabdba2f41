"""After every test that used a shop's database its invariants are asked; each breach is a failure."""

import pytest

from tests.history_service.stored_shop import StoredShop
from tests.invariants import MARKER, SWEPT, broken_afterwards, broken_invariants, require_unbroken

BROKEN = "UPDATE stock_levels SET on_hand = 12"


def test_a_test_that_breaks_a_rule_fails_unless_it_says_so(
    database_url: str, request: pytest.FixtureRequest
) -> None:
    with StoredShop(database_url) as shop:
        shop.move("MUG", on_hand=10)
        require_unbroken(database_url, request.node)
        shop.execute(BROKEN)
    with pytest.raises(AssertionError, match=r"inv_stock_ledger.*'MUG', 'main', 'on_hand', 12, 10"):
        require_unbroken(database_url, request.node)
    request.node.add_marker(getattr(pytest.mark, MARKER)("inv_stock_ledger"))
    require_unbroken(database_url, request.node)


def test_a_test_that_breaks_another_rule_than_it_says_fails(
    database_url: str, request: pytest.FixtureRequest
) -> None:
    with StoredShop(database_url) as shop:
        shop.move("MUG", on_hand=10)
        request.node.add_marker(getattr(pytest.mark, MARKER)("inv_stock_reserved"))
        with pytest.raises(AssertionError):
            require_unbroken(database_url, request.node)
        shop.execute(BROKEN)
        with pytest.raises(AssertionError):
            require_unbroken(database_url, request.node)
    request.node.add_marker(getattr(pytest.mark, MARKER)(), append=False)


def test_where_no_command_was_carried_out_nothing_is_asked(database_url: str) -> None:
    with StoredShop(database_url) as shop:
        shop.move("MUG", on_hand=10)
        shop.execute("DELETE FROM requests")
    assert set(broken_invariants(database_url)) == {"inv_log_answers"}
    assert broken_afterwards(database_url) == {}


def test_what_a_service_would_have_swept_is_no_breach(database_url: str) -> None:
    with StoredShop(database_url) as shop:
        shop.move("MUG", on_hand=10)
        shop.cart("old", [])
        shop.execute("UPDATE carts SET expire_time = now() - interval '1 day'")
        views = {name for (name,) in shop.rows("SELECT viewname::text FROM pg_views")}
    assert set(broken_invariants(database_url)) == {"inv_carts_overdue"}
    assert broken_afterwards(database_url) == {}
    assert views >= SWEPT
