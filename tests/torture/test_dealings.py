"""What staff and customers do with stock, orders, carts and money is judged: each breach is seen."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.torture.evidence import CartUnits, CouponUse, Hold, RefundRow
from tests.torture.history import Operation
from tests.torture.stories import CANCELLED, PAID, SUCCEEDED, Story, at, busy_story
from tests.torture.views import ORDER, PAYMENT


def test_a_busy_story_in_which_all_is_well_shows_nothing() -> None:
    assert busy_story().found() == []


Break = Callable[[Story], None]


def call_of(story: Story, method: str) -> Operation:
    return next(call for call in story.history if call.method == method)


def ask(story: Story, method: str, **asked: Any) -> None:
    """Tells differently what the command asked for."""
    call = call_of(story, method)
    story.history[story.history.index(call)] = replace(call, asked={**call.asked, **asked})


def change_row(rows: list[Any], index: int, **fields: Any) -> None:
    rows[index] = rows[index]._replace(**fields)


def move(story: Story, position: int, **fields: Any) -> None:
    """Changes the movement there."""
    movements = story.evidence.movements
    [index] = [n for n, each in enumerate(movements) if each.position == position]
    change_row(movements, index, **fields)


def level(story: Story, place: str, **more: int) -> None:
    """The tables follow their ledger, however wrong it is."""
    levels = story.evidence.levels
    [index] = [n for n, each in enumerate(levels) if each.location_id == place]
    change_row(levels, index, **{name: getattr(levels[index], name) + n for name, n in more.items()})


# --- stock ----------------------------------------------------------------------------------------


def lose_units_on_the_way(story: Story) -> None:
    move(story, 8, on_hand=1)
    level(story, "annex", on_hand=-1)


def carry_units_to_another_place(story: Story) -> None:
    move(story, 8, location_id="cellar")
    level(story, "annex", on_hand=-2)


def carry_more(story: Story) -> None:
    move(story, 7, on_hand=-3)
    move(story, 8, on_hand=3)
    level(story, "main", on_hand=-1)
    level(story, "annex", on_hand=1)


def carry_what_is_promised(story: Story) -> None:
    ask(story, "TransferStock", quantity=5)
    move(story, 7, on_hand=-5)
    move(story, 8, on_hand=5)
    level(story, "main", on_hand=-3)
    level(story, "annex", on_hand=3)


def count_wrongly(story: Story) -> None:
    ask(story, "AdjustStock", counted_quantity=4)


def take_a_count_for_a_shortage(story: Story) -> None:
    move(story, 40, slack=1)


def return_what_was_sold_twice(story: Story) -> None:
    row = {"sku_id": "cup", "location_id": "annex", "quantity": 1}
    again = story.command("ReturnStock", position=41, asked={"rows": [row]})
    story.moved(41, again, place="annex", cause="aside", on_hand=1)
    level(story, "annex", on_hand=1)


def shelve_a_return_elsewhere(story: Story) -> None:
    move(story, 37, location_id="main")
    level(story, "main", on_hand=1)
    level(story, "annex", on_hand=-1)


def ship_more_than_was_asked_for(story: Story) -> None:
    move(story, 36, on_hand=-2)
    level(story, "annex", on_hand=-1)


def release_twice(story: Story) -> None:
    story.moved(41, story.command("ReleaseReservation", position=42), cause="aside", allocated=-1)
    story.event(42, "ReservationReleased", "aside", story.history[-1])
    level(story, "main", allocated=-1)


def release_what_is_held_for_another(story: Story) -> None:
    move(story, 30, cause="order")


def forget_what_a_called_off_order_held(story: Story) -> None:
    story.evidence.holds.append(Hold("kept", 3, at(70)))
    story.moved(41, story.command("ReserveStock", position=42), cause="kept", reserved=1)
    story.event(42, "ReservationMade", "kept", story.history[-1])
    level(story, "main", reserved=1)


# --- orders ---------------------------------------------------------------------------------------


def return_units_twice(story: Story) -> None:
    """Without a shelf, so that stock knows nothing of it."""
    asked = {"order_id": "order", "lines": [{"line_id": "cup", "quantity": 1}]}
    again = story.command("ReturnOrderLines", position=41, asked=asked)
    story.event(41, "OrderLinesReturned", "order", again)
    story.shown(41, ORDER, "order", 5, 5, 250, 0)
    story.evidence.orders["order"] = story.evidence.orders["order"]._replace(version=5)
    change_row(story.evidence.order_lines, 0, returned=2)


def shelve_units_of_an_order_twice(story: Story) -> None:
    asked = {"order_id": "order", "lines": [{"line_id": "cup", "quantity": 1}]}
    again = story.command("ReturnOrderLines", position=42, asked=asked, units={"cup": 1})
    story.event(41, "OrderLinesReturned", "order", again)
    story.moved(42, again, cause="order", on_hand=1)
    level(story, "main", on_hand=1)


def call_off_less_than_was_asked_for(story: Story) -> None:
    change_row(story.evidence.order_lines, 1, cancelled=0)


def call_off_more_than_there_is(story: Story) -> None:
    ask(story, "CancelOrderLines", lines=[{"line_id": "cup", "quantity": 3}])
    change_row(story.evidence.order_lines, 1, cancelled=3)


def call_off_without_a_trace(story: Story) -> None:
    events = story.evidence.events
    events[:] = [each for each in events if each.type != "OrderLinesCancelled"]


def refund_more_units_than_there_are(story: Story) -> None:
    change_row(story.evidence.order_lines, 0, refunded=2)


# --- carts and coupons ----------------------------------------------------------------------------


def empty_a_cart_by_merging(story: Story) -> None:
    for index in (4, 5):
        change_row(story.evidence.cart_units, index, units={"cup": 1})


def merge_twice(story: Story) -> None:
    for index in (4, 5):
        change_row(story.evidence.cart_units, index, units={"cup": 3})


def fill_a_cart_with_a_coupon(story: Story) -> None:
    change_row(story.evidence.cart_units, 5, units={"cup": 3})


def change_a_cart_unasked(story: Story) -> None:
    story.evidence.cart_units.append(CartUnits(41, "basket", {}))


def order_less_than_the_cart_has(story: Story) -> None:
    change_row(story.evidence.order_lines, 1, quantity=1)


def use_a_coupon_too_often(story: Story) -> None:
    story.evidence.coupon_uses.append(CouponUse(41, "SPRING", "third", "eve", 1))
    change_row(story.evidence.coupons, 0, used_count=2)


def use_a_coupon_twice_as_one_customer(story: Story) -> None:
    use_a_coupon_too_often(story)
    change_row(story.evidence.coupon_uses, 1, customer_id="bob")
    change_row(story.evidence.coupons, 0, usage_limit=None)


def use_a_coupon_twice_for_one_order(story: Story) -> None:
    use_a_coupon_twice_as_one_customer(story)
    change_row(story.evidence.coupon_uses, 1, order_id="other")
    change_row(story.evidence.coupons, 0, usage_limit_per_customer=None)


def give_a_use_back_twice(story: Story) -> None:
    for position in (41, 42):
        story.evidence.coupon_uses.append(CouponUse(position, "SPRING", "other", "bob", -1))


def count_uses_wrongly(story: Story) -> None:
    change_row(story.evidence.coupons, 0, used_count=0)


def keep_the_use_of_a_called_off_order(story: Story) -> None:
    order = story.evidence.orders["other"]
    story.evidence.orders["other"] = order._replace(state=CANCELLED)


# --- money ----------------------------------------------------------------------------------------


def refund_again(story: Story, amount_minor: int) -> None:
    asked = {"order_id": "other", "amount": {"amount_minor": str(amount_minor)}}
    again = story.command("RefundPayment", position=42, asked=asked)
    story.event(41, "RefundRecorded", "other", again)
    story.event(42, "RefundRequested", "other", again)
    refunded_minor = 100 + amount_minor
    story.shown(41, ORDER, "other", 5, PAID, 450, refunded_minor)
    story.shown(42, PAYMENT, "other.1", 6, 450, refunded_minor)
    order = story.evidence.orders["other"]
    story.evidence.orders["other"] = order._replace(version=5, refunded_minor=refunded_minor)
    change_row(story.evidence.payments, 0, refunded_minor=refunded_minor)
    refund = RefundRow(42, "other.r2", "other.1", "other", amount_minor, SUCCEEDED, "re_2")
    story.evidence.refunds.append(refund)
    story.evidence = replace(story.evidence, provider_money={"pi_1": (450, refunded_minor)})


def refund_more_than_was_captured(story: Story) -> None:
    refund_again(story, 351)


def test_all_that_was_captured_may_go_back() -> None:
    story = busy_story()
    refund_again(story, 350)
    assert story.found() == []


def record_what_was_given_back(story: Story, *, wrote_event: bool = True) -> None:
    """Somebody recorded the refund of ours under its provider's name, before or after that was told."""
    asked = {"order_id": "other", "refund_reference": "re_1", "amount": {"amount_minor": "100"}}
    after = [5, PAID, 450, 200] if wrote_event else [3, PAID, 450, 100]
    recorded = story.command(
        "RecordRefund",
        position=41 if wrote_event else 28,
        asked=asked,
        told={ORDER: {"other": after}},
    )
    if wrote_event:
        story.event(41, "RefundRecorded", "other", recorded)
        story.shown(41, ORDER, "other", 5, PAID, 450, 200)
        reported = replace(recorded, request_id="what the provider told")
        story.event(42, "RefundRecordReversed", "other", reported)
        story.shown(42, ORDER, "other", 6, PAID, 450, 100)
        order = story.evidence.orders["other"]
        story.evidence.orders["other"] = order._replace(version=6)


