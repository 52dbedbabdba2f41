"""Each invariant is able to see: one broken row, and its view returns exactly that one."""

from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

import pytest

from tests.history_service.stored_shop import FULFILLED, PAID, Line, StoredShop

pytestmark = pytest.mark.breaks_invariants


class Break(NamedTuple):
    """How one rule is broken, and the first columns of the rows that its view then returns.

    constraints: "table.constraint" that would forbid it; they are dropped first.
    """

    view: str
    sql: str
    rows: list[tuple[Any, ...]]
    constraints: tuple[str, ...] = ()


EVENT = """
INSERT INTO events
SELECT max(position) + 1, now(), 'ordering', 'shopkeeper.ordering.v1.{type}', '{key}', '', 'tester',
       (SELECT request_id FROM requests LIMIT 1)
FROM events
"""

CART_EVENT = EVENT.replace("ordering", "cart")

REFUND = """
INSERT INTO payments
SELECT * FROM jsonb_populate_record(NULL::payments, '{{
    "payment_id": "paid.1", "order_id": "paid", "ordinal": 1, "provider": "stripe", "flow": 1,
    "capture_mode": 1, "currency_code": "GBP", "amount_minor": 255, "wish": {{}}, "state": 6,
    "create_time": "now", "update_time": "now", "provider_reference": "pi-paid", "authorized_minor": 0,
    "captured_minor": 255, "refunded_minor": 0, "refund_pending_minor": 0, "failure_code": "",
    "key_generation": 2, "other_names": [], "is_recorded": false, "refunds_by_hand": []}}');
INSERT INTO refunds
SELECT * FROM jsonb_populate_record(NULL::refunds, '{{
    "refund_id": "paid.r1", "payment_id": "paid.1", "order_id": "paid", "ordinal": 1,
    "amount_minor": 255, "lines": [], "gifted_minor": 0, "create_time": "now", "update_time": "now",
    "state": {state}, "provider_reference": "re-paid", "failure_code": ""}}')
"""

