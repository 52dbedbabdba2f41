"""The breaker: when it opens, how long it rests, and who asks whether that is over."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from payment_providers.breaker import (
    FAILURE_COUNT_MAX,
    OPEN_SECONDS,
    Breaker,
    BreakerOpen,
    BreakerState,
    Passage,
)
from payment_providers.port import NotDone


@dataclass(slots=True)
class Clock:
    """Seconds, as a test has them."""

    seconds: float = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    return Breaker(clock)


def fail(breaker: Breaker, count: int = FAILURE_COUNT_MAX) -> None:
    for _ in range(count):
        breaker.failed(breaker.enter())


def half_open(breaker: Breaker, clock: Clock) -> None:
    fail(breaker)
    clock.seconds += OPEN_SECONDS
    assert breaker.state is BreakerState.HALF_OPEN


def state_of(breaker: Breaker) -> BreakerState:
    return breaker.state


def test_it_rests_as_long_as_is_set(clock: Clock) -> None:
    breaker = Breaker(clock, open_seconds=0.5)
    fail(breaker)
    clock.seconds += 0.25
    assert state_of(breaker) is BreakerState.OPEN
    clock.seconds += 0.25
    assert state_of(breaker) is BreakerState.HALF_OPEN


def test_it_opens_with_the_fifth_failure_in_a_row(breaker: Breaker) -> None:
    fail(breaker, FAILURE_COUNT_MAX - 1)
    assert state_of(breaker) is BreakerState.CLOSED
    fail(breaker, 1)
    assert state_of(breaker) is BreakerState.OPEN


def test_a_success_between_starts_the_count_anew(breaker: Breaker) -> None:
    fail(breaker, FAILURE_COUNT_MAX - 1)
    breaker.enter()
    breaker.succeeded()
    fail(breaker, FAILURE_COUNT_MAX - 1)
    assert breaker.state is BreakerState.CLOSED


def test_an_open_one_refuses_at_once_and_says_for_how_long(breaker: Breaker, clock: Clock) -> None:
    fail(breaker)
    clock.seconds += OPEN_SECONDS - 2.0
    with pytest.raises(BreakerOpen) as refused:
        breaker.enter()
    assert refused.value.retry_after_seconds == pytest.approx(2.0)
    assert isinstance(refused.value, NotDone)
    assert refused.value.code == "circuit_open"


def test_a_refused_call_changes_nothing(breaker: Breaker, clock: Clock) -> None:
    fail(breaker)
    clock.seconds += OPEN_SECONDS / 2
    with pytest.raises(BreakerOpen):
        breaker.enter()
    clock.seconds += OPEN_SECONDS / 2
    assert breaker.state is BreakerState.HALF_OPEN


def test_after_the_rest_one_probe_goes_and_the_others_wait(breaker: Breaker, clock: Clock) -> None:
    half_open(breaker, clock)
    breaker.enter()
    assert state_of(breaker) is BreakerState.OPEN
    for _ in range(3):
        with pytest.raises(BreakerOpen) as refused:
            breaker.enter()
        assert refused.value.retry_after_seconds == pytest.approx(0.1)


def test_a_probe_that_succeeds_closes_it(breaker: Breaker, clock: Clock) -> None:
    half_open(breaker, clock)
    breaker.enter()
    breaker.succeeded()
    assert state_of(breaker) is BreakerState.CLOSED
    fail(breaker, FAILURE_COUNT_MAX - 1)
    assert state_of(breaker) is BreakerState.CLOSED


def test_a_probe_that_fails_opens_it_for_another_rest(breaker: Breaker, clock: Clock) -> None:
    half_open(breaker, clock)
    fail(breaker, 1)
    assert state_of(breaker) is BreakerState.OPEN
    clock.seconds += OPEN_SECONDS
    assert state_of(breaker) is BreakerState.HALF_OPEN


def test_a_probe_that_was_given_up_leaves_the_next_one_to_ask(breaker: Breaker, clock: Clock) -> None:
    half_open(breaker, clock)
    breaker.abandoned(breaker.enter())
    assert state_of(breaker) is BreakerState.HALF_OPEN
    breaker.enter()
    with pytest.raises(BreakerOpen):
        breaker.enter()


def test_a_call_that_was_given_up_is_no_failure(breaker: Breaker) -> None:
    fail(breaker, FAILURE_COUNT_MAX - 1)
    breaker.abandoned(breaker.enter())
    assert breaker.state is BreakerState.CLOSED


@pytest.mark.parametrize("end", [Breaker.abandoned, Breaker.failed])
def test_a_call_from_before_it_opened_lets_no_second_probe_go(
    breaker: Breaker, clock: Clock, end: Callable[[Breaker, Passage], None]
) -> None:
    straggler = breaker.enter()
    half_open(breaker, clock)
    probe = breaker.enter()
    end(breaker, straggler)
    clock.seconds += OPEN_SECONDS
    with pytest.raises(BreakerOpen):
        breaker.enter()
    end(breaker, probe)
    clock.seconds += OPEN_SECONDS
    assert breaker.state is BreakerState.HALF_OPEN
