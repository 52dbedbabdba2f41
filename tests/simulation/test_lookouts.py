"""What becomes of a worker's lock when its connection fails, on a simulated clock: it takes seconds."""

import asyncio
from random import Random

import pytest

from command_service.database_failures import (
    ConnectionLost,
    DatabaseFailure,
    FellSilent,
    Interrupted,
)
from command_service.lone_worker import WorkerLock
from tests.simulation.chance import NearlyOne
from tests.simulation.database import Database
from tests.simulation.lookouts import IDLE_SECONDS_MAX, PaymentLookoutInMemory
from tests.simulation.loop import SimulatedLoop
from tests.simulation.unit_of_work import Conditions, Fault

PAYMENTS = WorkerLock.PAYMENTS.value


FAILURES: dict[Fault, type[DatabaseFailure]] = {
    Fault.CUT_BEFORE: ConnectionLost,
    Fault.CUT_AFTER: ConnectionLost,
    Fault.SILENCE_BEFORE: FellSilent,
    Fault.SILENCE_AFTER: FellSilent,
    Fault.STALL: Interrupted,
}


@pytest.mark.parametrize("fault", FAILURES)
def test_a_lock_is_nobodys_while_the_server_does_not_notice(fault: Fault) -> None:
    loop = SimulatedLoop(Random(0), is_shuffled=False)
    chance = NearlyOne()
    bad = Conditions(chance, faults=(fault,))

    async def history() -> None:
        database = Database(loop, {})
        first = PaymentLookoutInMemory(database, bad)
        second = PaymentLookoutInMemory(database, Conditions(chance))
        assert await first.take_worker_lock(PAYMENTS)
        bad.fault_rate = 1.0
        asking = asyncio.ensure_future(first.log_position())
        await loop.pause(0.9 * IDLE_SECONDS_MAX)
        assert not await second.take_worker_lock(PAYMENTS)
        await loop.pause(0.2 * IDLE_SECONDS_MAX)
        assert await second.take_worker_lock(PAYMENTS)
        with pytest.raises(FAILURES[fault]):
            await asking
        first.drop()
        bad.fault_rate = 0.0
        assert not await first.take_worker_lock(PAYMENTS)
        assert await second.take_worker_lock(PAYMENTS), "it is still the second one's"

    loop.run(history())


def test_a_lock_whose_answer_was_lost_is_held_all_the_same() -> None:
    loop = SimulatedLoop(Random(0), is_shuffled=False)
    chance = NearlyOne()
    conditions = Conditions(chance, faults=(Fault.CUT_AFTER,), fault_rate=1.0)

    async def history() -> None:
        first = PaymentLookoutInMemory(Database(loop, {}), conditions)
        with pytest.raises(ConnectionLost):
            await first.take_worker_lock(PAYMENTS)
        conditions.fault_rate = 0.0
        assert not await first.take_worker_lock(PAYMENTS), "its new session does not have it"
        await loop.pause(IDLE_SECONDS_MAX)
        assert await first.take_worker_lock(PAYMENTS)

    loop.run(history())


def test_a_session_that_is_ended_by_the_server_lets_go_at_once() -> None:
    loop = SimulatedLoop(Random(0), is_shuffled=False)
    conditions = Conditions(NearlyOne(), faults=(Fault.TERMINATED,))

    async def history() -> None:
        database = Database(loop, {})
        first, second = (PaymentLookoutInMemory(database, conditions) for _ in range(2))
        assert await first.take_worker_lock(PAYMENTS)
        conditions.fault_rate = 1.0
        with pytest.raises(Interrupted):
            await first.log_position()
        conditions.fault_rate = 0.0
        assert await second.take_worker_lock(PAYMENTS)

    loop.run(history())