BREAKS = (
    Break(
        "inv_stock_ledger",
        "UPDATE stock_levels SET on_hand = on_hand + 1 WHERE sku_id = 'A'",
        [("A", "main", "on_hand", 19, 18)],
    ),
    Break(
        "inv_stock_ledger", "DELETE FROM stock_levels WHERE sku_id = 'B'", [("B", "annex", "on_hand")]
    ),
    Break(
        "inv_stock_ledger",
        "DELETE FROM stock_movements WHERE sku_id = 'B'",
        [("B", "annex", "on_hand", 5, 0)],
    ),
    Break(
        "inv_stock_reserved",
        "UPDATE stock_levels SET reserved = 3 WHERE sku_id = 'A'",
        [("A", "main", 3, 2)],
    ),
    Break(
        "inv_stock_reserved",
        "UPDATE reservations SET state = 1 WHERE reservation_id = 'cancelled'",
        [("A", "main", 2, 3)],
    ),
    Break(
        "inv_stock_allocated",
        "UPDATE stock_levels SET allocated = 4 WHERE sku_id = 'A'",
        [("A", "main", 4, 3)],
    ),
    Break(
        "inv_stock_allocated",
        "UPDATE reservation_lines SET shipped_quantity = 0 WHERE reservation_id = 'partly-shipped'",
        [("A", "main", 3, 4)],
    ),
    Break(
        "inv_stock_oversold",
        "UPDATE stock_levels SET reserved = 99 WHERE sku_id = 'A'",
        [("A", "main", 18, 99, 3)],
        ("stock_levels.stock_never_oversold",),
    ),
    Break(
        "inv_stock_oversold",
        "UPDATE stock_levels SET on_hand = -1 WHERE sku_id = 'B'",
        [("B", "annex", -1)],
        ("stock_levels.stock_never_oversold", "stock_levels.ck_stock_levels_on_hand"),
    ),
    Break(
        "inv_stock_ever_oversold",
        "UPDATE stock_movements SET reserved = 6 WHERE sku_id = 'B'",
        [("B", "annex", 2, 5, 6)],
    ),
    Break(
        "inv_stock_shortage",
        "UPDATE stock_levels SET shortage = 1 WHERE sku_id = 'A'",
        [("A", "main", 1, 0)],
    ),
    Break(
        "inv_stock_movement_events", "DELETE FROM stock_movements WHERE position = 2", [(2, None, "B")]
    ),
    Break("inv_stock_movement_events", "DELETE FROM events WHERE position = 2", [(2, "B", None)]),
    Break(
        "inv_stock_movement_events",
        "UPDATE stock_movements SET sku_id = 'C' WHERE position = 2",
        [(2, "C", "B")],
    ),
    Break(
        "inv_reservations_overdue",
        "UPDATE reservations SET expire_time = now() - interval '6 seconds'",
        [("awaiting",)],
    ),
    Break(
        "inv_orders_overdue",
        "UPDATE orders SET expire_time = now() - interval '6 seconds'",
        [("awaiting",)],
    ),
    Break(
        "inv_order_reservations",
        "UPDATE reservations SET state = 2 WHERE reservation_id = 'awaiting'",
        [("awaiting", "AWAITING_PAYMENT", "COMMITTED")],
    ),
    Break(
        "inv_order_reservations",
        "DELETE FROM reservations WHERE reservation_id = 'paid'",
        [("paid", "PAID", None)],
    ),
    Break(
        "inv_order_reservations",
        "UPDATE reservations SET expire_time = expire_time + interval '1 second'"
        " WHERE reservation_id = 'awaiting'",
        [("awaiting", "AWAITING_PAYMENT", "HELD")],
    ),
    Break(
        "inv_order_reservations",
        "INSERT INTO reservations (reservation_id, version, is_of_order, state, expire_time)"
        " VALUES ('nobody', 1, true, 3, now())",
        [("nobody", None, "RELEASED")],
    ),
    Break(
        "inv_order_reservation_lines",
        "UPDATE reservation_lines SET quantity = 5 WHERE reservation_id = 'paid'",
        [("paid", "A", 1, 5, 0, 0)],
    ),
    Break(
        "inv_order_reservation_lines",
        "UPDATE order_lines SET cancelled_quantity = 1 WHERE order_id = 'partly-shipped'",
        [("partly-shipped", "A", 2, 3, 1, 1)],
    ),
    Break(
        "inv_order_reservation_lines",
        "UPDATE reservation_lines SET shipped_quantity = 0 WHERE reservation_id = 'shipped'",
        [("shipped", "A", 1, 1, 1, 0)],
    ),
    Break(
        "inv_order_reservation_lines",
        "DELETE FROM reservation_lines WHERE reservation_id = 'paid'",
        [("paid", "A", 1, None)],
    ),
    Break(
        "inv_order_totals",
        "UPDATE orders SET subtotal_minor = 256, total_minor = 256 WHERE order_id = 'paid'",
        [("paid", 256, 0, 256, 255, 0)],
        ("orders.ck_orders_paid",),
    ),
    Break("inv_order_totals", "DELETE FROM order_lines WHERE order_id = 'paid'", [("paid", 255)]),
    Break(
        "inv_order_line_discounts",
        "UPDATE order_lines SET discount_minor = -50 WHERE order_id = 'awaiting'",
        [("awaiting", "A", -50)],
    ),
    Break(
        "inv_order_line_quantities",
        "UPDATE order_lines SET fulfilled_quantity = 2 WHERE order_id = 'shipped'",
        [("shipped", "A", 1, 2, 1, 0)],
        ("order_lines.ck_order_lines_fulfilled",),
    ),
    Break(
        "inv_order_line_quantities",
        "UPDATE order_lines SET cancelled_quantity = 1 WHERE order_id = 'shipped'",
        [("shipped", "A", 1, 1, 1, 0, 1)],
        ("order_lines.ck_order_lines_fulfilled",),
    ),
    Break(
        "inv_order_line_quantities",
        "UPDATE order_lines SET returned_quantity = 2 WHERE order_id = 'shipped'",
        [("shipped", "A", 1, 1, 2, 0)],
        ("order_lines.ck_order_lines_returned",),
    ),
    Break(
        "inv_order_line_quantities",
        "UPDATE order_lines SET refunded_quantity = 2 WHERE order_id = 'shipped'",
        [("shipped", "A", 1, 1, 1, 2)],
        ("order_lines.ck_order_lines_refunded",),
    ),
    Break(
        "inv_order_money",
        "UPDATE orders SET paid_minor = 300 WHERE order_id = 'paid'",
        [("paid", 300, 255, 0, 0)],
    ),
    Break(
        "inv_order_money",
        "DELETE FROM money_records WHERE kind = 'refund'",
        [("shipped", 255, 255, 255, 0)],
    ),
    Break(
        "inv_order_money",
        "UPDATE orders SET refunded_minor = 300 WHERE order_id = 'shipped'",
        [("shipped", 255, 255, 300, 255)],
        ("orders.ck_orders_refunded",),
    ),
    Break(
        "inv_order_refunds",
        "UPDATE order_lines SET refunded_minor = 1 WHERE order_id = 'paid'",
        [("paid", 0, 0, 1)],
    ),
    Break(
        "inv_order_refunds",
        "UPDATE order_lines SET refunded_minor = 256 WHERE order_id = 'shipped'",
        [("shipped", 255, 0, 256)],
        ("order_lines.ck_order_lines_refunded_minor",),
    ),
    Break(
        "inv_order_refunds",
        "UPDATE orders SET gifted_minor = 256 WHERE order_id = 'shipped'",
        [("shipped", 255, 256, 0)],
        ("orders.ck_orders_gifted",),
    ),
    Break(
        "inv_order_refunds",
        "UPDATE order_lines SET refunded_minor = 255, refunded_quantity = 1 WHERE order_id = 'paid'",
        [("paid", 0, 0, 255)],
    ),
    Break(
        "inv_order_refunds",
        "UPDATE order_lines SET refunded_minor = 255 WHERE order_id = 'shipped'",
        [("shipped", 255, 0, 255)],
    ),
    Break(
        "inv_money_events",
        "DELETE FROM events WHERE type LIKE '%.RefundRecorded'",
        [("shipped", 1, 1, 1)],
    ),
    Break(
        "inv_money_balance",
        "UPDATE money_entries SET amount_minor = 254 WHERE order_id = 'paid' AND account = 'clearing'",
        [(8, "paid", -1)],
    ),
    Break(
        "inv_money_receivable",
        "UPDATE money_entries SET account = 'receivable' WHERE order_id = 'paid' AND amount_minor > 0",
        [("paid", 255, 0)],
    ),
    Break(
        "inv_money_receivable",
        "UPDATE order_lines SET cancelled_quantity = 1 WHERE order_id = 'partly-shipped'",
        [("partly-shipped", 0, -255)],
    ),
    Break(
        "inv_money_clearing",
        "DELETE FROM money_entries WHERE order_id = 'paid' AND account = 'clearing'",
        [("paid", 0, 255)],
    ),
    Break(
        "inv_money_clearing",
        REFUND.format(state=2),
        [("paid", 255, 510)],
    ),
    Break("inv_money_payable", REFUND.format(state=1), [("paid", 0, 255)]),
    Break(
        "inv_money_payable",
        "UPDATE money_entries SET account = 'payable' WHERE order_id = 'paid' AND account = 'revenue'",
        [("paid", 255, 0)],
    ),
    Break(
        "inv_payment_refunds",
        REFUND.format(state=3),
        [("paid.1", 0, 255, 0, 0)],
    ),
    Break(
        "inv_payment_refunds",
        REFUND.format(state=5) + "; UPDATE payments SET refunded_minor = 255",
        [("paid.1", 255, 255, 0, 255)],
    ),
    Break(
        "inv_refund_counted_twice",
        REFUND.format(state=3)
        + """;
        INSERT INTO money_records (kind, reference, order_id, amount_minor)
        VALUES ('refund', 're-paid', 'paid', 30)""",
        [("paid.r1", "paid", "re-paid", 255, 30)],
    ),
    Break(
        "inv_payment_on_two_orders",
        "INSERT INTO money_records (kind, reference, order_id, amount_minor, outcome)"
        " VALUES ('payment', 'pi-paid', 'awaiting', 255, 1)",
        [("pi-paid", "payment", 2, ["awaiting", "paid"])],
        ("money_records.pk_money_records",),
    ),
    Break(
        "inv_order_states",
        "UPDATE orders SET paid_minor = 254 WHERE order_id = 'paid'",
        [("paid", "PAID", 255, 254)],
        ("orders.ck_orders_paid",),
    ),
    Break(
        "inv_order_states",
        "UPDATE orders SET paid_minor = total_minor WHERE order_id = 'awaiting'",
        [("awaiting", "AWAITING_PAYMENT", 459, 459)],
    ),
    Break(
        "inv_order_states",
        "UPDATE orders SET state = 5 WHERE order_id = 'partly-shipped'",
        [("partly-shipped", "FULFILLED", 765, 765, 0, 3, 1)],
    ),
    Break(
        "inv_order_states",
        "UPDATE orders SET state = 6 WHERE order_id = 'partly-shipped'",
        [("partly-shipped", "CANCELLED")],
    ),
    Break(
        "inv_order_states",
        "UPDATE order_lines SET cancelled_quantity = 2 WHERE order_id = 'partly-shipped'",
        [("partly-shipped", "PARTIALLY_FULFILLED", 765, 765, 0, 3, 1, 2)],
    ),
    Break(
        "inv_order_states",
        "UPDATE order_lines SET cancelled_quantity = 1 WHERE order_id = 'paid'",
        [("paid", "PAID", 255, 255, 0, 1, 0, 1)],
    ),
    Break(
        "inv_order_states",
        "UPDATE orders SET state = 4 WHERE order_id = 'paid'",
        [("paid", "PARTIALLY_FULFILLED")],
    ),
    Break(
        "inv_order_history",
        EVENT.format(type="OrderLinesFulfilled", key="cancelled"),
        [("cancelled", 31, "OrderLinesFulfilled", "it had been called off")],
    ),
    Break(
        "inv_order_history",
        EVENT.format(type="OrderCancelled", key="shipped"),
        [("shipped", 31, "OrderCancelled", "units had been shipped")],
    ),
    Break(
        "inv_order_history",
        EVENT.format(type="OrderExpired", key="expired"),
        [("expired", 31, "OrderExpired", "it had expired before")],
    ),
    Break(
        "inv_order_history",
        EVENT.format(type="OrderCancelled", key="expired"),
        [("expired", 31, "OrderCancelled", "it had expired and not been paid since")],
    ),
    Break(
        "inv_order_history",
        EVENT.format(type="OrderLinesFulfilled", key="awaiting"),
        [("awaiting", 31, "OrderLinesFulfilled", "it had not been paid")],
    ),
    Break(
        "inv_order_history",
        EVENT.format(type="OrderLinesCancelled", key="awaiting"),
        [("awaiting", 31, "OrderLinesCancelled", "it had not been paid")],
    ),
    Break(
        "inv_order_history",
        EVENT.format(type="OrderLinesCancelled", key="cancelled"),
        [("cancelled", 31, "OrderLinesCancelled", "it had been called off")],
    ),
    Break(
        "inv_order_history",
        EVENT.format(type="OrderLinesCancelled", key="expired"),
        [("expired", 31, "OrderLinesCancelled", "it had expired and not been paid since")],
    ),
    Break(
        "inv_order_history",
        EVENT.format(type="RefundRecorded", key="awaiting"),
        [("awaiting", 31, "RefundRecorded", "nothing had been paid")],
    ),
    Break(
        "inv_order_history",
        EVENT.format(type="OrderLinesReturned", key="paid"),
        [("paid", 31, "OrderLinesReturned", "nothing had been shipped")],
    ),
    Break(
        "inv_order_history",
        EVENT.format(type="OrderPlaced", key="paid"),
        [("paid", 31, "OrderPlaced", "it is placed first, and once")],
    ),
    Break(
        "inv_order_history",
        EVENT.format(type="OrderPlaced", key="ghost"),
        [("ghost", 31, "OrderPlaced", "there is no such order")],
    ),
    Break(
        "inv_order_history",
        "DELETE FROM events WHERE key = 'cancelled' AND type LIKE '%.OrderPlaced'",
        [("cancelled", 26, "OrderCancelled", "it is placed first, and once")],
    ),
    Break(
        "inv_order_states_told",
        "UPDATE orders SET state = 6 WHERE order_id = 'paid'",
        [("paid", "CANCELLED", 1, 0, 0, 0)],
    ),
    Break(
        "inv_order_states_told",
        "DELETE FROM events WHERE key = 'expired' AND context = 'ordering'",
        [("expired", "EXPIRED", None)],
    ),
    Break(
        "inv_cart_totals",
        "UPDATE carts SET subtotal_minor = 511 WHERE cart_id = 'open'",
        [("open", 511, -10, 510, -10)],
    ),
    Break(
        "inv_cart_totals", "DELETE FROM cart_lines WHERE cart_id = 'open'", [("open", 510, -10, 0, 0)]
    ),
    Break(
        "inv_cart_line_discounts",
        "UPDATE cart_lines SET adjustments = '[]' WHERE cart_id = 'open'",
        [("open", "A", -10, [])],
    ),
    Break(
        "inv_cart_orders",
        "UPDATE carts SET state = 1 WHERE cart_id = 'cart-of-paid'",
        [("cart-of-paid", None, "paid")],
    ),
    Break("inv_cart_orders", "UPDATE carts SET state = 2 WHERE cart_id = 'open'", [("open", 2, None)]),
    Break("inv_coupon_uses", "UPDATE coupons SET used_count = 2", [("XMAS", 2, 1)]),
    Break(
        "inv_coupon_uses",
        "UPDATE orders SET coupon_codes = '{GONE}' WHERE order_id = 'paid'",
        [("GONE", 0, 1)],
    ),
    Break("inv_coupon_customer_uses", "DELETE FROM coupon_customers", [("XMAS", "ann", 0, 1)]),
    Break(
        "inv_coupon_customer_uses",
        "UPDATE orders SET customer_id = 'bob' WHERE order_id = 'awaiting'",
        [("XMAS", "ann", 1, 0), ("XMAS", "bob", 0, 1)],
    ),
    Break(
        "inv_coupon_limits",
        "UPDATE coupons SET held_under_limit = 0",
        [("XMAS", "", 1, 0)],
        ("coupons.ck_coupons_limit",),
    ),
    Break(
        "inv_coupon_limits",
        "UPDATE coupon_customers SET held_under_limit = 0",
        [("XMAS", "ann", 1, 0)],
        ("coupon_customers.ck_coupon_customers_limit",),
    ),
    Break("inv_price_tiers", "UPDATE prices SET min_quantity = 2", [("retail", "A", 2)]),
    Break("inv_log_gaps", "DELETE FROM events WHERE position = 7", [(8, 6)]),
    Break("inv_log_gaps", "DELETE FROM events WHERE position = 1", [(2, 0)]),
    Break(
        "inv_requests_ahead_of_log",
        "INSERT INTO requests VALUES"
        " ('00000000-0000-0000-0000-000000000001', '/m', '', 0, '', 999, now())",
        [("00000000-0000-0000-0000-000000000001", "/m", 999)],
    ),
    Break(
        "inv_requests_overdue",
        "INSERT INTO requests VALUES"
        " ('00000000-0000-0000-0000-000000000001', '/m', '', 0, '', 1, now() - interval '9 days')",
        [("00000000-0000-0000-0000-000000000001", "/m")],
    ),
    Break(
        "inv_carts_overdue",
        "UPDATE carts SET expire_time = now() - interval '61 seconds' WHERE cart_id = 'open'",
        [("open",)],
    ),
    Break(
        "inv_carts_kept_too_long",
        "UPDATE carts SET update_time = now() - interval '31 days 1 second'"
        " WHERE cart_id = 'cart-of-paid'",
        [("cart-of-paid",)],
    ),
    Break(
        "inv_carts_kept_too_long",
        "UPDATE carts SET is_forgotten = true WHERE cart_id = 'open'",
        [("open",)],
    ),
    Break(
        "inv_cart_history",
        CART_EVENT.format(type="CartChanged", key="ghost"),
        [("ghost", 31, "CartChanged", None)],
    ),
    Break(
        "inv_cart_history",
        ";".join(CART_EVENT.format(type=f"Cart{each}", key="c") for each in ("Created", "Created")),
        [("c", 32, "CartCreated", "CartCreated")],
    ),
    Break(
        "inv_cart_history",
        ";".join(
            CART_EVENT.format(type=f"Cart{each}", key="c") for each in ("Created", "Closed", "Changed")
        ),
        [("c", 33, "CartChanged", "CartClosed")],
    ),
    Break(
        "inv_cart_history",
        ";".join(CART_EVENT.format(type=f"Cart{each}", key="c") for each in ("Created", "Forgotten")),
        [("c", 32, "CartForgotten", "CartCreated")],
    ),
    Break(
        "inv_price_windows_overdue",
        "UPDATE price_lists SET shown_time = now() - interval '1 hour',"
        " end_time = now() - interval '6 seconds' WHERE price_list_id = 'retail'",
        [("price list", "retail")],
    ),
    Break(
        "inv_price_windows_overdue",
        "INSERT INTO promotions"
        " (promotion_id, version, title, active, shown_in_force, end_time, basis_points)"
        " VALUES ('gone', 1, 'Gone', true, true, now() - interval '6 seconds', 1)",
        [("promotion", "gone")],
    ),
    Break("inv_log_incarnation", "DELETE FROM log_incarnation", [("log_incarnation",)]),
)


