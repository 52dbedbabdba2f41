"""Refunds that people made in SumUp's own tools and recorded, beside equal ones of ours.

SumUp keeps no id of ours with a refund, so one whose answer got lost is looked for by its amount. Taken
for another it is never made, and too little goes back. Not recognised it is made twice: too much does.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
import pytest_asyncio

from command_service.checkout.record_refund import RecordRefund
from command_service.checkout.refund_payment import AskedBack, RefundPayment
from command_service.checkout.report_payment import (
    ReportPayment,
    ReportProviderEvent,
    ReportRefund,
)
from command_service.checkout.start_payment import StartPayment
from command_service.errors import RefundAlreadyRecorded
from command_service.money import Money
from command_service.ordering.domain import Order
from command_service.payment.gateway import Gateway, name_of
from command_service.payment.payments import REFUNDS_BY_HAND_MAX, CaptureMode, Wish
from command_service.payment.refunds import Refund, RefundState
from command_service.payment.reports import Lost, Refused, Told
from payment_providers.port import Flow
from tests.command_service.checkout.paid_shop import paid_shop
from tests.command_service.checkout.provider_in_memory import ProviderShop, ask_back
from tests.command_service.checkout.shop_in_memory import refused
from tests.command_service.conftest import CarryOut
from tests.payment_providers.sumup_shop import Shop as SumUpShop
from tests.payment_providers.sumup_shop import speaking

PART_MINOR = 100
"""Of 500 that were paid."""

A_WHILE = timedelta(minutes=2)
"""Longer than SumUp may take to tell of what was done, and than a call is left to whoever makes it."""

LOST_BEFORE, LOST_AFTER = "reset_before", "error_after"
"""Whether the call that ends without an answer has had its effect."""


@dataclass
class Till:
    """A shop in memory, whose order of 5.00 was paid at the sandbox of SumUp."""

    sumup: SumUpShop
    shop: ProviderShop = field(default_factory=ProviderShop)

    @property
    def order(self) -> Order:
        return self.shop.order()

    @property
    def refunds(self) -> tuple[Refund, ...]:
        return self.shop.payments(self.order).refunds

    @property
    def gateway(self) -> Gateway:
        return Gateway({"sumup": self.sumup.provider})

    async def open(self) -> None:
        self.shop.now = datetime.now(UTC)  # the sandbox lets checkouts expire by its own clock
        order = self.shop.place(mug=2)
        start = StartPayment(order.order_id, "sumup", Flow.EMBEDDED, CaptureMode.AT_ONCE, None, Wish())
        payment = self.shop.carry_out(start)
        begun = await self.gateway.run_payment(payment)
        payment = self.shop.carry_out(ReportPayment(payment.payment_id, begun.report))
        await self.sumup.sandbox.act(f"checkouts/{payment.provider_reference}/pay")
        told = await self.sumup.provider.read(name_of(payment))
        assert told is not None
        self.shop.carry_out(ReportProviderEvent("sumup", Told(told)))

    async def ask_back(self, *, lost: str = "") -> Refund:
        """A refund of ours and its first call, whose answer may get lost."""
        if lost:
            await self.sumup.sandbox.arm(lost, "POST")
        amount = Money("GBP", PART_MINOR)
        asked = self.shop.carry_out(RefundPayment(self.order.order_id, "", amount, ()))
        [refund] = asked.refunds
        after = await self.call(refund)
        expected = RefundState.UNKNOWN if lost else RefundState.SUCCEEDED
        assert after.state is expected
        return after

    async def ask_again(self) -> None:
        """The next call of every refund that is due, a while later."""
        self.shop.pass_time(A_WHILE)
        for refund in self.shop.advance(self.order).refunds:
            await self.call(refund)
        assert {refund.state for refund in self.refunds} == {RefundState.SUCCEEDED}

    async def call(self, refund: Refund) -> Refund:
        assert refund.errand is not None
        report = await self.gateway.run_refund(refund, self.shop.payments(self.order))
        attempt = refund.errand.attempt(refund.refund_id)
        self.shop.carry_out(ReportRefund(refund.payment_id, refund.refund_id, report, attempt))
        [after] = [each for each in self.refunds if each.refund_id == refund.refund_id]
        return after

    async def give_back_by_hand(self) -> str:
        """In SumUp's own tools; its name there."""
        transaction_id = await self.sumup.transaction_id()
        await self.sumup.sandbox.act(f"transactions/{transaction_id}/refund", amount_units=PART_MINOR)
        return (await self.names_told())[-1]

    async def names_told(self) -> list[str]:
        """Of all refunds there are, oldest first, as reconciliation shows them to people."""
        [told] = [each async for each in self.sumup.provider.payments_since(self.shop.now)]
        return [refund.provider_reference for refund in told.refunds]

    def record(self, name: str) -> None:
        amount = Money("GBP", PART_MINOR)
        self.shop.carry_out(RecordRefund(self.order.order_id, name, amount, ()))

    async def refunded_minor(self) -> int:
        captured_minor, refunded_minor = await self.sumup.sandbox.totals("GBP")
        assert captured_minor == 500
        return refunded_minor


