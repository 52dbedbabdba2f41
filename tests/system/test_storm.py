"""Orders are paid while everything goes wrong; `make storm` does the same with ten times as many."""

import pytest

from tests.system.storm import brewing

ORDER_COUNT = 200


@pytest.mark.timeout(600)
async def test_after_a_storm_every_penny_is_where_it_must_be(database_url: str) -> None:
    async with brewing(database_url) as storm:
        await storm.rage(ORDER_COUNT, kill_every_seconds=4.0, on_done=lambda _: None)
        assert storm.tally.kills.total() > 0
        assert sum(storm.tally.faults.values()) > ORDER_COUNT / 5
        await storm.calm()
        verdict = storm.verdict()
    assert verdict.is_exact, verdict
    assert verdict.failed_refunds == 0
    assert sum(verdict.orders_by_state.values()) == ORDER_COUNT