def invariants(shop: StoredShop) -> list[str]:
    names = shop.rows(
        "SELECT viewname::text FROM pg_views WHERE starts_with(viewname::text, 'inv_') ORDER BY viewname"
    )
    return [name for (name,) in names]


def broken_rows(shop: StoredShop, view: str) -> list[tuple[Any, ...]]:
    return shop.rows(f"SELECT * FROM {view} ORDER BY 1, 2" if has_two(view) else f"SELECT * FROM {view}")


def has_two(view: str) -> bool:
    """Whether the view has a second column to sort by."""
    return view != "inv_log_incarnation"


def plain(value: object) -> object:
    """A value as it is written above: a sum is an int, an id is text."""
    if isinstance(value, Decimal):
        return int(value)
    return str(value) if isinstance(value, UUID) else value


def test_a_healthy_shop_breaks_no_rule(shop: StoredShop) -> None:
    assert {view: broken_rows(shop, view) for view in invariants(shop)} == {
        view: [] for view in invariants(shop)
    }


@pytest.mark.parametrize("broken", BREAKS, ids=lambda each: each.view)
def test_the_view_returns_the_row_that_breaks_its_rule(lawless: StoredShop, broken: Break) -> None:
    for constraint in broken.constraints:
        table, name = constraint.split(".")
        lawless.execute(f"ALTER TABLE {table} DROP CONSTRAINT {name}")
    lawless.execute(broken.sql.replace("%", "%%"))
    found = [tuple(map(plain, row)) for row in broken_rows(lawless, broken.view)]
    expected_columns = [len(row) for row in broken.rows]
    assert [row[:count] for row, count in zip(found, expected_columns, strict=True)] == broken.rows