@pytest.mark.parametrize("wrote_event", [True, False])
def test_what_was_recorded_of_a_refund_of_ours_counts_no_more(*, wrote_event: bool) -> None:
    story = busy_story()
    record_what_was_given_back(story, wrote_event=wrote_event)
    assert story.found() == []


def tell_of_it_as_it_never_was(story: Story) -> None:
    record_what_was_given_back(story, wrote_event=False)
    call = call_of(story, "RecordRefund")
    told = {ORDER: {"other": [3, PAID, 450, 200]}}
    story.history[story.history.index(call)] = replace(call, told=told)


def count_what_was_recorded_beside_what_is_told(story: Story) -> None:
    record_what_was_given_back(story)
    order = story.evidence.orders["other"]
    story.evidence.orders["other"] = order._replace(refunded_minor=200)


def refund_more_for_a_moment(story: Story) -> None:
    """A failed refund was followed by another, and both were on their way at once."""
    index = next(n for n, each in enumerate(story.evidence.showings) if each.view == PAYMENT)
    story.evidence.showings.insert(index, story.evidence.showings[index]._replace(state=(6, 450, 451)))


def refund_another_amount(story: Story) -> None:
    ask(story, "RefundPayment", amount={"amount_minor": "90"})


def refund_another_order(story: Story) -> None:
    change_row(story.evidence.refunds, 0, order_id="order")


