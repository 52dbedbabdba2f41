"""The checker sees what is broken: for each promise a history that keeps it, and one that does not."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from command_service.checkout import expiry
from tests.torture.checker import healthy_seconds, holds_judged
from tests.torture.evidence import Errand, Hold, LoggedEvent, Movement, PaymentRow, StockLevel
from tests.torture.history import Operation, Outcome, Pulse
from tests.torture.stories import CANCELLED, Story, at, good_story
from tests.torture.views import CART, ORDER, PAYMENT


def test_a_story_in_which_all_is_well_shows_nothing() -> None:
    assert good_story().found() == []


def test_an_unknown_outcome_may_have_had_its_effect_or_not() -> None:
    story = good_story()
    for index in range(3):
        story.change(index, outcome=Outcome.UNKNOWN, token="", told={}, digest="")
    story.history.append(
        Operation(9, "buyer 1", "command_service#1", "ReceiveStock", "never", units={"cup": 3})
    )
    assert story.found() == []


# Each breaks one promise, and names the check that must see it.
Break = Callable[[Story], None]


def lose_answer(story: Story) -> None:
    del story.evidence.answers["request 1"]
    story.evidence.events.pop(0)
    story.evidence.movements.pop(0)


def answer_in_two_ways(story: Story) -> None:
    story.history.append(
        replace(story.history[1], number=9, outcome=Outcome.REFUSED, code=9, reason="OUT_OF_STOCK")
    )


def answer_with_other_bytes(story: Story) -> None:
    story.history.append(replace(story.history[1], number=9, digest="other bytes"))


def store_other_bytes(story: Story) -> None:
    story.change(1, digest="other bytes")


def refuse_what_has_effect(story: Story) -> None:
    story.change(2, outcome=Outcome.REFUSED, code=9, reason="ORDER_ALREADY_CLOSED")
    stored = story.evidence.answers["request 3"]
    story.evidence.answers["request 3"] = stored._replace(code=9)


def carry_out_twice(story: Story) -> None:
    story.moved(6, story.history[0], on_hand=5)
    story.evidence.levels[0] = StockLevel("cup", "main", 10, 0, 1)


def carry_out_twice_in_a_row(story: Story) -> None:
    carry_out_twice(story)
    event = story.evidence.events[0]
    story.evidence.events[0] = event._replace(position=5, recorded_time=at(0))


def lose_effect(story: Story) -> None:
    story.evidence.events.pop(3)


def move_less(story: Story) -> None:
    story.change(0, units={"cup": 6})


def forget_movement(story: Story) -> None:
    story.evidence.levels[0] = StockLevel("cup", "main", 5, 1, 1)


def oversell(story: Story) -> None:
    story.moved(6, story.command("ReserveStock", position=7), reserved=5)
    story.event(7, "ReservationMade", "hold", story.history[-1])
    story.evidence.levels[0] = StockLevel("cup", "main", 5, 5, 1)


def oversell_as_a_shortage(story: Story) -> None:
    story.moved(6, story.command("ReserveStock", position=7), reserved=5, slack=1)
    story.event(7, "ReservationMade", "hold", story.history[-1])
    story.evidence.levels[0] = StockLevel("cup", "main", 5, 5, 1)


def ship_what_was_cancelled(story: Story) -> None:
    cancelled = story.command("CancelOrder", position=6)
    story.event(6, "OrderCancelled", "order", cancelled)
    shipped = story.command("FulfillOrderLines", position=7)
    story.event(7, "OrderLinesFulfilled", "order", shipped)


def hold_for_too_long(story: Story) -> None:
    story.evidence.holds.append(Hold("other", 1, at(90)))


def expire_too_late(story: Story) -> None:
    story.evidence.holds.append(Hold("other", 4, at(20)))
    expired = Operation(9, "worker", "", "", request_id="expiry")
    story.evidence.events.append(
        LoggedEvent(6, at(22), "ReservationReleased", "other", expired.request_id)
    )


def expire_too_soon(story: Story) -> None:
    story.evidence.events.append(LoggedEvent(6, at(49), "OrderExpired", "order", "expiry"))


def release_too_soon(story: Story) -> None:
    story.evidence.holds.append(Hold("other", 4, at(20)))
    story.evidence.events.append(LoggedEvent(6, at(19), "ReservationReleased", "other", "expiry"))


def have_a_worker_lose_stock(story: Story) -> None:
    event = LoggedEvent(6, at(50), "StockMoved", "cup", "expiry", expiry.ACTOR)
    story.evidence.events.append(event)
    story.evidence.movements.append(Movement(6, "cup", "main", -3, 0, 0, 0))
    story.evidence.levels[0] = StockLevel("cup", "main", 2, 0, 1)


def pay_for_what_should_have_expired(story: Story) -> None:
    story.evidence.holds[0] = Hold("order", 2, at(1.5))


def forget_claimed_call(story: Story) -> None:
    story.evidence.errands.append(Errand("order.1", "order", at(98.5), is_in_flight=True))


def forget_due_call(story: Story) -> None:
    story.evidence.errands.append(Errand("order.r1", "order", at(98.5), is_in_flight=False))


def lose_money(story: Story) -> None:
    order = story.evidence.orders["order"]
    story.evidence.orders["order"] = order._replace(paid_minor=0)


def lose_refund(story: Story) -> None:
    order = story.evidence.orders["order"]
    story.evidence.orders["order"] = order._replace(refunded_minor=100)


def forget_recorded_refund(story: Story) -> None:
    asked = {"order_id": "order", "amount": {"amount_minor": "100"}}
    refunded = story.command("RecordRefund", position=6, asked=asked)
    story.event(6, "RefundRecorded", "order", refunded)


def forget_refund_at_provider(story: Story) -> None:
    story.evidence.payments.append(PaymentRow("order.1", "order", "pi_1", 0, 100, 6))
    story.evidence = replace(story.evidence, provider_money={"pi_1": (0, 100)})


def cancel_in_the_table_alone(story: Story) -> None:
    order = story.evidence.orders["order"]
    story.evidence.orders["order"] = order._replace(state=CANCELLED)


def leave_a_payment_behind(story: Story) -> None:
    story.shown(6, PAYMENT, "order.1", 6, 0, 100)
    story.evidence.payments.append(PaymentRow("order.1", "order", "pi_1", 0, 0, 6))


def acknowledge_another_order(story: Story) -> None:
    story.change(2, told={ORDER: {"order": [3, 5, 250, 0]}})


def acknowledge_what_somebody_else_did(story: Story) -> None:
    story.change(2, told={ORDER: {"order": [1, 1, 0, 0]}})


def acknowledge_another_cart(story: Story) -> None:
    story.change(5, told={CART: {"cart": [3, 1, 200]}})


def capture_twice(story: Story) -> None:
    story.evidence = replace(story.evidence, provider_money={"pi_unknown": (250, 0)})


def refund_less_than_told(story: Story) -> None:
    story.evidence.payments.append(PaymentRow("order.1", "order", "pi_1", 0, 250, 6))
    story.evidence = replace(story.evidence, provider_money={"pi_1": (0, 0)})


def explain_wrongly(story: Story) -> None:
    story.query("ExplainStock", told={"differences": ["on_hand: 5, not 6"]})


def fail(story: Story) -> None:
    story.history.append(
        Operation(9, "b", "c", "PlaceOrder", request_id="failed", code=13, reason="INTERNAL")
    )


def refuse_as_another_request(story: Story) -> None:
    refused = Operation(9, "b", "c", "PlaceOrder", request_id="new", outcome=Outcome.REFUSED)
    story.history.append(replace(refused, code=3, reason="REQUEST_ID_REUSED"))


def lose_line(story: Story) -> None:
    story.command("AddCartLine", position=5)


@pytest.mark.parametrize(
    ("break_it", "name"),
    [
        (lose_answer, "answer lost"),
        (answer_in_two_ways, "two answers"),
        (answer_with_other_bytes, "two answers"),
        (store_other_bytes, "two answers"),
        (refuse_what_has_effect, "effect of nothing"),
        (carry_out_twice, "two effects"),
        (carry_out_twice_in_a_row, "two effects"),
        (lose_effect, "not one effect"),
        (lose_line, "not one effect"),
        (move_less, "stock not conserved"),
        (forget_movement, "stock not conserved"),
        (oversell, "oversold"),
        (oversell_as_a_shortage, "oversold"),
        (ship_what_was_cancelled, "impossible history"),
        (hold_for_too_long, "overdue hold"),
        (expire_too_late, "overdue hold"),
        (expire_too_soon, "hold cut short"),
        (release_too_soon, "hold cut short"),
        (have_a_worker_lose_stock, "stock not conserved"),
        (pay_for_what_should_have_expired, "overdue hold"),
        (forget_claimed_call, "abandoned call"),
        (forget_due_call, "abandoned call"),
        (lose_money, "money not conserved"),
        (lose_refund, "money not conserved"),
        (forget_recorded_refund, "money not conserved"),
        (forget_refund_at_provider, "money not conserved"),
        (cancel_in_the_table_alone, "not as told"),
        (lose_money, "not as told"),
        (lose_refund, "not as told"),
        (leave_a_payment_behind, "not as told"),
        (acknowledge_another_order, "told otherwise"),
        (acknowledge_what_somebody_else_did, "told otherwise"),
        (acknowledge_another_cart, "told otherwise"),
        (capture_twice, "money not conserved"),
        (refund_less_than_told, "money not conserved"),
        (explain_wrongly, "unexplained stock"),
        (fail, "internal error"),
        (refuse_as_another_request, "wrong refusal"),
    ],
)
def test_what_is_broken_is_seen(break_it: Break, name: str) -> None:
    story = good_story()
    break_it(story)
    assert name in {violation.check for violation in story.found()}


def test_a_call_may_wait_for_as_long_as_not_all_was_well() -> None:
    story = good_story()
    story.evidence.errands.append(Errand("order.1", "order", at(99.5), is_in_flight=True))
    assert story.found() == []
    story.evidence.errands[:] = [Errand("order.1", "order", at(10), is_in_flight=True)]
    story.pulses[20:-1] = [pulse._replace(is_well=False) for pulse in story.pulses[20:-1]]
    assert story.found() == []


def test_a_violation_shows_only_what_it_is_about() -> None:
    story = good_story()
    answer_with_other_bytes(story)
    [violation] = story.found()
    assert {call.request_id for call in violation.operations} == {"request 2"}
    assert "request 2" in str(violation)


def test_only_time_in_which_all_was_well_counts() -> None:
    pulses = [Pulse(0, 1, is_well=True), Pulse(1, 2, is_well=False), Pulse(2, 3, is_well=True)]
    assert healthy_seconds(pulses, 0.5, 2.25) == 0.75
    assert healthy_seconds(pulses, 1.25, 1.75) == 0
    assert healthy_seconds([], 0, 10) == 0


def test_a_hold_is_judged_if_being_overdue_would_have_been_seen() -> None:
    story = good_story()
    story.evidence.holds[:] = [Hold(f"{end}", 1, at(end)) for end in (10, 95, 98.5, 99.5, 150)]
    assert holds_judged(story.evidence, story.pulses) == (3, 4)
    story.pulses[:] = [pulse._replace(is_well=pulse.begin_seconds > 50) for pulse in story.pulses]
    assert holds_judged(story.evidence, story.pulses) == (2, 4)


def test_a_hold_that_somebody_ended_in_time_did_not_run_out() -> None:
    story = good_story()
    assert story.evidence.holds[0].expire_time == at(50)
    assert holds_judged(story.evidence, story.pulses) == (0, 0)