def test_an_event_whose_command_has_no_answer_is_seen(lawless: StoredShop) -> None:
    [(request_id,)] = lawless.rows("SELECT request_id FROM events WHERE position = 3")
    lawless.execute("DELETE FROM requests WHERE request_id = %s", request_id)
    assert broken_rows(lawless, "inv_log_answers") == [(request_id, 3, 1)]


def test_a_request_that_had_its_effect_twice_is_seen(lawless: StoredShop) -> None:
    [(request_id,)] = lawless.rows("SELECT request_id FROM requests LIMIT 1")
    [(first,)] = lawless.rows("SELECT position FROM events WHERE request_id = %s", request_id)
    lawless.execute(EVENT.format(type="OrderHoldExtended", key="awaiting"))
    assert broken_rows(lawless, "inv_request_effects") == [(request_id, 2, first, 31)]


def test_a_cart_may_bear_the_id_of_one_that_was_forgotten(lawless: StoredShop) -> None:
    for happening in ("Created", "Changed", "Closed", "Forgotten", "Created", "Changed"):
        lawless.execute(CART_EVENT.format(type=f"Cart{happening}", key="again"))
    assert broken_rows(lawless, "inv_cart_history") == []


def test_every_broken_rule_is_told_by_one_query(lawless: StoredShop) -> None:
    assert lawless.rows("SELECT * FROM broken_invariants()") == []
    lawless.execute("UPDATE stock_levels SET on_hand = on_hand + 1")
    told = lawless.rows("SELECT invariant, broken_count FROM broken_invariants()")
    assert told == [("inv_stock_ledger", 2)]


