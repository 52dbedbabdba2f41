"""Calls that nobody made while a provider was away: customers who wait do not wait for them."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

import pytest

from command_service.checkout.advance_order import AdvanceOrder
from command_service.checkout.start_payment import StartPayment
from command_service.lone_worker import ask
from command_service.ordering.domain import ORDER
from command_service.payment.domain import ORDER_PAYMENTS, OrderPayments
from command_service.payment.errands import Errand, Task
from command_service.payment.payments import CaptureMode, PaymentState, Wish
from payment_providers.port import Begun, Flow, PaymentWanted
from tests.command_service.ordering.orders import order
from tests.command_service.payment.tellings import new_payment
from tests.simulation.database import OPENING, Database, Place
from tests.simulation.loop import SimulatedLoop
from tests.simulation.provider import ProviderInMemory
from tests.simulation.shop import Shop, Workload
from tests.simulation.simulation import in_silence
from tests.simulation.unit_of_work import Conditions

ERRAND_COUNT = 1_000
"""Ten times as many as calls may be under way."""

CALL_SECONDS = 4.0
"""All of them take longer than a claim lasts."""

CUSTOMER_COUNT = 30

AT_ONCE_SECONDS = 0.5
"""Of the loop's time: for the commit of what the customer wants."""


@dataclass
class SlowProvider(ProviderInMemory):
    """Takes its time, and notes when it was called for each payment."""

    call_times: dict[str, list[float]] = field(default_factory=dict)

    async def begin(self, payment: PaymentWanted, *, key: str) -> Begun:
        self.call_times.setdefault(payment.payment_id, []).append(self.loop.time())
        await self.loop.pause(CALL_SECONDS)
        return await super().begin(payment, key=key)


@pytest.fixture(autouse=True)
def silence() -> Iterator[None]:
    with in_silence():
        yield


def backlog() -> dict[Place, Any]:
    """Orders whose calls were claimed once, by a process that is gone; and one for each customer."""
    opened = order()
    rows: dict[Place, Any] = {}
    for number in range(ERRAND_COUNT):
        order_id = f"left{number}"
        errand = Errand(Task.BEGIN, OPENING, attempt_count=1, claim_time=OPENING)
        payment = new_payment(payment_id=f"{order_id}.1", order_id=order_id, errand=errand)
        rows[ORDER.rank, order_id] = replace(opened, order_id=order_id)
        rows[ORDER_PAYMENTS.rank, order_id] = OrderPayments(order_id, (payment,))
    for number in range(CUSTOMER_COUNT):
        rows[ORDER.rank, f"new{number}"] = replace(opened, order_id=f"new{number}")
    return rows


async def wait_as_customer(shop: Shop, provider: SlowProvider, number: int) -> float:
    """Starts a payment while the backlog is worked off; for how long its call was not made."""
    loop = shop.database.loop
    await loop.pause(number * CALL_SECONDS / 3)
    [process], [driver] = shop.processes, shop.processes[0].drivers
    asked_time = loop.time()
    command = StartPayment(
        f"new{number}", "stripe", Flow.EMBEDDED, CaptureMode.AT_ONCE, amount=None, wish=Wish()
    )
    asked = await ask(process.committer, command, request_id=shop.new_id(), actor="customer")
    assert asked.decided is not None
    driven = await driver.drive(asked.decided, claimed_seconds=asked.decided_seconds)
    assert driven.payment.state is PaymentState.AWAITING_CUSTOMER
    [call_time] = provider.call_times[driven.payment.payment_id]
    return call_time - asked_time


def states(shop: Shop) -> Counter[PaymentState]:
    return Counter(
        payment.state
        for (rank, _), payments in shop.database.rows.items()
        if rank is ORDER_PAYMENTS.rank
        for payment in payments.payments
    )


@pytest.mark.parametrize("seed", range(2))
def test_customers_do_not_wait_for_a_backlog_and_each_of_its_calls_is_claimed_once(seed: int) -> None:
    chance = Random(seed)
    loop = SimulatedLoop(chance, is_shuffled=bool(seed))
    database = Database(loop, backlog())
    workload = Workload(database.rows, [], expires=False, is_paid_at_provider=True)
    shop = Shop(database, Conditions(chance), chance, workload)
    provider = SlowProvider(loop, chance, shop.deliver, fault_rate=0.0)
    shop.provider = provider

    async def play() -> list[float]:
        await shop.open(1)
        customers = (wait_as_customer(shop, provider, each) for each in range(CUSTOMER_COUNT))
        waits = await asyncio.gather(*customers)
        assert states(shop)[PaymentState.STARTING] > ERRAND_COUNT / 10, "the backlog is there all along"
        while states(shop)[PaymentState.STARTING]:
            await loop.pause(CALL_SECONDS)
        await shop.close()
        return waits

    assert max(loop.run(play())) < AT_ONCE_SECONDS
    assert states(shop) == {PaymentState.AWAITING_CUSTOMER: ERRAND_COUNT + CUSTOMER_COUNT}
    sent = [asked.command for asked in shop.asked.values()]
    assert Counter(each.order_id for each in sent if isinstance(each, AdvanceOrder)) == {
        f"left{n}": 1 for n in range(ERRAND_COUNT)
    }
    assert {len(times) for times in provider.call_times.values()} == {1}
