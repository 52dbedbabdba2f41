"""The checker sees what is broken: for each promise a history that keeps it, and one that does not."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import pytest

from command_service.checkout import expiry
from tests.torture.checker import check, healthy_seconds, holds_judged
from tests.torture.evidence import (
    Errand,
    Evidence,
    Hold,
    LoggedEvent,
    Movement,
    OrderRow,
    PaymentRow,
    StockLevel,
    StoredAnswer,
)
from tests.torture.history import Operation, Outcome, Pulse
from tests.torture.violations import Violation

INCARNATION = "0000000a"
PAID, CANCELLED = 3, 6


def at(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def token(position: int) -> str:
    return f"{INCARNATION}.{position}"


@dataclass
class Story:
    """A shop that received 5 of a SKU, sold one of them and was asked for what it has."""

    history: list[Operation] = field(default_factory=list)
    evidence: Evidence = field(default_factory=lambda: Evidence(at(100), INCARNATION))
    pulses: list[Pulse] = field(default_factory=list)

    def command(self, method: str, *, position: int, **facts: Any) -> Operation:
        """A command that was acknowledged, and is stored."""
        number = len(self.history) + 1
        call = Operation(
            number,
            "buyer 0",
            "command_service#0",
            method,
            request_id=f"request {number}",
            begin_seconds=float(number),
            end_seconds=number + 0.5,
            outcome=Outcome.OK,
            token=token(position),
            digest=f"bytes {number}",
            **facts,
        )
        self.history.append(call)
        self.evidence.answers[call.request_id] = StoredAnswer(method, 0, call.digest, position)
        return call

    def event(self, position: int, type_: str, key: str, call: Operation) -> None:
        """A fact that the command wrote."""
        event = LoggedEvent(position, at(call.begin_seconds), type_, key, call.request_id)
        self.evidence.events.append(event)

    def moved(self, position: int, call: Operation, **deltas: int) -> None:
        """A movement of the one SKU, and its event."""
        self.event(position, "StockMoved", "cup", call)
        counters = {"on_hand": 0, "reserved": 0, "allocated": 0, "slack": 0} | deltas
        self.evidence.movements.append(Movement(position, "cup", "main", **counters))

    def query(self, method: str, **facts: Any) -> Operation:
        """A question that was answered."""
        number = len(self.history) + 1
        facts = {"outcome": Outcome.OK, **facts}
        call = Operation(number, "reader 0", "query_service#0", method, **facts)
        self.history.append(call)
        return call

    def found(self) -> list[Violation]:
        """What the checker says."""
        return check(self.history, self.evidence, self.pulses)

    def change(self, index: int, **facts: Any) -> None:
        """Tells an operation differently."""
        self.history[index] = replace(self.history[index], **facts)


def good_story() -> Story:
    story = Story()
    received = story.command("ReceiveStock", position=1, units={"cup": 5})
    story.moved(1, received, on_hand=5)
    placed = story.command(
        "PlaceOrder",
        position=3,
        told={"order_id": "order", "version": 1, "state": 1, "customer_id": "ann"},
    )
    story.event(2, "OrderPlaced", "order", placed)
    story.moved(3, placed, reserved=1)
    paid = story.command(
        "RecordPayment",
        position=5,
        asked={"order_id": "order", "amount": {"amount_minor": "250"}},
        told={"order_id": "order", "version": 2, "state": PAID, "customer_id": "ann"},
    )
    story.event(4, "PaymentRecorded", "order", paid)
    story.moved(5, paid, reserved=-1, allocated=1)
    story.query(
        "GetStock",
        fresh_as=token(5),
        asked={"sku_id": "cup"},
        told={"levels": {"main": [5, 0, 1]}},
        end_seconds=4.0,
    )
    story.query(
        "GetOrder",
        fresh_as=token(5),
        asked={"order_id": "order"},
        told={"order_id": "order", "version": 2},
    )
    filled = story.command("CreateCart", position=6, told={"cart_id": "cart", "version": 3})
    story.event(6, "CartCreated", "cart", filled)
    story.query(
        "GetCart",
        fresh_as=token(6),
        asked={"cart_id": "cart"},
        told={"cart_id": "cart", "version": 3},
    )
    story.query(
        "ListCustomerOrders",
        fresh_as=token(6),
        asked={"customer_id": "ann"},
        told={"states": {"order": PAID}},
    )
    story.query(
        "BatchGetStock",
        fresh_as=token(6),
        asked={"sku_ids": ["cup", "saucer"]},
        told={"levels_by_sku": {"cup": {"main": [5, 0, 1]}}},
        end_seconds=9.0,
    )
    story.evidence.levels.append(StockLevel("cup", "main", 5, 0, 1))
    story.evidence.orders["order"] = OrderRow("order", PAID, 2, 250, 250, 0, at(50))
    story.evidence.holds.append(Hold("order", 2, at(50)))
    story.pulses.extend(Pulse(n / 2, (n + 1) / 2, is_well=True) for n in range(200))
    story.evidence = replace(story.evidence, provider_money={})
    return story


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


def read_old_stock(story: Story) -> None:
    story.change(3, told={"levels": {"main": [5, 1, 0]}})


def read_what_never_was(story: Story) -> None:
    story.change(3, told={"levels": {"main": [7, 0, 0]}})


def read_old_order(story: Story) -> None:
    story.change(4, told={"order_id": "order", "version": 1})


def deny_order(story: Story) -> None:
    story.change(4, outcome=Outcome.REFUSED, code=5, reason="ORDER_NOT_FOUND", told={})


def deny_order_in_list(story: Story) -> None:
    story.change(7, told={})


def list_as_paid_what_was_cancelled(story: Story) -> None:
    told = {"order_id": "order", "version": 3, "state": CANCELLED, "customer_id": "ann"}
    cancelled = story.command("CancelOrder", position=9, told=told)
    story.event(9, "OrderCancelled", "order", cancelled)
    story.change(7, fresh_as=token(9))


def read_old_cart(story: Story) -> None:
    story.change(6, told={"cart_id": "cart", "version": 2})


def deny_cart(story: Story) -> None:
    story.change(6, outcome=Outcome.REFUSED, code=5, reason="CART_NOT_FOUND", told={})


def read_old_stock_of_many(story: Story) -> None:
    story.change(8, told={"levels_by_sku": {"cup": {"main": [5, 1, 0]}}})


def deny_stock_of_many(story: Story) -> None:
    story.change(8, told={})


def read_old_stock_that_comes_again(story: Story) -> None:
    """What was shown at 4 s was over at the token then, and is so again since."""
    read_old_stock(story)
    again = story.command("ReserveStock", position=10)
    story.event(10, "ReservationMade", "hold", again)
    story.moved(11, again, reserved=1, allocated=-1)
    story.evidence.levels[0] = StockLevel("cup", "main", 5, 1, 0)


def show_no_level(story: Story) -> None:
    story.change(3, told={})


def deny_stock(story: Story) -> None:
    story.change(3, outcome=Outcome.REFUSED, code=5, reason="SKU_NEVER_STOCKED", told={})


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


def capture_twice(story: Story) -> None:
    story.evidence = replace(story.evidence, provider_money={"pi_unknown": (250, 0)})


def refund_less_than_told(story: Story) -> None:
    story.evidence.payments.append(PaymentRow("order.1", "order", "pi_1", 0, 250))
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
        (read_old_stock, "stale read"),
        (read_what_never_was, "read of nothing"),
        (read_old_order, "stale read"),
        (deny_order, "stale read"),
        (deny_order_in_list, "stale read"),
        (list_as_paid_what_was_cancelled, "stale read"),
        (read_old_cart, "stale read"),
        (deny_cart, "stale read"),
        (read_old_stock_of_many, "stale read"),
        (deny_stock_of_many, "stale read"),
        (read_old_stock_that_comes_again, "stale read"),
        (deny_stock, "stale read"),
        (show_no_level, "stale read"),
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


def test_stock_that_came_again_before_it_was_shown_was_fresh() -> None:
    story = good_story()
    read_old_stock_that_comes_again(story)
    story.change(3, end_seconds=story.history[-1].begin_seconds)
    assert story.found() == []


def test_what_is_newer_than_the_token_may_be_shown() -> None:
    story = good_story()
    told = {"order_id": "order", "version": 3, "state": CANCELLED, "customer_id": "ann"}
    cancelled = story.command("CancelOrder", position=9, told=told)
    story.event(9, "OrderCancelled", "order", cancelled)
    story.change(4, told={"order_id": "order", "version": 3})
    story.change(6, told={"cart_id": "cart", "version": 4})
    story.change(7, told={"states": {"order": CANCELLED, "another": 1}})
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