@pytest_asyncio.fixture
async def till() -> AsyncIterator[Till]:
    async with speaking() as sumup:
        till = Till(sumup)
        await till.open()
        yield till


# --- never too little -----------------------------------------------------------------------------


async def test_a_refund_that_never_left_is_not_taken_for_one_that_was_recorded_before(
    till: Till,
) -> None:
    till.record(await till.give_back_by_hand())
    await till.ask_back(lost=LOST_BEFORE)
    await till.ask_again()
    assert await till.refunded_minor() == 2 * PART_MINOR


async def test_a_refund_is_not_named_after_one_that_was_recorded_before(till: Till) -> None:
    by_hand = await till.give_back_by_hand()
    till.record(by_hand)
    first = await till.ask_back()
    assert [by_hand, first.provider_reference] == await till.names_told()
    await till.ask_back(lost=LOST_BEFORE)
    await till.ask_again()
    assert await till.refunded_minor() == 3 * PART_MINOR


async def test_a_refund_that_was_recorded_beside_one_of_ours_that_is_known_is_none_to_come(
    till: Till,
) -> None:
    await till.ask_back()
    till.record(await till.give_back_by_hand())
    await till.ask_back(lost=LOST_BEFORE)
    await till.ask_again()
    assert await till.refunded_minor() == 3 * PART_MINOR


# --- never too much -------------------------------------------------------------------------------


async def test_a_refund_of_ours_that_people_have_recorded_is_not_sent_again(till: Till) -> None:
    """They saw it in SumUp's tools, before its answer was known."""
    await till.ask_back(lost=LOST_AFTER)
    [ours] = await till.names_told()
    till.record(ours)
    await till.ask_again()
    assert [each.provider_reference for each in till.refunds] == [ours]
    assert await till.refunded_minor() == PART_MINOR


@pytest.mark.parametrize("second_lost", [LOST_BEFORE, LOST_AFTER])
async def test_neither_is_sent_again_where_the_first_of_two_was_recorded_while_it_was_unknown(
    till: Till, second_lost: str
) -> None:
    await till.ask_back(lost=LOST_AFTER)
    till.record((await till.names_told())[0])
    await till.ask_back(lost=second_lost)
    await till.ask_again()
    assert await till.refunded_minor() == 2 * PART_MINOR


async def test_a_refund_is_found_behind_a_nameless_one_of_ours_that_people_have_recorded(
    till: Till,
) -> None:
    """That one is counted among those without a name: to leave its name out too would count it twice."""
    await till.sumup.sandbox.arm(LOST_BEFORE, "GET", path_prefix="/v2.1")
    nameless = await till.ask_back()
    assert nameless.provider_reference == ""
    till.record((await till.names_told())[0])
    await till.ask_back(lost=LOST_AFTER)
    await till.ask_again()
    assert await till.refunded_minor() == 2 * PART_MINOR


