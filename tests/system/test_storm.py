"""Orders are paid while everything goes wrong; `make storm` does the same with ten times as many."""

import json

import pytest

from ops.service_process import LogLine
from ops.supervisor import SUPERVISOR
from tests.system.storm import Tally, brewing

ORDER_COUNT = 200


@pytest.mark.timeout(600)
async def test_after_a_storm_every_penny_is_where_it_must_be(database_url: str) -> None:
    async with brewing(database_url) as storm:
        await storm.rage(ORDER_COUNT, kill_every_seconds=4.0, on_done=lambda _: None)
        assert storm.tally.kills.total() > 0
        assert sum(storm.tally.faults.values()) > ORDER_COUNT / 5
        await storm.calm()
        verdict = storm.verdict()
    assert storm.tally.complaints == []
    assert verdict.is_exact, verdict
    assert verdict.failed_refunds == 0
    assert sum(verdict.orders_by_state.values()) == ORDER_COUNT


def told(source: str, **entry: object) -> list[str]:
    tally = Tally()
    tally.hear(LogLine(source, json.dumps({"level": "error", "event": "it ended", **entry})))
    return tally.complaints


def test_a_process_that_was_killed_is_no_complaint_and_one_that_crashed_is() -> None:
    assert told(SUPERVISOR, exit_status=-9) == []
    assert told(SUPERVISOR, exit_status=1) == [
        "supervisor: it ended; {'level': 'error', 'exit_status': 1}"
    ]
    assert told(SUPERVISOR, exit_status=-11) != []


def test_what_a_service_logs_as_an_error_is_a_complaint_and_a_warning_is_none() -> None:
    assert told("command_service#0", exit_status=-9) != []
    assert told("command_service#0", level="warning") == []
    tally = Tally()
    tally.hear(LogLine("webhooks#0", "Traceback (most recent call last):"))
    assert tally.complaints == ["webhooks#0: Traceback (most recent call last):"]
