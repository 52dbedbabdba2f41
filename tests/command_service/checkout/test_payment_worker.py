"""The worker that leads orders, and the driver that makes calls: one that fails is one that fails."""

import asyncio
from datetime import timedelta
from typing import cast

import pytest

from command_service.checkout.payment_driver import PaymentDriver
from command_service.checkout.payment_worker import Lookout, PaymentWorker, Stretch
from command_service.committer import Committer
from command_service.errors import DatabaseUnavailable, PaymentProviderUnavailable
from command_service.payment.gateway import Gateway
from tests.command_service.checkout.paid_shop import just_now
from tests.command_service.payment.tellings import new_payment

ORDER_COUNT = 250
"""More than are advanced at once."""


class Driver:
    """Notes who is advanced; fails for some."""

    def __init__(self, failing: set[str]) -> None:
        self.failing = failing
        self.advanced: list[str] = []

    async def advance(self, order_id: str) -> None:
        self.advanced.append(order_id)
        if order_id in self.failing:
            raise DatabaseUnavailable


class Log:
    """A lookout that always finds the same orders, and the log at its first position."""

    def __init__(self) -> None:
        self.looked_at_all_count = 0

    async def log_position(self) -> int:
        return 1

    async def orders_to_advance(self, told: Stretch | None, due_count_max: int) -> set[str]:
        if told is not None:
            return set()
        self.looked_at_all_count += 1
        return {f"o{number:03}" for number in range(ORDER_COUNT)}


async def test_an_order_that_fails_does_not_keep_the_others_waiting_and_is_not_forgotten() -> None:
    driver, log = Driver({"o000", "o120"}), Log()
    worker = PaymentWorker(cast("Lookout", log), cast("PaymentDriver", driver))
    for _ in range(2):
        with pytest.raises(DatabaseUnavailable):
            await worker.look(cast("Lookout", log))
    assert len(driver.advanced) == 2 * ORDER_COUNT
    driver.failing.clear()
    await worker.look(cast("Lookout", log))
    assert log.looked_at_all_count == 3
    await worker.look(cast("Lookout", log))
    assert log.looked_at_all_count == 3, "once all went well, only what the log tells is looked at"


async def test_a_claim_that_waits_too_long_for_a_place_is_let_go() -> None:
    gateway = Gateway({}, lease=timedelta(milliseconds=30))
    driver = PaymentDriver(cast("Committer", None), gateway)
    driver._room = asyncio.Semaphore(0)
    with pytest.raises(PaymentProviderUnavailable):
        await driver.drive(new_payment(), claimed_seconds=just_now())
    await driver.drain()
