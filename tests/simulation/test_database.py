"""What the contract cannot ask of both: moments that only a simulated clock can hit."""

import asyncio
from collections.abc import Awaitable, Callable
from random import Random

import pytest

from command_service.database_failures import Interrupted
from command_service.inventory.domain import STOCK
from tests.simulation.database import Database
from tests.simulation.loop import SimulatedLoop, StuckError, sleep
from tests.simulation.workloads import stock_of

MUG = (STOCK.rank, "mug")


def test_a_lock_had_in_the_moment_of_the_end_is_free_again() -> None:
    """Found by a seed: the lock was given, and the transaction ended before it woke."""
    loop = SimulatedLoop(Random(0), is_shuffled=False)

    async def history() -> None:
        database = Database(loop, {MUG: stock_of("mug", 1)})
        first, second, third = (database.begin(name) for name in ("first", "second", "third"))
        await database.acquire(first, MUG, is_exclusive=True)
        waiting = asyncio.ensure_future(database.acquire(second, MUG, is_exclusive=True))
        await loop.pause(0.1)
        database.commit(first)
        database.abort(second)
        await database.acquire(third, MUG, is_exclusive=True)
        with pytest.raises(Interrupted):
            await waiting
        database.commit(third)
        assert (database.locks, database.open) == ({}, {})

    loop.run(history())


def test_a_history_that_cannot_go_on_is_found() -> None:
    loop = SimulatedLoop(Random(0), is_shuffled=False)

    async def wait() -> None:
        await loop.create_future()

    with pytest.raises(StuckError, match="nothing is left to happen"):
        loop.run(wait())


@pytest.mark.parametrize(
    "wait", [lambda _: asyncio.sleep(0), lambda _: sleep(0), lambda loop: loop.pause(1.0)]
)
def test_a_history_that_goes_round_in_circles_is_found(
    wait: Callable[[SimulatedLoop], Awaitable[None]],
) -> None:
    """Also where it never comes back to the loop."""
    loop = SimulatedLoop(Random(0), is_shuffled=False)

    async def circle() -> None:
        while True:
            await wait(loop)

    with pytest.raises(StuckError, match="it never ends"):
        loop.run(circle())