def test_answers_that_were_forgotten_after_seven_days_are_not_missed(lawless: StoredShop) -> None:
    lawless.execute("UPDATE events SET recorded_time = now() - interval '7 days' WHERE position = 3")
    lawless.execute("""
        DELETE FROM requests
        WHERE request_id = (SELECT request_id FROM events WHERE position = 3)""")
    assert broken_rows(lawless, "inv_log_answers") == []


def test_a_late_payment_brings_an_expired_order_back_to_life(lawless: StoredShop) -> None:
    for happening in ("PaymentRecorded", "OrderLinesFulfilled", "OrderLinesReturned"):
        lawless.execute(EVENT.format(type=happening, key="expired"))
    assert broken_rows(lawless, "inv_order_history") == []


def test_units_may_be_called_off_one_by_one(lawless: StoredShop) -> None:
    lawless.cancel_units("partly-shipped", "A", 2, FULFILLED)
    lawless.place("of-two", [Line("A", 2)])
    lawless.pay("of-two", 510)
    lawless.cancel_units("of-two", "A", 1, PAID)
    assert {view: broken_rows(lawless, view) for view in invariants(lawless)} == {
        view: [] for view in invariants(lawless)
    }


def test_each_invariant_says_its_rule_and_is_seen_broken(shop: StoredShop) -> None:
    views = invariants(shop)
    comments = dict(
        shop.rows("""
            SELECT viewname::text, obj_description(viewname::text::regclass, 'pg_class')
            FROM pg_views WHERE starts_with(viewname::text, 'inv_')""")
    )
    assert [view for view in views if not (comments[view] or "").endswith((".", ")."))] == []
    assert set(views) - {each.view for each in BREAKS} == {
        "inv_log_answers",
        "inv_request_effects",
    }
