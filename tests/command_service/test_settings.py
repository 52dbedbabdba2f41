"""What the environment says of how long things wait reaches whatever waits."""

from collections.abc import Sequence
from typing import Any

import pytest

from command_service import server
from command_service.checkout.expiry import ExpiryWorker
from command_service.checkout.payment_alarms import PaymentAlarms
from command_service.checkout.payment_worker import PaymentWorker
from command_service.checkout.price_windows import PriceWindowWorker
from command_service.committer import Committer
from command_service.lone_worker import Patience
from command_service.retention import RetentionWorker
from command_service.servicing import Door
from command_service.settings import Settings
from serving.server import GrpcServer

WAITS_SECONDS = {
    "DATABASE_SORTING_SECONDS_MAX": 0.001,
    "DATABASE_WARY_SECONDS": 0.002,
    "COMMAND_SECONDS_MAX": 0.003,
    "DRAIN_SECONDS_MAX": 0.004,
    "WORKER_COMMAND_SECONDS_MAX": 0.005,
    "WORKER_REST_SECONDS": 0.006,
    "RETENTION_PAUSE_SECONDS": 0.007,
    "PAYMENT_ALARMS_SECONDS": 0.008,
}


async def test_every_wait_that_is_set_reaches_its_part(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, seconds in WAITS_SECONDS.items():
        monkeypatch.setenv(name, str(seconds))
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("COMMAND_ADDRESS", "127.0.0.1:0")
    made: dict[type, Any] = {}

    def note_door(_server: object, door: Door, *_others: object) -> None:
        made[Door] = door

    async def note_parts(parts: Sequence[object], **_options: object) -> None:
        made.update({type(part): part for part in parts})

    monkeypatch.setattr(server, "_register", note_door)
    monkeypatch.setattr(server, "run", note_parts)
    await server.serve(Settings())
    for lane in (made[Committer]._short, made[Committer]._bulk):
        assert (lane._limits.sorting_seconds_max, lane._limits.wary_seconds) == (0.001, 0.002)
    assert made[Door]._command_seconds_max == 0.003
    assert made[GrpcServer]._drain_seconds_max == 0.004
    workers = [made[kind] for kind in (ExpiryWorker, PriceWindowWorker, RetentionWorker, PaymentWorker)]
    for waits in (*workers, made[PaymentWorker]._driver):
        assert waits._patience == Patience(command_seconds_max=0.005, rest_seconds=0.006)
    assert made[RetentionWorker]._worker._pause_seconds == 0.007
    assert made[PaymentAlarms]._look_seconds == made[PaymentAlarms]._worker._pause_seconds == 0.008
