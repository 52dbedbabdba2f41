"""Copies of what the shop has made are as if it had made them."""

import psycopg
import pytest

from benchmarks.bulk import Event, append_events, copy_rows, events_of
from shopkeeper.cart.v1.cart_events_pb2 import CartCreated
from shopkeeper.cart.v1.cart_pb2 import Cart

CART = CartCreated(cart=Cart(cart_id="cart-0001", etag="1"))
TYPE = CartCreated.DESCRIPTOR.full_name


def created(cart_id: str) -> Event:
    event = Event("cart", TYPE, "cart-0001", CART.SerializeToString())
    return event.renamed({"cart-0001": cart_id})


def test_a_renamed_event_is_of_something_else() -> None:
    event = created("cart-0002")

    assert event.key == "cart-0002"
    assert CartCreated.FromString(event.payload).cart == Cart(cart_id="cart-0002", etag="1")


def test_a_name_of_another_length_would_break_the_payload() -> None:
    with pytest.raises(AssertionError, match="length"):
        created("cart-2")


def test_appended_events_follow_each_other_in_the_log(database_url: str) -> None:
    events = [created(f"cart-{number:04}") for number in range(5)]
    with psycopg.connect(database_url) as connection:
        assert append_events(connection, events[:2]) == 2
        assert append_events(connection, events[2:]) == 3
        positions = connection.execute("SELECT position FROM events ORDER BY position").fetchall()

        assert positions == [(number,) for number in range(1, 6)]
        assert events_of(connection, ["cart-0003"]) == [created("cart-0003")]


def test_rows_are_copied_with_all_columns_but_those_that_are_told(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "INSERT INTO locations VALUES ('old', 7, 'Main', 3, true), ('b', 1, '', 0, true)"
        )
        copied = {"location_id": "'new-' || number % 2 + number"}
        with pytest.raises(psycopg.ProgrammingError):
            copy_rows(connection, "locations", {"location_id": "old"}, copied, 2)
        copied = {"location_id": "'new-' || (number %% 7)"}
        copy_rows(connection, "locations", {"location_id": "old"}, copied, 2)
        rows = connection.execute(
            "SELECT * FROM locations WHERE location_id LIKE 'new%' ORDER BY 1"
        ).fetchall()

    assert rows == [("new-0", 7, "Main", 3, True), ("new-1", 7, "Main", 3, True)]
