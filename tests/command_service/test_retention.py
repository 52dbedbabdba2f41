"""Stored answers are kept as long as promised, and no longer."""

from command_service.retention import RetentionWorker
from tests.command_service.conftest import CarryOut
from tests.eventually import eventually

STORE = """
INSERT INTO requests (request_id, method, fingerprint, code, response, position, create_time)
VALUES (gen_random_uuid(), %s, '', 0, '', 0, clock_timestamp() - %s::interval)
"""


async def test_answers_older_than_a_week_are_forgotten_and_younger_ones_kept(
    carry_out: CarryOut,
) -> None:
    await carry_out.fetch(STORE, "old", "7 days 1 second")
    await carry_out.fetch(STORE, "young", "6 days 23 hours")
    await RetentionWorker(carry_out.database_url).forget_old(carry_out.session)
    assert await carry_out.fetch("SELECT method FROM requests") == [("young",)]


async def test_a_worker_at_work_forgets_by_itself(carry_out: CarryOut) -> None:
    await carry_out.fetch(STORE, "old", "8 days")
    worker = RetentionWorker(carry_out.database_url)
    await worker.start()

    async def is_forgotten() -> bool:
        return await carry_out.fetch("SELECT method FROM requests") == []

    await eventually(is_forgotten)
    await worker.drain()
