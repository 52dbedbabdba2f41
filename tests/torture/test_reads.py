"""No query shows what is older than its token, newer than its answer, or never was."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.torture.calls import QUERIES
from tests.torture.evidence import LoggedEvent, StockLevel
from tests.torture.history import Operation, Outcome
from tests.torture.reads import LISTS, QUESTIONS
from tests.torture.stories import (
    AWAITING,
    CANCELLED,
    EXPIRED,
    PAID,
    Story,
    at,
    good_story,
    order_shown,
    token,
)
from tests.torture.views import ABSENT, CART, LISTED, ORDER, STOCK, State

EARLIER, NOW, LATER, NEVER = (1, "a"), (2, "b"), (3, "c"), (4, "d")
NEVER_THERE = "unheard of"


def test_every_query_that_can_insist_on_a_token_is_judged() -> None:
    asked = {name.rpartition(".")[2].removesuffix("Request") for name in QUERIES}
    assert asked == {*QUESTIONS, *LISTS}


def asked_of(method: str) -> dict[str, Any]:
    """The thing; where many can be asked for at once, one beside it that never was."""
    name = QUESTIONS[method].asked
    return {name: ["thing", NEVER_THERE] if name.endswith("s") else "thing"}


def read_story(method: str, state: State, *, insists: bool = True) -> Story:
    """The thing was EARLIER from 11 s on, NOW from 12 s on, where the token is, and LATER from 14 s on.

    It is asked for at 12.5 s, and the answer comes half a second later. ABSENT: it is denied.
    """
    story, view = good_story(), QUESTIONS[method].view
    for position, seconds, each in [(11, 11, EARLIER), (12, 12, NOW), (13, 14, LATER)]:
        story.evidence.events.append(LoggedEvent(position, at(seconds), "Changed", "thing", "a request"))
        story.shown(position, view, "thing", *each)
    told: dict[str, Any] = {"told": {view: {"thing": list(state)}}}
    if state == ABSENT:
        told = {"told": {}} if method.startswith("Batch") else {"outcome": Outcome.REFUSED, "code": 5}
    fresh_as = token(12) if insists else ""
    times = {"begin_seconds": 12.5, "end_seconds": 13.0}
    story.query(method, fresh_as=fresh_as, asked=asked_of(method), **times, **told)
    return story


def checks(story: Story) -> list[str]:
    return [violation.check for violation in story.found()]


@pytest.mark.parametrize("method", QUESTIONS)
@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (NOW, []),
        (EARLIER, ["stale read"]),
        (LATER, ["stale read"]),
        (ABSENT, ["stale read"]),
        (NEVER, ["read of nothing"]),
    ],
)
def test_what_is_shown_was_so_between_the_token_and_the_answer(
    method: str, state: State, expected: list[str]
) -> None:
    assert checks(read_story(method, state)) == expected


@pytest.mark.parametrize("method", QUESTIONS)
@pytest.mark.parametrize(
    ("state", "expected"),
    [(EARLIER, []), (ABSENT, []), (LATER, ["stale read"]), (NEVER, ["read of nothing"])],
)
def test_who_does_not_insist_may_be_shown_what_is_old_but_not_what_is_not_yet(
    method: str, state: State, expected: list[str]
) -> None:
    assert checks(read_story(method, state, insists=False)) == expected


@pytest.mark.parametrize("method", QUESTIONS)
def test_what_came_while_the_answer_was_under_way_may_be_shown(method: str) -> None:
    story = read_story(method, LATER)
    story.change(-1, end_seconds=14.0)
    assert checks(story) == []


@pytest.mark.parametrize("method", QUESTIONS)
def test_a_read_without_an_answer_shows_nothing(method: str) -> None:
    story = read_story(method, NEVER)
    story.change(-1, outcome=Outcome.UNKNOWN, told={})
    assert checks(story) == []


@pytest.mark.parametrize("method", QUESTIONS)
def test_what_nobody_asked_for_is_not_shown(method: str) -> None:
    story, view = read_story(method, NOW), QUESTIONS[method].view
    story.change(-1, told={view: {"thing": NOW, "another": NOW}})
    assert checks(story) == ["read of nothing"]


@pytest.mark.parametrize("method", [*QUESTIONS, *LISTS])
def test_no_query_is_refused_for_anything_but_that_there_is_nothing(method: str) -> None:
    story = good_story()
    asked = asked_of(method) if method in QUESTIONS else {"customer_id": "ann"}
    story.query(method, asked=asked, outcome=Outcome.REFUSED, code=9, reason="LOG_INCARNATION_CHANGED")
    assert checks(story) == ["wrong refusal"]


def test_a_stale_read_shows_who_had_changed_what_it_is_about() -> None:
    story = good_story()
    read_old_order(story)
    [violation] = story.found()
    assert [call.method for call in violation.operations] == ["RecordPayment", "GetOrder"]
    assert "by PaymentRecorded at 4" in violation.explanation


# Each breaks one promise, and names the check that must see it.
Break = Callable[[Story], None]


def cancelled_story() -> Story:
    """Ann has called her order off at 9 s, and her readers know it."""
    story = good_story()
    cancelled = story.command("CancelOrder", position=9, told={ORDER: {"order": [3, CANCELLED, 250, 0]}})
    story.event(9, "OrderCancelled", "order", cancelled)
    order_shown(story, 9, 3, CANCELLED, 250, 0)
    row = story.evidence.orders["order"]
    story.evidence.orders["order"] = row._replace(version=3, state=CANCELLED)
    return story


def read_old_stock(story: Story) -> None:
    story.change(3, told={STOCK: {"cup": ["main", 5, 1, 0]}})


def read_old_stock_of_many(story: Story) -> None:
    story.change(8, told={STOCK: {"cup": ["main", 5, 1, 0]}})


def read_old_stock_that_comes_again(story: Story) -> None:
    """What was shown at 4 s was over at the token then, and is so again since."""
    read_old_stock(story)
    again = story.command("ReserveStock", position=10)
    story.event(10, "ReservationMade", "hold", again)
    story.moved(11, again, reserved=1, allocated=-1)
    story.evidence.levels[0] = StockLevel("cup", "main", 5, 1, 0)


def show_no_level(story: Story) -> None:
    story.change(3, told={})


def read_old_order(story: Story) -> None:
    story.change(4, told={ORDER: {"order": [1, AWAITING, 0, 0]}})


def read_order_of_a_version_that_never_was(story: Story) -> None:
    story.change(4, told={ORDER: {"order": [99, PAID, 250, 0]}})


def read_cart_of_a_version_that_never_was(story: Story) -> None:
    story.change(6, told={CART: {"cart": [77, 1, 250]}})


def read_what_a_worker_has_expired(story: Story) -> None:
    """No client was told of it."""
    story.evidence.events.append(LoggedEvent(7, at(50), "OrderExpired", "order", "expiry"))
    order_shown(story, 7, 3, EXPIRED, 250, 0)
    row = story.evidence.orders["order"]
    story.evidence.orders["order"] = row._replace(version=3, state=EXPIRED)
    story.change(4, fresh_as=token(7), end_seconds=51.0)


def read_old_stock_beside_a_cart(story: Story) -> None:
    told = {CART: {"cart": [3, 1, 250]}, STOCK: {"cup": ["main", 5, 1, 0]}}
    story.change(6, asked={"cart_id": "cart", "include_stock": True}, told=told)


def deny_order_in_list(story: Story) -> None:
    story.change(7, told={})


def list_as_awaiting_what_was_paid(story: Story) -> None:
    story.change(7, told={LISTED: {"order": ["ann", AWAITING, 250, 1_000_000]}})


def list_at_another_price(story: Story) -> None:
    story.change(7, told={LISTED: {"order": ["ann", PAID, 200, 1_000_000]}})


def list_for_somebody_else(story: Story) -> None:
    story.change(7, asked={"customer_id": "bob"})


@pytest.mark.parametrize(
    ("break_it", "name"),
    [
        (read_old_stock, "stale read"),
        (read_old_stock_of_many, "stale read"),
        (read_old_stock_that_comes_again, "stale read"),
        (show_no_level, "stale read"),
        (read_old_order, "stale read"),
        (read_order_of_a_version_that_never_was, "read of nothing"),
        (read_cart_of_a_version_that_never_was, "read of nothing"),
        (read_what_a_worker_has_expired, "stale read"),
        (read_old_stock_beside_a_cart, "stale read"),
        (deny_order_in_list, "stale read"),
        (list_as_awaiting_what_was_paid, "stale read"),
        (list_at_another_price, "read of nothing"),
        (list_for_somebody_else, "read of nothing"),
    ],
)
def test_what_is_broken_is_seen(break_it: Break, name: str) -> None:
    story = good_story()
    break_it(story)
    assert checks(story) == [name]


def test_stock_that_came_again_before_it_was_shown_was_fresh() -> None:
    story = good_story()
    read_old_stock_that_comes_again(story)
    story.change(3, end_seconds=story.history[-1].begin_seconds)
    assert checks(story) == []


def test_a_list_that_insists_shows_what_was_called_off_as_such() -> None:
    story = cancelled_story()
    story.change(7, fresh_as=token(9), end_seconds=20.0)
    assert checks(story) == ["stale read"]
    story.change(7, told={LISTED: {"order": ["ann", CANCELLED, 250, 1_000_000]}})
    assert checks(story) == []


def test_a_list_may_be_newer_than_its_token() -> None:
    story = cancelled_story()
    story.change(7, told={LISTED: {"order": ["ann", CANCELLED, 250, 1_000_000]}}, end_seconds=20.0)
    assert checks(story) == []
    story.change(7, end_seconds=8.0)
    assert checks(story) == ["stale read"]


# --- the orders in a state ------------------------------------------------------------------------


def listing(story: Story, state: str, *order_ids: str, position: int, **facts: Any) -> Operation:
    """The orders in a state, as of their last change before that position."""
    last = {each.key: each.state for each in story.evidence.showings if each.view == LISTED}
    told = {LISTED: {order_id: list(last[order_id]) for order_id in order_ids}} | facts.pop("told", {})
    asked = {"state": f"ORDER_STATE_{state}", "page_size": 20}
    return story.query("ListOrdersByState", fresh_as=token(position), asked=asked, told=told, **facts)


def story_of_three() -> Story:
    """Beside the order of ann, those of bob and cid, placed after hers, are paid, too."""
    story = good_story()
    for position, name in [(9, "bob"), (10, "cid")]:
        story.shown(position, LISTED, name, name, PAID, 250, position * 1_000_000)
    return story


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (["cid", "bob", "order"], []),
        (["cid", "order"], ["stale read"]),
        ([], ["stale read", "stale read", "stale read"]),
        (["bob", "cid", "order"], ["list out of order"]),
    ],
)
def test_a_list_of_a_state_shows_all_that_are_in_it(shown: list[str], expected: list[str]) -> None:
    story = story_of_three()
    listing(story, "PAID", *shown, position=10)
    assert checks(story) == expected


def test_what_came_after_the_token_may_be_missing_in_a_list() -> None:
    story = story_of_three()
    listing(story, "PAID", "order", position=8)
    assert checks(story) == []


def test_what_left_a_state_before_the_answer_may_be_missing_in_its_list() -> None:
    story = cancelled_story()
    listing(story, "PAID", position=8, end_seconds=20.0)
    assert checks(story) == []
    story.change(-1, fresh_as=token(5), end_seconds=8.0)
    assert checks(story) == ["stale read"]


@pytest.mark.parametrize(("state", "expected"), [("PAID", []), ("CANCELLED", ["stale read"])])
def test_an_order_is_listed_in_the_state_in_which_it_is(state: str, expected: list[str]) -> None:
    story = cancelled_story()
    listing(story, state, position=9, end_seconds=20.0)
    assert checks(story) == expected


def test_an_order_in_another_state_does_not_belong_in_a_list() -> None:
    story = story_of_three()
    listing(story, "CANCELLED", "bob", position=10)
    assert checks(story) == ["read of nothing"]


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (["cid", "bob"], []),
        (["cid", "order"], ["stale read"]),
        ([], ["stale read", "stale read", "stale read"]),
    ],
)
def test_a_page_that_goes_on_shows_all_that_come_before_its_end(
    shown: list[str], expected: list[str]
) -> None:
    story = story_of_three()
    listing(story, "PAID", *shown, position=10, told={"has_more": True})
    assert checks(story) == expected
