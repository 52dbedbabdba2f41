"""How new an answer must be, and waiting until the views are.

However many callers wait, one task asks Redis for all of them.
"""

import asyncio
import bisect
import itertools
import operator
from typing import NamedTuple

from query_service.errors import ReadModelUnavailable
from query_service.waiting import Poll, fail, tell, told_in_time
from read_models.checkpoints import Checkpoint, MalformedTokenError, Token
from read_models.connections import REDIS_AWAY, Connection
from read_models.reading import read_checkpoints
from serving.failures import InvalidField
from serving.interceptor import ServicerContext

WAIT_SECONDS_MAX = 2.0
"""Unless told otherwise. Projections are milliseconds behind; after two seconds they hang, and the
caller should know."""

ANSWER_MARGIN_SECONDS = 0.02
"""Kept of the caller's deadline to tell it why there is no answer."""

POLL_SECONDS = 0.002
"""A fraction of what a batch takes from COMMIT to its views."""


class Freshness(NamedTuple):
    """What a caller asked for. token: None takes whatever is there; until: by the loop's clock."""

    token: Token | None
    until: float


def freshness(at_least_as_fresh: str, context: ServicerContext, *, wait_seconds_max: float) -> Freshness:
    """Reads the request's token and the call's deadline. wait_seconds_max: for who has a later one.

    Raises:
        InvalidField: the text was never a token.
    """
    remaining = context.time_remaining()
    patience = wait_seconds_max
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
    """What one caller waits for. number: its own, so that goals have an order and no two are equal."""

    position: int
    number: int
    future: "asyncio.Future[bool]"


_POSITION_OF = operator.attrgetter("position")


class CheckpointWatch:
    """Tells when a partition has reached a position."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        # By generation and partition, nearest first: a look touches those that are reached, no others.
        self._goals: dict[tuple[int, int], list[_Goal]] = {}
        self._numbers = itertools.count()
        self._poll = Poll(self._look, pause_seconds=POLL_SECONDS)

    async def reached(self, generation: int, partition: int, position: int, until: float) -> bool:
        """True when the partition is there, or its checkpoint is gone; False when time is up.

        Raises:
            ReadModelUnavailable: Redis went away meanwhile.
        """
        place = (generation, partition)
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        goal = _Goal(position, next(self._numbers), future)
        bisect.insort(self._goals.setdefault(place, []), goal)
        try:
            with self._poll.running():
                return await told_in_time(future, until)
        finally:
            self._forget(place, goal)

    async def close(self) -> None:
        """Stops asking; whoever still waits runs into its deadline."""
        await self._poll.close()

    def _forget(self, place: tuple[int, int], goal: _Goal) -> None:
        goals = self._goals[place]
        del goals[bisect.bisect_left(goals, goal)]
        if not goals:
            del self._goals[place]

    async def _look(self) -> None:
        for generation in {generation for generation, _ in self._goals}:
            partitions = [partition for of, partition in self._goals if of == generation]
            try:
                found = await read_checkpoints(self._connection, generation, partitions)
            except REDIS_AWAY:
                self._give_up(generation)
                continue
            for partition, checkpoint in zip(partitions, found, strict=True):
                for goal in self._reached_goals((generation, partition), checkpoint):
                    tell(goal.future)

    def _reached_goals(self, place: tuple[int, int], checkpoint: Checkpoint | None) -> list[_Goal]:
        goals = self._goals.get(place, [])
        if checkpoint is None:
            return goals
        return goals[: bisect.bisect_right(goals, checkpoint.position, key=_POSITION_OF)]

    def _give_up(self, generation: int) -> None:
        for (of, _), goals in self._goals.items():
            if of == generation:
                for goal in goals:
                    fail(goal.future, ReadModelUnavailable())
