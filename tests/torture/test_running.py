"""A run that proved nothing does not pass for one in which nothing was broken."""

from dataclasses import replace
from io import StringIO

from tests.torture.history import History, Operation, Outcome, Pulse
from tests.torture.running import ACHIEVED, unproven

MONEY = {"pi_1": (250, 0)}


def eventful_history() -> History:
    history = History(StringIO())
    history.beat(Pulse(0.0, 0.5, is_well=True))
    for method in ACHIEVED:
        asked = Operation(0, "somebody", "a door", method, fresh_as="0000000a.1")
        history.end(history.begin(asked), outcome=Outcome.OK)
    return history


def told(history: History, money: dict[str, tuple[int, int]] = MONEY) -> list[str]:
    return [violation.explanation for violation in unproven(history, money)]


def test_who_did_everything_has_proven_something() -> None:
    assert told(eventful_history()) == []


def test_what_nobody_could_do_is_named() -> None:
    history = eventful_history()
    history.ended = [
        replace(each, outcome=Outcome.REFUSED) if each.method == "PlaceOrder" else each
        for each in history.ended
    ]
    assert told(history) == ["PlaceOrder was never answered"]


def test_a_shop_that_was_never_well_or_took_no_money_proves_nothing() -> None:
    history = eventful_history()
    history.pulses = [Pulse(0.0, 0.5, is_well=False)]
    assert told(history, {"pi_1": (0, 0)}) == [
        "no money was captured",
        "not for a moment was everything well",
    ]


def test_answers_that_need_not_be_fresh_prove_nothing_of_freshness() -> None:
    history = eventful_history()
    history.ended = [replace(each, fresh_as="") for each in history.ended]
    assert told(history) == ["no fresh answer was given"]
