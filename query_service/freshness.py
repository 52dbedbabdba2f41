"""How new an answer must be, and waiting until the views are.

However many callers wait, one task asks Redis for all of them.
"""

import asyncio
from contextlib import suppress
from typing import NamedTuple

from query_service.errors import ReadModelUnavailable
from read_models.checkpoints import MalformedTokenError, Token
from read_models.connections import REDIS_AWAY, Connection
from read_models.reading import read_checkpoints
from serving.failures import InvalidField
from serving.interceptor import ServicerContext

WAIT_SECONDS_MAX = 2.0
"""Projections are milliseconds behind; after two seconds they hang, and the caller should know."""

ANSWER_MARGIN_SECONDS = 0.02
"""Kept of the caller's deadline to tell it why there is no answer."""

POLL_SECONDS = 0.002
"""A fraction of what a batch takes from COMMIT to its views."""


class Freshness(NamedTuple):
    """What a caller asked for. token: None takes whatever is there; until: by the loop's clock."""

    token: Token | None
    until: float


def freshness(at_least_as_fresh: str, context: ServicerContext) -> Freshness:
    """Reads the request's token and the call's deadline.

    Raises:
        InvalidField: the text was never a token.
    """
    remaining = context.time_remaining()
    patience = WAIT_SECONDS_MAX
    if remaining is not None:
        # Who has a few milliseconds only gets half of them: most answers need less than one.
        patience = min(patience, max(remaining - ANSWER_MARGIN_SECONDS, remaining / 2))
    until = asyncio.get_running_loop().time() + patience
    if not at_least_as_fresh:
        return Freshness(None, until)
    try:
        return Freshness(Token.parse(at_least_as_fresh), until)
    except MalformedTokenError:
        raise InvalidField(field="at_least_as_fresh", description="is not a consistency token") from None


class _Goal(NamedTuple):
    generation: int
    partition: int
    position: int


class CheckpointWatch:
    """Tells when a partition has reached a position."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._waiting: dict[_Goal, asyncio.Future[None]] = {}
        self._poller: asyncio.Task[None] | None = None
        self._deadline_by_goal: dict[_Goal, float] = {}

    async def reached(self, generation: int, partition: int, position: int, until: float) -> bool:
        """True when the partition is there, or its checkpoint is gone; False when time is up.

        Raises:
            ReadModelUnavailable: Redis went away meanwhile.
        """
        loop = asyncio.get_running_loop()
        goal = _Goal(generation, partition, position)
        future = self._waiting.setdefault(goal, loop.create_future())
        if self._poller is None or self._poller.done():
            self._poller = loop.create_task(self._poll())
        # Others may wait for the same goal: whoever gives up must not cancel it.
        done, _ = await asyncio.wait({future}, timeout=until - loop.time())
        if not done:
            return False
        future.result()
        return True

    async def close(self) -> None:
        """Stops asking; whoever still waits runs into its deadline."""
        if self._poller is not None:
            self._poller.cancel()
            with suppress(asyncio.CancelledError):
                await self._poller

    async def _poll(self) -> None:
        while self._waiting:
            await asyncio.sleep(POLL_SECONDS)
            await self._look()
            self._forget_the_late()

    def _forget_the_late(self) -> None:
        """Lets go of goals that nobody can still be waiting for: some positions are never reached."""
        now = asyncio.get_running_loop().time()
        # Made anew, without those that were reached: in a busy service someone always waits.
        self._deadline_by_goal = {
            goal: self._deadline_by_goal.get(goal, now + WAIT_SECONDS_MAX) for goal in self._waiting
        }
        for goal, deadline in self._deadline_by_goal.items():
            if now > deadline:
                self._waiting.pop(goal).set_result(None)

    async def _look(self) -> None:
        for generation in {goal.generation for goal in self._waiting}:
            goals = [goal for goal in self._waiting if goal.generation == generation]
            partitions = sorted({goal.partition for goal in goals})
            try:
                found = await read_checkpoints(self._connection, generation, partitions)
            except REDIS_AWAY as error:
                self._give_up(goals, error)
                continue
            checkpoint_by_partition = dict(zip(partitions, found, strict=True))
            for goal in goals:
                checkpoint = checkpoint_by_partition[goal.partition]
                if checkpoint is None or checkpoint.position >= goal.position:
                    self._waiting.pop(goal).set_result(None)

    def _give_up(self, goals: list[_Goal], error: Exception) -> None:
        for goal in goals:
            future = self._waiting.pop(goal)
            future.set_exception(ReadModelUnavailable())
            # Nobody may be waiting any more; an exception that nobody fetches would be logged.
            future.exception()