def refund_another_payment(story: Story) -> None:
    ask(story, "RefundPayment", payment_id="other.2")


def refund_without_a_trace(story: Story) -> None:
    story.evidence.refunds.clear()


def forget_a_refund_of_a_payment(story: Story) -> None:
    change_row(story.evidence.refunds, 0, state=4)


def capture_unasked(story: Story) -> None:
    call = call_of(story, "CapturePayment")
    story.evidence.answers[call.request_id] = story.evidence.answers[call.request_id]._replace(code=9)


def capture_more_than_was_asked_for(story: Story) -> None:
    ask(story, "CapturePayment", amount={"amount_minor": "449"})


def capture_what_was_called_off(story: Story) -> None:
    story.command(
        "VoidPayment",
        position=30,
        asked={"payment_id": "other.1"},
        told={PAYMENT: {"other.1": [8, 0, 0]}},
    )


def ask_twice_for_a_capture(story: Story) -> None:
    story.event(25, "PaymentChanged", "other", call_of(story, "CapturePayment"))


@pytest.mark.parametrize(
    ("break_it", "name"),
    [
        (lose_units_on_the_way, "stock not conserved"),
        (carry_units_to_another_place, "stock not conserved"),
        (carry_more, "stock not conserved"),
        (carry_what_is_promised, "oversold"),
        (count_wrongly, "stock not conserved"),
        (take_a_count_for_a_shortage, "oversold"),
        (return_what_was_sold_twice, "promise not kept"),
        (shelve_a_return_elsewhere, "stock not conserved"),
        (ship_more_than_was_asked_for, "stock not conserved"),
        (release_twice, "promise not kept"),
        (release_what_is_held_for_another, "promise not kept"),
        (forget_what_a_called_off_order_held, "promise not kept"),
        (return_units_twice, "units not conserved"),
        (shelve_units_of_an_order_twice, "promise not kept"),
        (call_off_less_than_was_asked_for, "units not conserved"),
        (call_off_more_than_there_is, "units not conserved"),
        (call_off_without_a_trace, "not one effect"),
        (refund_more_units_than_there_are, "units not conserved"),
        (empty_a_cart_by_merging, "cart not as filled"),
        (merge_twice, "cart not as filled"),
        (fill_a_cart_with_a_coupon, "cart not as filled"),
        (change_a_cart_unasked, "cart not as filled"),
        (order_less_than_the_cart_has, "cart not as filled"),
        (use_a_coupon_too_often, "coupon not conserved"),
        (use_a_coupon_twice_as_one_customer, "coupon not conserved"),
        (use_a_coupon_twice_for_one_order, "coupon not conserved"),
        (give_a_use_back_twice, "coupon not conserved"),
        (count_uses_wrongly, "coupon not conserved"),
        (keep_the_use_of_a_called_off_order, "coupon not conserved"),
        (refund_more_than_was_captured, "refunded too much"),
        (refund_more_for_a_moment, "refunded too much"),
        (refund_another_amount, "not as asked"),
        (refund_another_order, "not as asked"),
        (refund_another_payment, "not as asked"),
        (refund_without_a_trace, "not as asked"),
        (forget_a_refund_of_a_payment, "money not conserved"),
        (count_what_was_recorded_beside_what_is_told, "money not conserved"),
        (tell_of_it_as_it_never_was, "read of nothing"),
        (capture_unasked, "not as asked"),
        (capture_more_than_was_asked_for, "not as asked"),
        (capture_what_was_called_off, "not as asked"),
        (ask_twice_for_a_capture, "not one effect"),
    ],
)
def test_what_is_broken_is_seen(break_it: Break, name: str) -> None:
    story = busy_story()
    break_it(story)
    assert name in {violation.check for violation in story.found()}


@pytest.mark.parametrize(
    ("break_it", "told"),
    [
        (lose_units_on_the_way, ["TransferStock"]),
        (
            refund_more_than_was_captured,
            [
                *("PlaceOrder", "StartPayment", "CapturePayment"),
                *("RefundPayment", "CancelOrderLines", "RefundPayment"),
            ],
        ),
        (
            return_units_twice,
            ["RecordPayment", "FulfillOrderLines", "ReturnOrderLines", "ReturnOrderLines"],
        ),
    ],
)
def test_a_violation_shows_the_calls_that_it_is_about(break_it: Break, told: list[str]) -> None:
    story = busy_story()
    break_it(story)
    shown = [[call.method for call in violation.operations] for violation in story.found()]
    assert told in shown
