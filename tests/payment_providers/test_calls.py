"""How calls are repeated: in virtual time, with seeded chance."""

import asyncio
import selectors
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from random import Random
from typing import Any, TypeVar

import pytest

from payment_providers.breaker import FAILURE_COUNT_MAX, Breaker, BreakerOpen, BreakerState
from payment_providers.calls import CallLimits, Calls
from payment_providers.port import (
    Declined,
    KeySpent,
    NotAccepted,
    NotDone,
    OutcomeUnknown,
    ProviderFailure,
    Unreachable,
)

T = TypeVar("T")

LIMITS = CallLimits(
    attempt_seconds_max=10.0, total_seconds_max=15.0, repeat_count_max=2, pause_seconds=0.2
)


class JumpingSelector(selectors.SelectSelector):
    """Instead of waiting, says how long it would have."""

    waited_seconds = 0.0

    def select(self, timeout: float | None = None) -> Any:
        assert timeout is not None, "nothing would ever happen again"
        self.waited_seconds += max(timeout, 0.0)
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop whose time passes only while everybody sleeps."""

    def __init__(self) -> None:
        self._jumping = JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.waited_seconds


def run(main: Coroutine[Any, Any, T]) -> T:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)


def now() -> float:
    return asyncio.get_running_loop().time()


@dataclass(slots=True)
class Provider:
    """Answers each attempt with the next of `outcomes`: a failure, seconds of silence, or an answer."""

    outcomes: list[ProviderFailure | float | str]
    attempt_times: list[float] = field(default_factory=list)

    async def answer(self) -> str:
        self.attempt_times.append(now())
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, ProviderFailure):
            raise outcome
        if isinstance(outcome, float):
            await asyncio.sleep(outcome)
            return "late"
        return outcome


def calls(limits: CallLimits = LIMITS) -> Calls:
    return Calls(Breaker(now), limits, Random(7))


async def failure_of(made: Awaitable[object]) -> ProviderFailure:
    with pytest.raises(ProviderFailure) as caught:
        await made
    return caught.value


def outcome_of(
    *outcomes: ProviderFailure | float | str, is_repeatable: bool = True
) -> tuple[str | ProviderFailure, list[float]]:
    """What a caller gets, and when each attempt was made."""

    async def make() -> tuple[str | ProviderFailure, list[float]]:
        provider = Provider(list(outcomes))
        try:
            told = await calls().make(provider.answer, is_repeatable=is_repeatable)
        except ProviderFailure as failure:
            return failure, provider.attempt_times
        return told, provider.attempt_times

    return run(make())


def test_an_answer_takes_one_attempt() -> None:
    assert outcome_of("fine") == ("fine", [0.0])


@pytest.mark.parametrize(
    "failure", [NotDone("busy"), Unreachable("connection"), OutcomeUnknown("connection")]
)
def test_what_may_be_repeated_is_repeated_twice_at_most(failure: ProviderFailure) -> None:
    told, times = outcome_of(failure, failure, "fine")
    assert (told, len(times)) == ("fine", 3)
    told, times = outcome_of(failure, failure, failure, "too late")
    assert (told, len(times)) == (failure, 3)


@pytest.mark.parametrize(
    "failure", [NotAccepted("no"), Declined("no_funds"), KeySpent("http_500"), BreakerOpen("open")]
)
def test_what_would_only_fail_again_is_not_repeated(failure: ProviderFailure) -> None:
    assert outcome_of(failure, "never") == (failure, [0.0])


def test_a_call_that_could_have_two_effects_is_repeated_only_if_it_had_none() -> None:
    unknown = OutcomeUnknown("connection")
    assert outcome_of(unknown, "never", is_repeatable=False) == (unknown, [0.0])
    told, times = outcome_of(NotDone("busy"), unknown, "never", is_repeatable=False)
    assert (told, len(times)) == (unknown, 2)
    assert outcome_of(Unreachable("connection"), "fine", is_repeatable=False)[0] == "fine"


def test_a_pause_grows_and_is_of_random_length_within_bounds() -> None:
    _, (start, second, third) = outcome_of(NotDone("busy"), NotDone("busy"), "fine")
    chance = Random(7)
    first_pause, second_pause = 0.2 * chance.uniform(0.5, 1.5), 0.4 * chance.uniform(0.5, 1.5)
    assert (second - start, third - second) == pytest.approx((first_pause, second_pause))
    assert 0.1 <= first_pause <= 0.3
    assert 0.2 <= second_pause <= 0.6


def test_two_callers_do_not_come_back_together() -> None:
    async def pauses(seed: int) -> list[float]:
        provider = Provider([NotDone("busy"), NotDone("busy"), "fine"])
        await Calls(Breaker(now), LIMITS, Random(seed)).make(provider.answer)
        return provider.attempt_times

    assert run(pauses(1)) == run(pauses(1))
    assert run(pauses(1)) != run(pauses(2))


def test_what_the_provider_asks_for_is_waited_for() -> None:
    told, times = outcome_of(NotDone("busy", retry_after_seconds=6.0), "fine")
    assert (told, times) == ("fine", [0.0, pytest.approx(6.0)])


def test_a_wait_beyond_the_time_there_is_is_not_begun() -> None:
    async def make() -> float:
        busy = NotDone("busy", retry_after_seconds=15.0)
        assert await failure_of(calls().make(Provider([busy]).answer)) is busy
        return now()

    assert run(make()) == 0.0


def test_a_failure_that_is_known_is_not_risked_for_an_attempt_of_no_time() -> None:
    for rest_seconds, attempt_count in ((14.1, 1), (13.9, 2)):
        busy = NotDone("busy", retry_after_seconds=rest_seconds)
        told, times = outcome_of(busy, 60.0)
        assert len(times) == attempt_count
        if attempt_count == 1:
            assert told is busy
        else:
            assert isinstance(told, OutcomeUnknown)


def test_what_an_earlier_attempt_left_open_is_not_closed_by_one_that_had_no_effect() -> None:
    lost = OutcomeUnknown("connection")
    busy = NotDone("busy", retry_after_seconds=60.0)
    assert outcome_of(lost, busy, "never")[0] is lost
    assert outcome_of(lost, NotAccepted("no"))[0] != lost
    assert outcome_of(lost, Unreachable("x"), "fine")[0] == "fine"


def test_a_breaker_that_opens_between_two_attempts_does_not_close_it_either() -> None:
    async def make() -> None:
        made = calls(CallLimits(repeat_count_max=0))
        for _ in range(FAILURE_COUNT_MAX - 1):
            await failure_of(made.make(Provider([Unreachable("x")]).answer))
        lost = OutcomeUnknown("connection")
        repeating = Calls(made.breaker, LIMITS, Random(7))
        assert await failure_of(repeating.make(Provider([lost, "never"]).answer)) is lost

    run(make())


def test_the_first_attempt_is_made_however_little_time_there_is() -> None:
    hasty = CallLimits(total_seconds_max=0.5)
    assert run(calls(hasty).make(Provider([0.4]).answer)) == "late"


def test_silence_ends_with_the_attempt_and_then_with_the_whole_call() -> None:
    told, times = outcome_of(60.0, 60.0, "too late")
    assert isinstance(told, OutcomeUnknown)
    assert told.code == "timeout"
    assert times[0] == 0.0
    assert times[1] == pytest.approx(10.2, abs=0.1)
    assert len(times) == 2

    async def seconds() -> float:
        await failure_of(calls().make(Provider([60.0, 60.0]).answer))
        return now()

    assert run(seconds()) == pytest.approx(15.0)


def test_an_answer_just_in_time_counts() -> None:
    assert outcome_of(9.9) == ("late", [0.0])


def test_whoever_does_not_answer_opens_the_breaker() -> None:
    once = CallLimits(repeat_count_max=0)

    async def fail(failure: ProviderFailure | float) -> BreakerState:
        made = calls(once)
        for _ in range(FAILURE_COUNT_MAX):
            await failure_of(made.make(Provider([failure]).answer))
        return made.breaker.state

    for ill in (60.0, OutcomeUnknown("http_500"), Unreachable("connection")):
        assert run(fail(ill)) is BreakerState.OPEN
    for well in (NotAccepted("no"), Declined("no"), NotDone("http_429"), KeySpent("http_500")):
        assert run(fail(well)) is BreakerState.CLOSED


async def opened(breaker_of: Calls) -> None:
    """Has the provider fail until the breaker opens."""
    while breaker_of.breaker.state is BreakerState.CLOSED:
        await failure_of(breaker_of.make(Provider([Unreachable("x")] * 3).answer))


def test_an_open_breaker_ends_the_repetitions_and_sends_nothing() -> None:
    async def make() -> None:
        made = calls()
        provider = Provider([Unreachable("x")] * 20)
        failures = [await failure_of(made.make(provider.answer)) for _ in range(3)]
        assert [type(failure) for failure in failures] == [Unreachable, BreakerOpen, BreakerOpen]
        assert len(provider.attempt_times) == FAILURE_COUNT_MAX

    run(make())


def test_one_probe_asks_for_all_who_wait() -> None:
    async def make() -> None:
        made = calls()
        await opened(made)
        await asyncio.sleep(5.0)
        provider = Provider([1.0, "fine"])
        told = await asyncio.gather(
            *(made.make(provider.answer) for _ in range(4)), return_exceptions=True
        )
        assert told[0] == "late"
        assert [type(each) for each in told[1:]] == [BreakerOpen] * 3
        assert await made.make(provider.answer) == "fine"
        assert made.breaker.state is BreakerState.CLOSED

    run(make())


def test_a_caller_that_goes_away_is_no_failure_and_keeps_no_probe() -> None:
    async def make() -> None:
        made = calls()
        await opened(made)
        await asyncio.sleep(5.0)
        probe = asyncio.create_task(made.make(Provider([60.0]).answer))
        await asyncio.sleep(1.0)
        probe.cancel()
        with pytest.raises(asyncio.CancelledError):
            await probe
        assert made.breaker.state is BreakerState.HALF_OPEN
        assert await made.make(Provider(["fine"]).answer) == "fine"

    run(make())


def test_a_caller_that_goes_away_in_a_pause_makes_no_further_attempt() -> None:
    async def make() -> int:
        provider = Provider([NotDone("busy", retry_after_seconds=5.0), "never"])
        waiting = asyncio.create_task(calls().make(provider.answer))
        await asyncio.sleep(1.0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await asyncio.sleep(60.0)
        return len(provider.attempt_times)

    assert run(make()) == 1


def test_a_mistake_of_ours_is_not_the_providers_failure() -> None:
    async def make() -> None:
        made = calls()

        async def mistaken() -> str:
            raise KeyError("ours")

        attempt: Callable[[], Awaitable[str]] = mistaken
        for _ in range(FAILURE_COUNT_MAX + 1):
            with pytest.raises(KeyError):
                await made.make(attempt)
        assert made.breaker.state is BreakerState.CLOSED

    run(make())