# --- what a payment keeps of it -------------------------------------------------------------------


def by_hand(order: Order, name: str, amount_minor: int = 1) -> RecordRefund:
    return RecordRefund(order.order_id, name, Money("GBP", amount_minor), ())


def kept(shop: ProviderShop) -> list[tuple[str, ...]]:
    """By each of the order's payments."""
    return [payment.refunds_by_hand for payment in shop.payments(shop.order()).payments]


def test_it_is_kept_once_and_only_when_it_is_recorded() -> None:
    shop = ProviderShop()
    order = shop.paid_order()
    for _ in range(2):
        shop.carry_out(by_hand(order, "by hand"))
    refused(shop, by_hand(order, "by hand", 2), RefundAlreadyRecorded)
    [refund] = ask_back(shop, order, 100)
    done = shop.make_refund(refund)
    assert done is not None
    shop.carry_out(by_hand(order, done.provider_reference, 100))
    assert kept(shop) == [("by hand",)], "the other is one of ours, by name"


def test_it_is_kept_unless_a_refund_of_the_payment_may_be_the_one() -> None:
    shop = ProviderShop()
    order = shop.place(mug=2)
    for amount in (Money("GBP", 200), None):
        payment = shop.start(order, amount=amount, capture_mode=CaptureMode.AT_ONCE)
        shop.pay(payment)
        shop.tell(payment)
    [refund] = ask_back(shop, order, 100, payment_id="o1.1")
    shop.carry_out(by_hand(order, "while it is asked for"))
    shop.carry_out(ReportRefund("o1.1", refund.refund_id, Lost("timeout")))
    shop.carry_out(by_hand(order, "while its outcome is unknown"))
    shop.carry_out(ReportRefund("o1.1", refund.refund_id, Refused("no")))
    shop.carry_out(by_hand(order, "in its place"))
    of_the_other = ("while it is asked for", "while its outcome is unknown", "in its place")
    assert kept(shop) == [("in its place",), of_the_other]


def test_a_payment_keeps_only_the_newest() -> None:
    shop = ProviderShop()
    order = shop.paid_order()
    names = [f"by hand {number}" for number in range(REFUNDS_BY_HAND_MAX + 1)]
    for name in names:
        shop.carry_out(by_hand(order, name))
    assert kept(shop) == [tuple(names[1:])]


async def test_a_refund_that_is_asked_for_in_the_same_batch_knows_of_it(carry_out: CarryOut) -> None:
    async with paid_shop(carry_out) as shop:
        order = await shop.place(sku0=2)
        await shop.act((await shop.start(order)).payment, "pay", payment_method="pm_card_visa")
        await shop.deliver()
        asking = RefundPayment(order.order_id, "", Money("GBP", 50), ())
        _, asked, _ = await carry_out.together(
            [by_hand(order, "before"), asking, by_hand(order, "after")]
        )
        assert isinstance(asked, AskedBack)
        assert [each.refunds_by_hand for each in asked.payments.payments] == [("before",)]
        stored = await shop.payments(order)
        assert [each.refunds_by_hand for each in stored.payments] == [("before",)]
        await shop.give_back(asked)
        await carry_out(by_hand(order, "later"))
        stored = await shop.payments(order)
        assert [each.refunds_by_hand for each in stored.payments] == [("before", "later")]


def test_a_refund_of_an_order_that_has_no_payment_is_recorded() -> None:
    shop = ProviderShop()
    order = shop.place(mug=2)
    shop.pay_by_hand(order)
    shop.carry_out(by_hand(order, "by hand"))
    assert shop.payments(order).payments == ()
    assert shop.order().refunded_minor == 1
