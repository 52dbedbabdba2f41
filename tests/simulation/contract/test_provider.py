"""What becomes of payments and refunds, asked of the provider in memory and of the sandbox of Stripe."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from datetime import UTC, datetime
from random import Random
from typing import Any, Protocol

import pytest

from payment_providers.port import (
    Flow,
    NotAccepted,
    PaymentName,
    PaymentProvider,
    PaymentWanted,
    ProviderPayment,
    ProviderRefund,
    ProviderState,
    RefundWanted,
)
from payment_providers.stripe.provider import StripeProvider, StripeSettings
from tests.sandboxes.stripe_connection import Connection, connected
from tests.simulation.chance import NearlyOne
from tests.simulation.loop import SimulatedLoop
from tests.simulation.provider import ProviderInMemory

AMOUNT_MINOR = 2000


class Town(Protocol):
    """A provider, its customers and their banks."""

    provider: PaymentProvider

    async def pay(self, payment: ProviderPayment, *, slow_refunds: bool = False) -> None:
        """The customer pays; slow_refunds: the bank will take its time to take anything back."""
        ...

    async def end_refund(self, refund: ProviderRefund, *, has_failed: bool) -> None:
        """The bank's last word on a refund that is pending."""
        ...


class TownInMemory:
    """See Town."""

    def __init__(self, loop: SimulatedLoop) -> None:
        self.there = ProviderInMemory(loop, NearlyOne(), lambda told: None, fault_rate=0.0)
        self.provider: PaymentProvider = self.there

    async def pay(self, payment: ProviderPayment, *, slow_refunds: bool = False) -> None:
        self.there.pending_rate = float(slow_refunds)
        self.there.pay(payment.payment_id)

    async def end_refund(self, refund: ProviderRefund, *, has_failed: bool) -> None:
        self.there.end_refund(refund.refund_id, has_failed)


class TownAtStripe:
    """See Town."""

    def __init__(self, provider: PaymentProvider, sandbox: Connection) -> None:
        self.provider = provider
        self._sandbox = sandbox

    async def pay(self, payment: ProviderPayment, *, slow_refunds: bool = False) -> None:
        card = {"payment_method": "pm_card_pendingRefund"} if slow_refunds else {}
        await self._sandbox.act(f"payment_intents/{payment.provider_reference}/pay", **card)

    async def end_refund(self, refund: ProviderRefund, *, has_failed: bool) -> None:
        act = "fail" if has_failed else "succeed"
        await self._sandbox.act(f"refunds/{refund.provider_reference}/{act}")


History = Callable[[Town], Coroutine[Any, Any, None]]


def play_in_memory(history: History) -> None:
    loop = SimulatedLoop(NearlyOne(), is_shuffled=False)
    loop.run(history(TownInMemory(loop)))


def play_at_stripe(history: History) -> None:
    async def main() -> None:
        async with connected() as sandbox:
            settings = StripeSettings("sk_test_sandbox", ("whsec_1",), api_url=sandbox.url)
            provider = StripeProvider(settings, monotonic=time.monotonic, chance=Random(0))
            try:
                await history(TownAtStripe(provider, sandbox))
            finally:
                await provider.close()

    asyncio.run(main())


@pytest.fixture(params=[play_in_memory, play_at_stripe], ids=["memory", "stripe"])
def play(request: pytest.FixtureRequest) -> Any:
    return request.param


Play = Callable[[History], None]


def wish(payment_id: str = "o1.1", *, captures_at_once: bool = False) -> PaymentWanted:
    return PaymentWanted(
        payment_id=payment_id,
        order_id="o1",
        currency_code="GBP",
        amount_minor=AMOUNT_MINOR,
        flow=Flow.EMBEDDED,
        captures_at_once=captures_at_once,
        description="Order 1",
        create_time=datetime.now(UTC),
    )


def name_of(payment: PaymentWanted, told: ProviderPayment | None = None) -> PaymentName:
    reference = "" if told is None else told.provider_reference
    return PaymentName(
        payment.payment_id, reference, payment.currency_code, Flow.EMBEDDED, payment.create_time
    )


async def paid(town: Town, *, captures_at_once: bool = False, slow_refunds: bool = False) -> PaymentName:
    payment = wish(captures_at_once=captures_at_once)
    begun = await town.provider.begin(payment, key="begin")
    await town.pay(begun.payment, slow_refunds=slow_refunds)
    return name_of(payment, begun.payment)


def money(told: ProviderPayment | None) -> tuple[ProviderState, int, int]:
    assert told is not None
    assert told.payment_id == "o1.1"
    assert told.currency_code == "GBP"
    return told.state, told.authorized_minor, told.captured_minor


AWAITING = (ProviderState.AWAITING_CUSTOMER, 0, 0)
AUTHORIZED = (ProviderState.AUTHORIZED, AMOUNT_MINOR, 0)
CAPTURED = (ProviderState.CAPTURED, 0, AMOUNT_MINOR)
VOIDED = (ProviderState.VOIDED, 0, 0)


def test_a_payment_awaits_its_customer_and_is_the_same_under_its_key(play: Play) -> None:
    async def history(town: Town) -> None:
        payment = wish()
        begun = await town.provider.begin(payment, key="begin")
        assert money(begun.payment) == AWAITING
        assert begun.handover.client_secret
        assert await town.provider.begin(payment, key="begin") == begun
        name = name_of(payment, begun.payment)
        assert (await town.provider.hand_over(name)).handover == begun.handover
        assert money(await town.provider.read(name_of(payment))) == AWAITING, "by our name alone"
        assert await town.provider.read(name_of(wish("o1.2"))) is None

    play(history)


