"""An event loop whose clock, and whose choice of what comes next, are the seed's.

Nothing in it waits: when nothing is ready, time jumps to the next timer. There is no input or output.
"""

import asyncio
from asyncio import events
from collections.abc import Awaitable, Callable, Coroutine, Generator
from contextvars import Context
from heapq import heappop, heappush
from random import Random
from typing import Any, TypeVar, cast

ResultT = TypeVar("ResultT")

STEP_COUNT_MAX = 200_000
"""Of one seed: far more than any takes; a loop that spins is found by it."""

_RUNNING: list["SimulatedLoop"] = []

_sleep = asyncio.sleep


def running_loop() -> asyncio.AbstractEventLoop:
    """In place of asyncio.get_running_loop, which asks the system each time what process this is."""
    return _RUNNING[-1].as_loop


def sleep(delay: float) -> Awaitable[None]:
    """In place of asyncio.sleep: a turn of the loop is over at once where nobody else has one."""
    if delay <= 0 and _RUNNING[-1].skips_a_turn():
        return ELAPSED
    return _sleep(delay)


class _Elapsed:
    """A wait that is over before it is begun."""

    __slots__ = ()

    def __await__(self) -> Generator[None, None, None]:
        yield from ()


ELAPSED = _Elapsed()


class StuckError(Exception):
    """Nothing is left that could happen, or it never ends, and the main task is not done."""


class Handle:
    """A callback that is due, or will be at its time; asyncio asks no more of it."""

    __slots__ = ("args", "callback", "is_cancelled")

    def __init__(self, callback: Callable[..., object], args: tuple[Any, ...]) -> None:
        self.callback = callback
        self.args = args
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True
        self.args = ()

    def cancelled(self) -> bool:
        return self.is_cancelled


class SimulatedLoop:
    """Runs one main coroutine to its end: as much of an event loop as asyncio asks for.

    is_shuffled: callbacks that are ready run in any order, and not in that in which they became so.
    """

    def __init__(self, chance: Random, *, is_shuffled: bool) -> None:
        self.chance = chance.random
        self._is_shuffled = is_shuffled
        self._ready: list[Handle] = []
        self._timers: list[tuple[float, float, int, Handle | asyncio.Future[None]]] = []
        self._now = 0.0
        self._timer_count = 0
        self._skipped_count = 0
        self.errors: list[dict[str, Any]] = []
        self.as_loop = cast("asyncio.AbstractEventLoop", self)

    # --- what asyncio asks of a loop ---------------------------------------------------------------

    def time(self) -> float:
        return self._now

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False

    def call_soon(
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> Handle:
        handle = Handle(callback, args)
        self._ready.append(handle)
        return handle

    def call_at(
        self, when: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> Handle:
        handle = Handle(callback, args)
        self._timer_count += 1
        # Of equal times chance comes first, and then order alone.
        heappush(self._timers, (when, self.chance(), self._timer_count, handle))
        return handle

    def call_later(
        self, delay: float, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> Handle:
        return self.call_at(self._now + delay, callback, *args, context=context)

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self.as_loop)

    def create_task(
        self, coro: Coroutine[Any, Any, ResultT], *, name: str | None = None, context: Any = None
    ) -> asyncio.Task[ResultT]:
        return asyncio.Task(coro, loop=self.as_loop, name=name or "t", context=context)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self.errors.append(context)

    # --- running -----------------------------------------------------------------------------------

    def pause(self, seconds: float) -> Awaitable[None]:
        """Like asyncio.sleep, with less about it: done after a while. To be awaited at once.

        Where nothing can happen before, time passes here: the loop would come back without a detour.
        """
        when, order, timers = self._now + seconds, self.chance(), self._timers
        if (not timers or when < timers[0][0]) and self.skips_a_turn():
            self._now = when
            return ELAPSED
        future: asyncio.Future[None] = asyncio.Future(loop=self.as_loop)
        self._timer_count += 1
        heappush(timers, (when, order, self._timer_count, future))
        return future

    def skips_a_turn(self) -> bool:
        """True where nobody is ready but who runs, and so would be next again.

        But not for ever: who spins is to be found.
        """
        if self._ready or self._skipped_count == STEP_COUNT_MAX:
            return False
        self._skipped_count += 1
        return True

    def forget(self) -> None:
        """Lets go of what would still happen."""
        self._timers.clear()

    def run(self, main: Coroutine[Any, Any, ResultT]) -> ResultT:
        """The main coroutine's result.

        Raises:
            StuckError: it can never be done.
        """
        events._set_running_loop(self.as_loop)
        _RUNNING.append(self)
        try:
            task = self.create_task(main)
            self._run_until(task)
            return task.result()
        finally:
            _RUNNING.pop()
            events._set_running_loop(None)

    def _run_until(self, task: asyncio.Task[Any]) -> None:
        """One callback after another: in one function, for most of a seed's time is spent here."""
        ready, is_shuffled, chance, is_done = self._ready, self._is_shuffled, self.chance, task.done
        for _ in range(STEP_COUNT_MAX):
            if is_done():
                return
            if not ready:
                self._come_to_next_timer()
                continue
            if is_shuffled and (count := len(ready)) > 1:
                index = int(chance() * count)
                handle = ready[index]
                ready[index] = ready[-1]
                ready.pop()
            else:
                handle = ready.pop(0)
            if not handle.is_cancelled:
                # Not in its context: nobody here has context variables.
                handle.callback(*handle.args)
        raise StuckError(f"it never ends: {STEP_COUNT_MAX} steps, {self._now:.1f} s")

    def _come_to_next_timer(self) -> None:
        """Jumps to the next time at which something happens; what does is ready then."""
        timers = self._timers
        while timers:
            when, _, _, due = heappop(timers)
            if not due.cancelled():
                if when > self._now:
                    self._now = when
                if isinstance(due, Handle):
                    self._ready.append(due)
                elif not due.done():
                    due.set_result(None)
                return
        raise StuckError(f"nothing is left to happen after {self._now:.1f} s")
