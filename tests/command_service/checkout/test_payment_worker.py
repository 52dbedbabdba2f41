"""The worker that leads orders, and the driver that makes calls: one that fails is one that fails."""

import asyncio
from collections.abc import Collection
from datetime import timedelta
from typing import cast

import pytest

from command_service.checkout import payment_worker
from command_service.checkout.payment_driver import PaymentDriver
from command_service.checkout.payment_worker import Lookout, PaymentWorker, Stretch
from command_service.committer import Committer
from command_service.database_failures import ConnectionLost
from command_service.errors import DatabaseUnavailable, Internal, PaymentProviderUnavailable, QueueFull
from command_service.lone_worker import PATIENCE, Patience
from command_service.payment.gateway import Gateway
from tests.command_service.checkout.paid_shop import just_now
from tests.command_service.payment.tellings import new_payment

ORDER_COUNT = 250
"""More than are advanced at once."""


class Driver:
    """Notes who is advanced; fails for some."""

    free_place_count = 100

    def __init__(self) -> None:
        self.errors: dict[str, Exception] = {}
        self.advanced: list[str] = []

    async def advance(self, order_id: str) -> None:
        self.advanced.append(order_id)
        if order_id in self.errors:
            raise self.errors[order_id]


class Log:
    """A lookout that finds the same orders whenever it looks at all, and a log that tells of nothing."""

    def __init__(self) -> None:
        self.looked_at_all_count = 0
        self.told: set[str] = set()
        self.due_count_max = 0
        self.lost_at = ""

    async def log_position(self) -> int:
        self._answer("log_position")
        return 1

    async def orders_to_advance(
        self, told: Stretch | None, due_count_max: int, *, resting: Collection[str]
    ) -> set[str]:
        self._answer("orders_to_advance")
        self.due_count_max = due_count_max
        if told is not None:
            return self.told
        self.looked_at_all_count += 1
        return {f"o{number:03}" for number in range(ORDER_COUNT)}

    def _answer(self, question: str) -> None:
        if question == self.lost_at:
            raise ConnectionLost("lost", code="08")


class Round:
    """A worker's rounds, and what they came to."""

    def __init__(self, patience: Patience = PATIENCE) -> None:
        self.driver, self.log = Driver(), Log()
        self._worker = PaymentWorker(
            cast("Lookout", self.log), cast("PaymentDriver", self.driver), patience
        )

    async def __call__(self) -> list[str]:
        """Who is advanced in it."""
        self.driver.advanced.clear()
        await self._worker.look(cast("Lookout", self.log))
        return sorted(self.driver.advanced)


async def test_an_order_that_fails_keeps_none_waiting_and_is_tried_again_without_a_look_at_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(payment_worker, "REST_OF_PASSING_SECONDS", 3600.0)
    look = Round()
    look.driver.errors = {"o000": DatabaseUnavailable(), "o120": QueueFull(), "o121": KeyError("bug")}
    assert len(await look()) == ORDER_COUNT
    assert await look() == [], "they rest"
    monkeypatch.setattr(payment_worker, "REST_OF_PASSING_SECONDS", 0.0)
    look.log.told = {"o000", "o120"}
    assert await look() == ["o000", "o120"], "who is told of is seen to at once"
    look.log.told = set()
    assert await look() == ["o000", "o120"], "without being told of again"
    look.driver.errors.clear()
    assert await look() == ["o000", "o120"]
    assert await look() == [], "what went well is over, and a mistake of ours rests longer"
    assert look.log.looked_at_all_count == 1


async def test_an_order_that_hit_a_mistake_of_ours_is_tried_again_after_the_rest_that_is_set() -> None:
    look = Round(Patience(rest_seconds=0.0))
    look.driver.errors = {"o007": Internal(error_id="e1"), "o008": KeyError("bug")}
    await look()
    assert await look() == ["o007", "o008"]
    assert look.log.looked_at_all_count == 1


async def test_more_failures_than_are_remembered_make_the_next_look_one_at_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(payment_worker, "FAILED_COUNT_MAX", 2)
    look = Round()
    look.driver.errors = {f"o00{number}": DatabaseUnavailable() for number in range(3)}
    await look()
    del look.driver.errors["o000"]
    assert len(await look()) == ORDER_COUNT
    assert await look() == []
    assert look.log.looked_at_all_count == 2


async def test_what_failed_and_what_is_due_share_the_places_that_customers_leave(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(payment_worker, "REST_OF_PASSING_SECONDS", 0.0)
    look = Round()
    look.driver.errors = {f"o00{number}": DatabaseUnavailable() for number in range(4)}
    await look()
    for free, tried, due in ((30, 4, 6), (23, 3, 0), (20, 0, 0), (-7, 0, 0)):
        look.driver.free_place_count = free
        assert (len(await look()), look.log.due_count_max) == (tried, due)


@pytest.mark.parametrize("question", ["log_position", "orders_to_advance"])
async def test_after_a_look_without_an_answer_all_are_looked_at_for_the_lock_may_have_been_lost(
    question: str,
) -> None:
    look = Round()
    await look()
    look.log.lost_at = question
    with pytest.raises(ConnectionLost):
        await look()
    look.log.lost_at = ""
    assert len(await look()) == ORDER_COUNT
    assert look.log.looked_at_all_count == 2


async def test_a_claim_that_waits_too_long_for_a_place_is_let_go() -> None:
    gateway = Gateway({}, lease=timedelta(milliseconds=30))
    driver = PaymentDriver(cast("Committer", None), gateway)
    driver._room = asyncio.Semaphore(0)
    with pytest.raises(PaymentProviderUnavailable):
        await driver.drive(new_payment(), claimed_seconds=just_now())
    await driver.drain()