@pytest.mark.parametrize(("at_once", "state"), [(True, CAPTURED), (False, AUTHORIZED)])
def test_the_customer_pays(play: Play, at_once: bool, state: object) -> None:
    async def history(town: Town) -> None:
        name = await paid(town, captures_at_once=at_once)
        assert money(await town.provider.read(name)) == state

    play(history)


def test_authorized_money_is_taken_once_and_the_rest_is_released(play: Play) -> None:
    async def history(town: Town) -> None:
        name = await paid(town)
        captured = await town.provider.capture(name, 1500, key="capture")
        assert money(captured) == (ProviderState.CAPTURED, 0, 1500)
        assert money(await town.provider.capture(name, 1500, key="capture")) == money(captured)
        with pytest.raises(NotAccepted):
            await town.provider.capture(name, 500, key="another")
        with pytest.raises(NotAccepted):
            await town.provider.void(name, key="void")
        assert money(await town.provider.read(name)) == money(captured)

    play(history)


@pytest.mark.parametrize("is_paid", [True, False])
def test_what_is_called_off_can_be_neither_paid_nor_taken(play: Play, is_paid: bool) -> None:
    async def history(town: Town) -> None:
        payment = wish()
        begun = await town.provider.begin(payment, key="begin")
        name = name_of(payment, begun.payment)
        if is_paid:
            await town.pay(begun.payment)
        assert money(await town.provider.void(name, key="void")) == VOIDED
        assert money(await town.provider.void(name, key="void")) == VOIDED
        with pytest.raises(NotAccepted):
            await town.provider.capture(name, AMOUNT_MINOR, key="capture")
        assert money(await town.provider.read(name)) == VOIDED

    play(history)


def test_what_nobody_has_paid_cannot_be_taken(play: Play) -> None:
    async def history(town: Town) -> None:
        payment = wish()
        begun = await town.provider.begin(payment, key="begin")
        with pytest.raises(NotAccepted):
            await town.provider.capture(name_of(payment, begun.payment), AMOUNT_MINOR, key="capture")
        assert money(await town.provider.read(name_of(payment))) == AWAITING

    play(history)


def back(name: PaymentName, refund_id: str, amount_minor: int) -> RefundWanted:
    return RefundWanted(refund_id, name, amount_minor, is_whole=False)


def facts(refund: ProviderRefund | None) -> tuple[str, ProviderRefund.State, int]:
    assert refund is not None
    assert (refund.payment_id or "o1.1") == "o1.1"
    assert refund.currency_code == "GBP"
    return refund.refund_id, refund.state, refund.amount_minor


def test_money_goes_back_once_a_key_and_never_more_than_there_is(play: Play) -> None:
    async def history(town: Town) -> None:
        name = await paid(town, captures_at_once=True)
        first = back(name, "o1.r1", 1200)
        done = ("o1.r1", ProviderRefund.State.SUCCEEDED, 1200)
        told = await town.provider.refund(first, key="r1")
        assert facts(told) == done
        assert await town.provider.refund(first, key="r1") == told
        assert facts(await town.provider.read_refund(first)) == done
        assert await town.provider.read_refund(back(name, "o1.r2", 800)) is None
        with pytest.raises(NotAccepted):
            await town.provider.refund(back(name, "o1.r2", 801), key="r2")
        rest = await town.provider.refund(back(name, "o1.r3", 800), key="r3")
        assert facts(rest) == ("o1.r3", ProviderRefund.State.SUCCEEDED, 800)
        assert money(await town.provider.read(name)) == CAPTURED, "refunds are not deducted"

    play(history)


@pytest.mark.parametrize("has_failed", [True, False])
def test_a_slow_bank_has_the_last_word(play: Play, has_failed: bool) -> None:
    async def history(town: Town) -> None:
        name = await paid(town, captures_at_once=True, slow_refunds=True)
        refund = back(name, "o1.r1", 1200)
        pending = ("o1.r1", ProviderRefund.State.PENDING, 1200)
        told = await town.provider.refund(refund, key="r1")
        assert facts(told) == pending
        assert facts(await town.provider.read_refund(refund)) == pending
        with pytest.raises(NotAccepted):
            await town.provider.refund(back(name, "o1.r2", 1200), key="r2")
        await town.end_refund(told, has_failed=has_failed)
        named = replace(refund, provider_reference=told.provider_reference)
        ended = await town.provider.read_refund(named)
        wanted = ProviderRefund.State.FAILED if has_failed else ProviderRefund.State.SUCCEEDED
        assert facts(ended) == ("o1.r1", wanted, 1200)
        assert bool(ended and ended.failure_code) is has_failed
        assert facts(await town.provider.refund(refund, key="r1")) == pending, "a key repeats its answer"
        if has_failed:
            again = await town.provider.refund(back(name, "o1.r3", AMOUNT_MINOR), key="r3")
            assert again.amount_minor == AMOUNT_MINOR, "what did not go back is there again"

    play(history)


def test_a_key_repeats_its_refusal_also_when_the_call_could_be_done_by_now(play: Play) -> None:
    async def history(town: Town) -> None:
        payment = wish()
        begun = await town.provider.begin(payment, key="begin")
        name = name_of(payment, begun.payment)
        with pytest.raises(NotAccepted):
            await town.provider.capture(name, AMOUNT_MINOR, key="capture")
        await town.pay(begun.payment)
        with pytest.raises(NotAccepted):
            await town.provider.capture(name, AMOUNT_MINOR, key="capture")
        assert money(await town.provider.read(name)) == AUTHORIZED
        assert money(await town.provider.capture(name, AMOUNT_MINOR, key="another")) == CAPTURED

    play(history)
