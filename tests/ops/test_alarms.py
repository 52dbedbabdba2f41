"""The alarms: each view shows its matter and nothing else, and `alarms` says what to do."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from ops.commands.alarms import WHAT_TO_DO, Alarm
from tests.history_service.stored_books import (
    AUTHORIZED,
    HOUR,
    REFUND_FAILED,
    REFUND_PENDING,
    REFUND_REQUESTED,
    REFUND_SUCCEEDED,
    STARTING,
    StoredBooks,
)
from tests.history_service.stored_shop import FULFILLED, Line
from tests.ops.command_line import DONE, REFUSED, run

# An alarm is for what commands do not leave behind: here it is written row by row.
pytestmark = pytest.mark.breaks_invariants


class Books(StoredBooks):
    """With orders that have rested, and what the alarms say of them."""

    def call_due(self, table: str, *, deadline: datetime | None = None, ago: timedelta = HOUR) -> None:
        """Every row of the table waits for a call since some time."""
        self.execute(
            f"UPDATE {table} SET errand_task = 1, errand_due_time = now(), resolve_deadline = %s,"
            " update_time = %s",
            *(deadline, self.now - ago),
        )

    def rested(self, **ago: float) -> None:
        """Nothing has happened to orders for so long."""
        self.execute("UPDATE orders SET update_time = %s", self.now - timedelta(**ago))

    def alarms(self) -> list[tuple[Any, ...]]:
        """(alarm, id, order, provider, amount, currency), by alarm and id."""
        rows = self.rows(f"SELECT {', '.join(Alarm._fields)} FROM alarms ORDER BY alarm, id")
        assert all(isinstance(row[-1], datetime) and not isinstance(row[4], Decimal) for row in rows)
        return [row[:-1] for row in rows]


@pytest.fixture
def shop(database_url: str) -> Iterator[Books]:
    """An order of 2.55 in each state; those that were paid have their money at Stripe."""
    with Books(database_url) as books:
        books.move("A", on_hand=20)
        for order_id in ("awaiting", "paid", "cancelled", "expired"):
            books.place(order_id, [Line("A", 1)])
        books.pay("paid", 255, reference=books.tender("paid", provider_reference="paid.1"))
        books.cancel("cancelled")
        books.expire("expired")
        books.rested(hours=1)
        yield books


def pay_late(shop: Books, order_id: str) -> str:
    """Money that was captured and counted for an order that is closed."""
    payment_id = shop.tender(order_id)
    shop.insert(
        "money_records",
        kind="payment",
        reference=f"pi-{payment_id}",
        order_id=order_id,
        amount_minor=255,
        outcome=3,
    )
    shop.execute("UPDATE orders SET paid_minor = paid_minor + 255 WHERE order_id = %s", order_id)
    return payment_id


def test_a_healthy_shop_has_no_alarms(shop: Books) -> None:
    shop.tender("awaiting", state=AUTHORIZED, captured_minor=0, authorized_minor=255)
    assert shop.alarms() == []


# --- money without an order -------------------------------------------------------------------


@pytest.mark.parametrize("order_id", ["cancelled", "expired"])
def test_money_of_a_closed_order_that_does_not_go_back_is_seen(shop: Books, order_id: str) -> None:
    pay_late(shop, order_id)
    payment_id = f"{order_id}.1"
    assert shop.alarms() == [("money_without_order", payment_id, order_id, "stripe", 255, "GBP")]
    shop.execute("UPDATE orders SET update_time = now() - interval '4 minutes'")
    assert shop.alarms() == []


def test_goods_that_come_back_after_a_surplus_went_back_are_for_staff(shop: Books) -> None:
    twice = shop.tender("paid", ordinal=2)
    shop.execute("UPDATE orders SET paid_minor = 510 WHERE order_id = 'paid'")
    shop.fulfill("paid", "A", 1, FULFILLED)
    shop.take_back("paid", "A", 1)
    shop.rested(hours=1)
    assert ("money_without_order", twice, "paid", "stripe", 255, "GBP") in shop.alarms()
    shop.execute("UPDATE orders SET refunded_minor = 255 WHERE order_id = 'paid'")
    shop.execute("UPDATE payments SET refunded_minor = 255 WHERE payment_id = %s", twice)
    assert "money_without_order" not in {alarm for alarm, *_ in shop.alarms()}


def test_money_that_is_on_its_way_back_is_no_alarm(shop: Books) -> None:
    shop.give_back(pay_late(shop, "expired"), state=REFUND_REQUESTED)
    shop.execute("UPDATE payments SET refunded_minor = 255 WHERE order_id = 'expired'")
    shop.execute("UPDATE orders SET refunded_minor = 255 WHERE order_id = 'expired'")
    assert shop.alarms() == []


def test_a_second_payment_of_a_paid_order_is_seen_with_the_surplus_alone(shop: Books) -> None:
    shop.tender("paid", ordinal=2, captured_minor=300, amount_minor=300)
    shop.insert(
        "money_records",
        kind="payment",
        reference="pi-paid.2",
        order_id="paid",
        amount_minor=300,
        outcome=3,
    )
    shop.execute("UPDATE orders SET paid_minor = 555 WHERE order_id = 'paid'")
    assert shop.alarms() == [("money_without_order", "paid.2", "paid", "stripe", 300, "GBP")]
    shop.execute("UPDATE orders SET paid_minor = 605 WHERE order_id = 'paid'")
    assert [row[1:2] + row[4:5] for row in shop.alarms()] == [("paid.1", 50), ("paid.2", 300)]


def test_what_no_provider_has_may_wait_for_a_day(shop: Books) -> None:
    shop.execute("UPDATE orders SET paid_minor = 255 WHERE order_id = 'cancelled'")
    assert shop.alarms() == []
    shop.rested(hours=25)
    assert shop.alarms() == [("money_without_order", "cancelled", "cancelled", "", 255, "GBP")]


# --- money that is not counted, and counted money that is not ---------------------------------


def test_money_that_was_recorded_for_another_order_is_seen_until_it_is_counted(shop: Books) -> None:
    shop.tender("awaiting", provider_reference="pi-x")
    shop.place("other", [Line("A", 1)])
    shop.pay("other", 255, reference="pi-x")
    assert shop.alarms() == [("money_not_counted", "awaiting.1", "awaiting", "stripe", 255, "GBP")]
    shop.pay("awaiting", 255, reference="by hand")
    assert shop.alarms() == []


def test_money_that_was_recorded_short_is_seen_with_what_lacks(shop: Books) -> None:
    shop.tender("awaiting", captured_minor=300)
    shop.pay("awaiting", 255, reference="pi-awaiting.1")
    assert shop.alarms() == [("money_not_counted", "awaiting.1", "awaiting", "stripe", 45, "GBP")]


def test_of_two_payments_only_what_the_order_does_not_count_is_told_and_once(shop: Books) -> None:
    for ordinal in (1, 2):
        shop.tender("awaiting", ordinal=ordinal, captured_minor=300, amount_minor=300)
    shop.pay("awaiting", 255, reference="pi-awaiting.2")
    shop.execute("UPDATE orders SET paid_minor = 500 WHERE order_id = 'awaiting'")
    assert [row for row in shop.alarms() if row[0] == "money_not_counted"] == [
        ("money_not_counted", "awaiting.1", "awaiting", "stripe", 100, "GBP")
    ]


def test_money_of_a_hosted_page_is_counted_by_the_name_of_its_intent(shop: Books) -> None:
    page: dict[str, Any] = {"provider_reference": "cs_1", "other_names": '["pi_1"]'}
    shop.tender("awaiting", captured_minor=255, **page)
    shop.tender("awaiting", ordinal=2, captured_minor=300, amount_minor=300)
    shop.pay("awaiting", 255, reference="pi_1")
    assert shop.alarms() == [("money_not_counted", "awaiting.2", "awaiting", "stripe", 300, "GBP")]


def test_money_of_a_hosted_page_that_is_counted_and_was_not_captured_is_seen(shop: Books) -> None:
    page: dict[str, Any] = {"provider_reference": "cs_1", "other_names": '["pi_1"]'}
    shop.tender("awaiting", captured_minor=200, **page)
    shop.pay("awaiting", 255, reference="pi_1")
    assert shop.alarms() == [("order_without_money", "awaiting.1", "awaiting", "stripe", 55, "GBP")]
    # Another of its payments brought as much more than was recorded.
    shop.tender("awaiting", ordinal=2, captured_minor=75, amount_minor=75)
    shop.insert(
        "money_records",
        kind="payment",
        reference="pi-awaiting.2",
        order_id="awaiting",
        amount_minor=20,
        outcome=2,
    )
    shop.execute("UPDATE orders SET paid_minor = 275 WHERE order_id = 'awaiting'")
    assert "order_without_money" not in {alarm for alarm, *_ in shop.alarms()}


def test_money_that_was_recorded_and_never_captured_is_seen_until_it_is_taken_back(shop: Books) -> None:
    shop.tender("awaiting", captured_minor=0, state=STARTING)
    shop.pay("awaiting", 255, reference="pi-awaiting.1")
    assert shop.alarms() == [("order_without_money", "awaiting.1", "awaiting", "stripe", 255, "GBP")]
    shop.execute("UPDATE payments SET update_time = now() - interval '4 minutes'")
    assert shop.alarms() == []
    shop.execute("UPDATE payments SET update_time = now() - interval '6 minutes'")
    shop.refund("awaiting", 255)
    assert shop.alarms() == []


def test_a_paid_order_below_its_price_is_seen(shop: Books) -> None:
    shop.execute("ALTER TABLE orders DROP CONSTRAINT ck_orders_paid")
    shop.execute("UPDATE orders SET total_minor = 256, subtotal_minor = 256 WHERE order_id = 'paid'")
    assert shop.alarms() == [("order_without_money", "paid", "paid", "", 1, "GBP")]


# --- refunds and calls ------------------------------------------------------------------------


def test_a_refund_above_the_capture_is_seen_by_its_sum_and_by_its_rows(shop: Books) -> None:
    above = [("refund_above_capture", "paid.1", "paid", "stripe", 1, "GBP")]
    shop.execute("UPDATE payments SET refunded_minor = 256")
    assert shop.alarms() == above
    shop.execute("UPDATE payments SET refunded_minor = 0")
    shop.give_back("paid.1", state=REFUND_SUCCEEDED, amount_minor=256)
    assert shop.alarms() == above
    shop.execute("UPDATE refunds SET state = %s", REFUND_FAILED)
    assert shop.alarms() == []


@pytest.mark.parametrize("table", ["payments", "refunds"])
def test_an_outcome_that_is_unknown_past_its_deadline_is_seen(shop: Books, table: str) -> None:
    shop.give_back("paid.1", state=REFUND_SUCCEEDED)
    shop.call_due(table, deadline=shop.now + HOUR, ago=timedelta(days=2))
    assert shop.alarms() == []
    shop.call_due(table, deadline=shop.now - timedelta(seconds=1))
    subject = "paid.1" if table == "payments" else "paid.r1"
    assert shop.alarms() == [("unknown_past_deadline", subject, "paid", "stripe", 255, "GBP")]


@pytest.mark.parametrize("table", ["payments", "refunds"])
def test_a_call_that_is_put_off_for_a_day_is_seen(shop: Books, table: str) -> None:
    shop.give_back("paid.1", state=REFUND_REQUESTED)
    shop.call_due(table, ago=timedelta(hours=23))
    assert shop.alarms() == []
    shop.call_due(table, ago=timedelta(hours=25))
    subject = "paid.1" if table == "payments" else "paid.r1"
    assert shop.alarms() == [("call_overdue", subject, "paid", "stripe", 255, "GBP")]


def test_a_refund_that_is_pending_for_a_week_is_seen_and_is_no_call_put_off(shop: Books) -> None:
    shop.give_back("paid.1", state=REFUND_PENDING)
    shop.call_due("refunds", ago=timedelta(days=6, hours=23))
    shop.execute("UPDATE refunds SET errand_task = 5")
    assert shop.alarms() == []
    shop.execute("UPDATE refunds SET update_time = %s", shop.now - timedelta(days=7, hours=1))
    assert shop.alarms() == [("refund_pending", "paid.r1", "paid", "stripe", 255, "GBP")]
    shop.execute("UPDATE refunds SET state = 3, errand_task = NULL, errand_due_time = NULL")
    assert shop.alarms() == []


def test_a_failed_refund_is_one_alarm_until_the_money_went_back(shop: Books) -> None:
    refund_id = shop.give_back(pay_late(shop, "expired"), state=REFUND_FAILED)
    assert shop.alarms() == [("failed_refund", refund_id, "expired", "stripe", 255, "GBP")]
    shop.refund("expired", 255)
    assert shop.alarms() == []


def test_a_failed_refund_of_returned_goods_is_seen_and_of_a_gift_is_not(shop: Books) -> None:
    shop.give_back("paid.1", state=REFUND_FAILED)
    assert shop.alarms() == []
    shop.fulfill("paid", "A", 1, FULFILLED)
    shop.take_back("paid", "A", 1)
    assert shop.alarms() == [("failed_refund", "paid.r1", "paid", "stripe", 255, "GBP")]


def test_what_a_unit_lacks_of_its_refund_is_due(shop: Books) -> None:
    """Two payments were to give it back, and one of them failed."""
    shop.give_back("paid.1", state=REFUND_FAILED, amount_minor=155)
    shop.execute("UPDATE orders SET refunded_minor = 100 WHERE order_id = 'paid'")
    assert shop.alarms() == []
    shop.execute(
        "UPDATE order_lines SET refunded_quantity = 1, refunded_minor = 100 WHERE order_id = 'paid'"
    )
    assert shop.alarms() == [("failed_refund", "paid.r1", "paid", "stripe", 155, "GBP")]


# --- the views as such, and the command -------------------------------------------------------


def test_every_alarm_has_the_same_columns_a_comment_and_something_to_do(shop: Books) -> None:
    columns = shop.rows("""
        SELECT table_name::text, array_agg(column_name || ' ' || data_type ORDER BY ordinal_position)
        FROM information_schema.columns WHERE starts_with(table_name, 'alarm_') GROUP BY table_name""")
    alike = [
        *("id text", "order_id text", "provider text", "amount_minor bigint", "currency_code text"),
        "since timestamp with time zone",
    ]
    assert [(view, told) for view, told in columns if told != alike] == []
    assert {view.removeprefix("alarm_") for view, _ in columns} == set(WHAT_TO_DO)
    comments = shop.rows("""
        SELECT obj_description(viewname::text::regclass, 'pg_class') FROM pg_views
        WHERE starts_with(viewname::text, 'alarm')""")
    assert len(comments) == len(WHAT_TO_DO) + 1
    assert [comment for (comment,) in comments if not (comment or "").endswith(".")] == []


def test_a_shop_without_alarms_says_so(shop: Books, database_url: str, tmp_path: Path) -> None:
    assert shop.alarms() == []
    ended = run("alarms", cwd=tmp_path, DATABASE_URL=database_url)
    assert ended == (DONE, "no alarms\n", "")


def test_alarms_are_listed_by_kind_with_what_to_do(
    shop: Books, database_url: str, tmp_path: Path
) -> None:
    since = shop.now - HOUR
    for order_id in ("cancelled", "expired"):
        pay_late(shop, order_id)
    shop.give_back("expired.1", state=REFUND_FAILED, update_time=since)
    ended = run("alarms", cwd=tmp_path, DATABASE_URL=database_url)
    told = f"since {since:%Y-%m-%d %H:%M:%S}Z"
    assert ended.returncode == REFUSED
    assert ended.stdout.splitlines() == [
        "failed_refund: 1",
        f"  {WHAT_TO_DO['failed_refund']}",
        f"  expired.r1: 2.55 GBP at stripe, order expired, {told}",
        "money_without_order: 1",
        f"  {WHAT_TO_DO['money_without_order']}",
        f"  cancelled.1: 2.55 GBP at stripe, order cancelled, {told}",
    ]


def test_an_alarm_breaks_no_invariant(shop: Books, database_url: str, tmp_path: Path) -> None:
    shop.call_due("payments", deadline=shop.now - HOUR)
    assert [row[0] for row in shop.alarms()] == ["unknown_past_deadline"]
    ended = run("verify", "--database-only", cwd=tmp_path, DATABASE_URL=database_url)
    assert (ended.returncode, ended.stderr) == (DONE, "")
