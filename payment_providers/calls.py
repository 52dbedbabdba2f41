"""How every call to a provider is made: in limited time, repeated with care, through its breaker."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import Random
from typing import TypeVar

from payment_providers.breaker import OPEN_SECONDS, Breaker, BreakerOpen, Passage
from payment_providers.port import (
    KeySpent,
    NotDone,
    OutcomeUnknown,
    ProviderFailure,
    Unreachable,
)

AnswerT = TypeVar("AnswerT")


@dataclass(frozen=True, slots=True)
class CallLimits:
    """Bounds of one call with all its repetitions.

    attempt_seconds_max: a provider's own slow answers take up to 10 s; later ones are asked for by the
    worker. attempt_seconds_min: a repetition with less time left would likely be cut off, and make "it
    had no effect" into "nobody knows". total_seconds_max: what a customer waits at most.
    repeat_count_max: more is the worker's business. breaker_open_seconds: after several calls in a row
    have failed, nobody is called for so long.
    """

    attempt_seconds_max: float = 10.0
    attempt_seconds_min: float = 1.0
    total_seconds_max: float = 15.0
    repeat_count_max: int = 2
    pause_seconds: float = 0.2
    breaker_open_seconds: float = OPEN_SECONDS


class Calls:
    """Makes the calls to one provider. chance: for jitter."""

    def __init__(self, breaker: Breaker, limits: CallLimits, chance: Random) -> None:
        self.breaker = breaker
        self._limits = limits
        self._chance = chance

    async def make(
        self, call: Callable[[], Awaitable[AnswerT]], *, is_repeatable: bool = True
    ) -> AnswerT:
        """The answer of the call, which is made again while that is safe and there is time.

        is_repeatable: False when a second call could have a second effect; then only a NotDone is
        repeated.

        Raises:
            ProviderFailure: of the last attempt; of an earlier one, if that may have had an effect and
                the last one had none.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + self._limits.total_seconds_max
        repeat_count = 0
        unknown: OutcomeUnknown | None = None
        while True:
            try:
                return await self._attempt(call, end - loop.time())
            except ProviderFailure as failure:
                unknown = failure if isinstance(failure, OutcomeUnknown) else unknown
                pause_seconds = self._pause_seconds(failure, repeat_count)
                may_repeat = _may_repeat(failure, is_repeatable=is_repeatable)
                is_spent = repeat_count >= self._limits.repeat_count_max
                left_seconds = end - loop.time() - pause_seconds
                if not may_repeat or is_spent or left_seconds < self._limits.attempt_seconds_min:
                    if unknown is not None and isinstance(failure, NotDone):
                        raise unknown from failure
                    raise
            repeat_count += 1
            await asyncio.sleep(pause_seconds)

    async def _attempt(self, call: Callable[[], Awaitable[AnswerT]], left_seconds: float) -> AnswerT:
        passage = self.breaker.enter()
        try:
            async with asyncio.timeout(min(left_seconds, self._limits.attempt_seconds_max)):
                answer = await call()
        except TimeoutError:
            self.breaker.failed(passage)
            raise OutcomeUnknown("timeout") from None
        except ProviderFailure as failure:
            self._count(failure, passage)
            raise
        except BaseException:
            self.breaker.abandoned(passage)
            raise
        self.breaker.succeeded()
        return answer

    def _count(self, failure: ProviderFailure, passage: Passage) -> None:
        """Whoever answers "no", "not so often" or "as I said" is well."""
        is_ill = isinstance(failure, Unreachable | OutcomeUnknown) and not isinstance(failure, KeySpent)
        if is_ill:
            self.breaker.failed(passage)
        else:
            self.breaker.succeeded()

    def _pause_seconds(self, failure: ProviderFailure, repeat_count: int) -> float:
        """At least what the provider asks for; else longer each time, of random length."""
        jittered = self._limits.pause_seconds * float(1 << repeat_count) * self._chance.uniform(0.5, 1.5)
        return max(failure.retry_after_seconds or 0.0, jittered)


def _may_repeat(failure: ProviderFailure, *, is_repeatable: bool) -> bool:
    if isinstance(failure, BreakerOpen | KeySpent):
        return False
    return isinstance(failure, NotDone) or (is_repeatable and isinstance(failure, OutcomeUnknown))
