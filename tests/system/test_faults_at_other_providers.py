"""SumUp and PayPal while every fifth call to them goes wrong and all that they tell comes doubled."""

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from shopkeeper.ordering.v1.ordering_pb2 import ORDER_STATE_CANCELLED, ORDER_STATE_PAID, Order
from shopkeeper.payment.v1.payment_pb2 import (
    PAYMENT_FLOW_HOSTED,
    PAYMENT_STATE_AWAITING_CUSTOMER,
    Payment,
)
from tests.ops.command_line import DONE
from tests.sandboxes.deliveries import DeliverySettings
from tests.sandboxes.faults import ArmedFault, FaultKind, FaultSettings
from tests.system.books import Books
from tests.system.client import Client
from tests.system.patient import PatientClient
from tests.system.tills import Till, reconciled, shop_with_tills

ATTEMPT_SECONDS = 1.0
CALM_SECONDS_MAX = 120.0
"""Usually ten: a few growing pauses."""
SKU_ID = "sku"
BEHAVIOURS = (
    *["pays"] * 9,
    *["is declined first"] * 3,
    *["pays slowly"] * 2,
    *["pays twice"] * 2,
    *["leaves"] * 2,
    *["regrets"] * 2,
)


class Customers:
    """Those of one provider. heard: what their requests were answered besides what they were for."""

    def __init__(self, address: str, till: Till, books: Books) -> None:
        self.heard: Counter[str] = Counter()
        self._client = PatientClient(address, self.heard)
        self._till = till
        self._books = books

    async def come(self, behaviour: str, quantity: int) -> None:
        """One comes, orders so much, and behaves like that."""
        order = await self._client.order({SKU_ID: quantity})
        payment = await self._start(order)
        match behaviour:
            case "pays":
                assert await self._till.pay(payment)
            case "is declined first":
                await self._till.decline(payment)
                await self._until_declined(payment)
                assert await self._till.pay(payment)
            case "pays slowly":
                await self._till.begin_to_pay(payment)
                await self._till.settle(payment)
            case "pays twice":
                second = await self._start(order)
                await asyncio.gather(self._till.pay(payment), self._till.pay(second))
            case "leaves":
                await self._client.cancel(order)
            case "regrets":
                assert await self._till.pay(payment)
                await self._until_paid(order)
                await self._client.cancel(order)
            case _:
                raise AssertionError(behaviour)

    async def _start(self, order: Order) -> Payment:
        payment = await self._client.start(order, provider=self._till.name, flow=PAYMENT_FLOW_HOSTED)
        assert payment is not None, self.heard
        return payment

    async def _until_paid(self, order: Order) -> None:
        sql = "SELECT state FROM orders WHERE order_id = %s"
        await self._books.until([(ORDER_STATE_PAID,)], sql, order.order_id)

    async def _until_declined(self, payment: Payment) -> None:
        """The shop knows that the customer has to try again."""
        sql = "SELECT state, failure_code <> '' FROM payments WHERE payment_id = %s"
        expected = [(PAYMENT_STATE_AWAITING_CUSTOMER, True)]
        await self._books.until(expected, sql, payment.payment_id)


@pytest.mark.parametrize("provider", ["sumup", "paypal"])
async def test_after_faults_every_penny_is_where_it_must_be(
    database_url: str, provider: str, tmp_path: Path
) -> None:
    books = Books(database_url)
    deliveries = DeliverySettings(
        seed=5, duplicate_probability=0.5, duplicates_max=3, delay_seconds_max=0.5
    )
    faults = FaultSettings(probability=0.2, seed=5, stall_seconds=2 * ATTEMPT_SECONDS, late_seconds=0.3)
    async with shop_with_tills(
        database_url, deliveries, faults, attempt_seconds_max=ATTEMPT_SECONDS
    ) as (services, tills):
        till, address = tills[provider], services.command_address
        # SumUp's adapter looks a minute long for a refund before it asks again: here each has its
        # effect, and its answer is lost.
        lost_refunds = ArmedFault(FaultKind.RESET_AFTER, "POST", "/v1.0/merchants/", len(BEHAVIOURS))
        tills.sumup.faults.arm(lost_refunds)
        async with Client(address) as client:
            await client.open_shop([SKU_ID], 100)
        customers = Customers(address, till, books)
        coming = [customers.come(each, 1 + n % 3) for n, each in enumerate(BEHAVIOURS)]
        await asyncio.gather(*coming)
        await books.calm(till.deliveries, seconds_max=CALM_SECONDS_MAX)
        assert sum(till.faults.counts.values()) > len(BEHAVIOURS) / 5
        verdict = books.verdict(till.money_by_payment())
        assert verdict.is_exact, verdict
        assert (verdict.failed_refunds, verdict.refunded_minor > 0) == (0, True)
        assert verdict.orders_by_state == {str(ORDER_STATE_PAID): 16, str(ORDER_STATE_CANCELLED): 4}
        till.faults.configure(FaultSettings())
        ended = await reconciled(till, books, tmp_path)
        assert (ended.returncode, ended.stderr) == (DONE, ""), ended.stdout
