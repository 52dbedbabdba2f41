"""A run that proved nothing does not pass for one in which nothing was broken."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from io import StringIO

from tests.torture.calls import ClientFault
from tests.torture.evidence import Evidence, Hold
from tests.torture.faults import FAULTS
from tests.torture.history import History, Operation, Outcome, Pulse
from tests.torture.proof import (
    ACHIEVED,
    ACHIEVED_IN_TIME,
    LONG_SECONDS,
    sight,
    unproven,
    untried,
)
from tests.torture.reads import LISTS, QUESTIONS

MONEY = {"pi_1": (250, 0)}


def eventful_history() -> History:
    history = History(StringIO())
    history.beat(Pulse(0.0, 0.5, is_well=True))
    for method in (*ACHIEVED, *ACHIEVED_IN_TIME, *QUESTIONS, *LISTS):
        asked = Operation(0, "somebody", "a door", method, fresh_as="0000000a.1")
        history.end(history.begin(asked), outcome=Outcome.OK)
    return history


def told(
    history: History, money: dict[str, tuple[int, int]] = MONEY, *, seconds: float = LONG_SECONDS
) -> list[str]:
    return [violation.explanation for violation in unproven(history, money, seconds=seconds)]


def test_who_did_everything_has_proven_something() -> None:
    assert told(eventful_history()) == []


def test_what_nobody_could_do_is_named() -> None:
    history = eventful_history()
    history.ended = [
        replace(each, outcome=Outcome.REFUSED) if each.method == "PlaceOrder" else each
        for each in history.ended
    ]
    assert told(history) == ["PlaceOrder was never answered"]


def test_what_seldom_happens_is_demanded_of_a_long_run() -> None:
    history = eventful_history()
    seldom = {"UpsertPrices", "GetSku"}
    history.ended = [each for each in history.ended if each.method not in seldom]

    assert told(history, seconds=LONG_SECONDS - 1) == []
    assert told(history) == ["UpsertPrices was never answered", "GetSku never gave a fresh answer"]


def test_a_shop_that_was_never_well_or_took_no_money_proves_nothing() -> None:
    history = eventful_history()
    history.pulses = [Pulse(0.0, 0.5, is_well=False)]
    assert told(history, {"pi_1": (0, 0)}) == [
        "no money was captured",
        "not for a moment was every process for commands well",
    ]


def test_answers_that_need_not_be_fresh_prove_nothing_of_freshness() -> None:
    history = eventful_history()
    history.ended = [
        replace(each, fresh_as="") if each.method == "GetCart" else each for each in history.ended
    ]
    assert told(history) == ["GetCart never gave a fresh answer"]


def missing(
    seconds: float, faults: Mapping[str, int], *, inspected: int = 1, judged: int = 1
) -> list[str]:
    found = untried(faults, inspection_count=inspected, judged_hold_count=judged, seconds=seconds)
    return [violation.explanation for violation in found]


EACH_ONCE = dict.fromkeys([*(each.kind for each in FAULTS), *ClientFault], 1)


def test_a_long_run_without_a_kind_of_fault_proves_nothing_of_it() -> None:
    assert missing(LONG_SECONDS, EACH_ONCE) == []
    assert missing(LONG_SECONDS, {**EACH_ONCE, "fill disk": 0}) == ["never: fill disk"]
    without = {**EACH_ONCE, ClientFault.AGAIN: 0}
    assert missing(LONG_SECONDS, without) == ["never: same request after its answer"]
    assert missing(60, {}) == []


def test_a_long_run_in_which_no_hold_could_be_seen_overdue_proves_nothing_of_holds() -> None:
    [explanation] = missing(LONG_SECONDS, EACH_ONCE, judged=0)
    assert "no hold would have been seen overdue" in explanation
    assert missing(60, EACH_ONCE, judged=0) == []


def test_a_run_that_nobody_inspected_proves_nothing_of_what_holds_at_every_moment() -> None:
    assert missing(60, {}, inspected=0) == ["nobody inspected while faults struck"]


def test_how_much_could_be_seen_is_told() -> None:
    at = datetime.fromtimestamp
    evidence = Evidence(at(20, UTC), "0000000a")
    evidence.holds.append(Hold("1", 1, at(10, UTC)))
    pulses = [Pulse(0, 2, is_well=True), Pulse(2, 10, is_well=False), Pulse(10, 12, is_well=True)]
    assert str(sight(evidence, pulses)) == (
        "healthy: 4.0 s of 12.0 s; holds judged: 1 of 1 that ran out"
    )
