"""A run that proved nothing does not pass for one in which nothing was broken."""

from dataclasses import replace
from io import StringIO

import psycopg
import pytest

from tests.torture.faults import FAULTS
from tests.torture.history import History, Operation, Outcome, Pulse
from tests.torture.running import (
    ACHIEVED,
    ALL_KINDS_SECONDS,
    ANSWERED_FRESHLY,
    is_away,
    unproven,
    untried,
)

MONEY = {"pi_1": (250, 0)}


def eventful_history() -> History:
    history = History(StringIO())
    history.beat(Pulse(0.0, 0.5, is_well=True))
    for method in (*ACHIEVED, *ANSWERED_FRESHLY):
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
    history.ended = [
        replace(each, fresh_as="") if each.method == "GetCart" else each for each in history.ended
    ]
    assert told(history) == ["GetCart never gave a fresh answer"]


def test_a_long_run_without_a_kind_of_fault_proves_nothing_of_it() -> None:
    faults = dict.fromkeys((each.kind for each in FAULTS), 1)
    assert untried(faults, inspection_count=1, seconds=ALL_KINDS_SECONDS) == []
    del faults["fill disk"]
    [found] = untried(faults, inspection_count=1, seconds=ALL_KINDS_SECONDS)
    assert found.explanation == "never: fill disk"
    assert untried(faults, inspection_count=1, seconds=60) == []


def test_a_run_that_nobody_inspected_proves_nothing_of_what_holds_at_every_moment() -> None:
    [found] = untried({}, inspection_count=0, seconds=60)
    assert found.explanation == "nobody inspected while faults struck"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (psycopg.errors.ConnectionFailure(), True),
        (psycopg.errors.AdminShutdown(), True),
        (psycopg.errors.DiskFull(), True),
        (psycopg.errors.InternalError_("could not write: File too large"), True),
        (psycopg.errors.DataCorrupted("invalid page"), False),
        (psycopg.errors.UndefinedColumn(), False),
    ],
)
def test_only_a_database_that_is_away_excuses_an_inspection(
    error: psycopg.Error, expected: bool
) -> None:
    assert is_away(error) is expected
