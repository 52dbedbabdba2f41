"""Errands: who may make a call, when, and with which key."""

from datetime import timedelta

import pytest

from command_service.payment.errands import KEY_LIFE, LEASE, RESOLVE_PATIENCE, Errand, Task
from tests.command_service.payment.tellings import NOW

SECOND = timedelta(seconds=1)


@pytest.fixture
def errand() -> Errand:
    return Errand.claimed_at_once(Task.CAPTURE, NOW, amount_minor=5)


def test_a_claimed_call_is_nobody_elses_for_as_long_as_it_takes(errand: Errand) -> None:
    for is_urgent in (False, True):
        assert not errand.is_free(NOW + LEASE - SECOND, is_urgent=is_urgent)
        assert errand.is_free(NOW + LEASE, is_urgent=is_urgent)


def test_a_customer_who_waits_cuts_a_pause_short_and_a_worker_does_not(errand: Errand) -> None:
    paused = errand.postponed(NOW, None)
    assert not paused.is_free(NOW)
    assert paused.is_free(NOW, is_urgent=True)


def test_pauses_grow_up_to_a_minute(errand: Errand) -> None:
    pauses, now = [], NOW
    for _ in range(9):
        paused = errand.postponed(now, None)
        pauses.append((paused.due_time - now).total_seconds())
        now = paused.due_time
        errand = paused.claimed(now)
    assert pauses == [2, 4, 8, 16, 32, 60, 60, 60, 60]


def test_pauses_between_questions_after_what_is_pending_grow_up_to_six_hours() -> None:
    question, now, pauses = Errand.asking(NOW), NOW, []
    for _ in range(11):
        pauses.append((question.due_time - now) // timedelta(minutes=1))
        now = question.due_time
        question = question.claimed(now).postponed(now, None)
    assert pauses == [1, 2, 4, 8, 16, 32, 64, 128, 256, 360, 360]


def test_a_pause_is_never_shorter_than_the_provider_asks_for(errand: Errand) -> None:
    assert errand.postponed(NOW, 90).due_time == NOW + timedelta(seconds=90)
    assert errand.postponed(NOW, 0.1).due_time == NOW + timedelta(seconds=2)


def test_the_deadline_of_an_unknown_outcome_is_set_once(errand: Errand) -> None:
    first = errand.lost(NOW, is_key_spent=False)
    later = first.claimed(first.due_time).lost(first.due_time, is_key_spent=True)
    assert first.resolve_deadline == later.resolve_deadline == NOW + RESOLVE_PATIENCE
    assert (first.is_key_spent, later.is_key_spent) == (False, True)
    assert later.claimed(later.due_time).lost(later.due_time, is_key_spent=False).is_key_spent


def test_the_key_stays_until_it_is_spent_and_without_trace(errand: Errand) -> None:
    again = errand.postponed(NOW, None).claimed(NOW + LEASE)
    lost = again.lost(NOW + LEASE, is_key_spent=True)
    assert errand.key("o1.1") == again.key("o1.1") == lost.key("o1.1") == "o1.1:capture:1"
    renewed = lost.renewed(NOW + LEASE)
    assert renewed.key("o1.1") == "o1.1:capture:2"
    assert renewed.is_free(NOW + LEASE)
    assert not renewed.is_key_spent
    assert renewed.is_unknown


def test_every_attempt_has_a_name_of_its_own(errand: Errand) -> None:
    again = errand.postponed(NOW, None).claimed(NOW + LEASE)
    assert errand.attempt("o1.1") == "o1.1:capture:1:1"
    assert again.attempt("o1.1") == "o1.1:capture:1:2"


def test_a_call_claimed_twice_in_one_decision_is_one_attempt(errand: Errand) -> None:
    assert errand.claimed(NOW) == errand


def test_the_time_of_the_attempt_before_is_remembered(errand: Errand) -> None:
    assert errand.last_sent_time is None
    assert errand.claimed(NOW + LEASE).last_sent_time == NOW
    assert (errand.sent_ago, errand.claimed(NOW + LEASE).sent_ago) == (None, LEASE)


def test_an_attempt_that_had_no_effect_does_not_count_as_sent(errand: Errand) -> None:
    assert errand.postponed(NOW, None).claimed(NOW + LEASE).last_sent_time is None
    asked = errand.lost(NOW, is_key_spent=False).claimed(NOW + LEASE)
    asked_again = asked.postponed(NOW + LEASE, 60).claimed(NOW + 3 * LEASE)
    assert asked.last_sent_time == asked_again.last_sent_time == NOW
    assert errand.postponed(NOW, None).claimed(NOW + KEY_LIFE + SECOND).must_ask is False
    assert (
        asked_again.lost(NOW + 3 * LEASE, is_key_spent=False).claimed(NOW + 4 * LEASE).last_sent_time
        == NOW + 3 * LEASE
    )


def test_a_call_that_may_have_been_made_long_ago_is_asked_about_first(errand: Errand) -> None:
    assert not errand.must_ask
    assert not errand.claimed(NOW + KEY_LIFE).must_ask
    assert errand.claimed(NOW + KEY_LIFE + SECOND).must_ask
    assert errand.lost(NOW, is_key_spent=False).must_ask


def test_a_key_is_good_while_the_provider_is_sure_to_know_it(errand: Errand) -> None:
    lost = errand.lost(NOW, is_key_spent=False)
    assert errand.is_key_good
    assert lost.claimed(NOW + KEY_LIFE).is_key_good
    assert not lost.claimed(NOW + KEY_LIFE + SECOND).is_key_good
    often = lost.claimed(NOW + KEY_LIFE).lost(NOW + KEY_LIFE, is_key_spent=False)
    assert not often.claimed(NOW + KEY_LIFE + SECOND).is_key_good, "its first use counts"


def test_the_time_when_a_key_was_spent_is_that_of_the_first_word_of_it(errand: Errand) -> None:
    spent = errand.lost(NOW, is_key_spent=True)
    assert not spent.is_key_good
    again = spent.claimed(NOW + LEASE).lost(NOW + LEASE, is_key_spent=True)
    assert again.key_spent_time == NOW
    assert again.renewed(NOW + LEASE).key_spent_time is None
