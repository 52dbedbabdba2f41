"""Payments at SumUp's card readers: one attempt each, and never begun twice."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest

from payment_providers.port import (
    Flow,
    NotAccepted,
    NotDone,
    OutcomeUnknown,
    ProviderState,
)
from tests.payment_providers.sumup_shop import (
    NOW,
    READER_ID,
    Shop,
    name_of,
    speaking,
    wanted,
)


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    async with speaking() as speaking_shop:
        yield speaking_shop


async def test_the_customer_pays_at_a_reader(shop: Shop) -> None:
    name = await shop.begun(flow=Flow.READER)
    assert (await shop.existing(name)).state is ProviderState.AWAITING_CUSTOMER
    await shop.sandbox.act(f"readers/{READER_ID}/start")
    assert (await shop.existing(name)).state is ProviderState.AWAITING_CUSTOMER
    await shop.sandbox.act(f"readers/{READER_ID}/pay")
    told = await shop.existing(name)
    assert (told.state, told.captured_minor) == (ProviderState.CAPTURED, 2000)
    assert (told.payment_id, told.provider_reference) == ("o1.1", name.provider_reference)
    assert (await shop.provider.hand_over(name)).payment == told


@pytest.mark.parametrize(("act", "code"), [("decline", "FAILED"), ("cancel", "CANCELLED")])
async def test_a_payment_at_a_reader_is_one_attempt(shop: Shop, act: str, code: str) -> None:
    name = await shop.begun(flow=Flow.READER)
    await shop.sandbox.act(f"readers/{READER_ID}/{act}")
    told = await shop.existing(name)
    assert (told.state, told.failure_code) == (ProviderState.VOIDED, code)


async def test_a_busy_reader_and_one_that_is_off_may_be_asked_again_later(shop: Shop) -> None:
    await shop.begun(flow=Flow.READER)
    with pytest.raises(NotDone, match="READER_BUSY") as busy:
        await shop.begun(flow=Flow.READER, payment_id="o2.1")
    assert busy.value.retry_after_seconds == 60
    await shop.sandbox.act(f"readers/{READER_ID}/go_offline")
    with pytest.raises(NotDone, match="READER_OFFLINE"):
        await shop.begun(flow=Flow.READER, payment_id="o2.1")
    with pytest.raises(NotAccepted):
        await shop.begun(flow=Flow.READER, payment_id="o3.1", reader_id="../../me")


async def test_a_lost_payment_at_a_reader_is_never_begun_twice(shop: Shop) -> None:
    wish = wanted(flow=Flow.READER)
    await shop.sandbox.arm("reset_after", "POST")
    with pytest.raises(OutcomeUnknown):
        await shop.provider.begin(wish, key="k")
    with pytest.raises(NotDone, match="READER_BUSY"):
        await shop.provider.begin(wish, key="k")
    with pytest.raises(NotDone, match="reader_may_start"):
        await shop.provider.read(name_of(wish))
    shop.clock.advance(seconds=20)
    await shop.sandbox.act(f"readers/{READER_ID}/start")
    await shop.sandbox.act(f"transactions/{await shop.transaction_id()}/hide")
    with pytest.raises(NotDone, match="reader_in_use"):
        await shop.provider.begin(wish, key="k")
    await shop.sandbox.act(f"readers/{READER_ID}/pay")
    await shop.sandbox.act(f"transactions/{await shop.transaction_id()}/show")
    found = (await shop.provider.begin(wish, key="k")).payment
    assert (found.state, found.payment_id) == (ProviderState.CAPTURED, "o1.1")
    assert found == await shop.existing(name_of(wish))
    assert await shop.sandbox.totals() == (2000, 0)


async def test_whose_clock_is_behind_looks_before_a_reader_is_asked_again(shop: Shop) -> None:
    """By that clock the wish is too young for the customer to have paid."""
    wish = wanted(flow=Flow.READER, create_time=NOW + timedelta(minutes=1))
    await shop.sandbox.arm("reset_after", "POST")
    with pytest.raises(OutcomeUnknown):
        await shop.provider.begin(wish, key="k")
    await shop.sandbox.act(f"readers/{READER_ID}/pay")
    again = replace(wish, may_have_been_sent=True)
    assert (await shop.provider.begin(again, key="k")).payment.state is ProviderState.CAPTURED
    assert await shop.sandbox.call_count("POST", "/checkout") == 1


async def test_a_reader_is_not_woken_up_when_the_customer_has_gone(shop: Shop) -> None:
    shop.clock.advance(minutes=3)
    with pytest.raises(NotAccepted, match="too_late_for_reader"):
        await shop.begun(flow=Flow.READER)
    assert await shop.sandbox.call_count("POST", "/checkout") == 0


async def test_a_reader_that_never_started_ends_the_payment(shop: Shop) -> None:
    name = await shop.begun(flow=Flow.READER)
    await shop.sandbox.act(f"readers/{READER_ID}/forget")
    shop.clock.advance(minutes=4)
    assert (await shop.existing(name)).state is ProviderState.AWAITING_CUSTOMER
    shop.clock.advance(minutes=1)
    assert (await shop.existing(name)).state is ProviderState.VOIDED
    assert await shop.provider.read(replace(name, provider_reference="", payment_id="o9.1")) is None


async def test_a_reader_is_told_to_give_up(shop: Shop) -> None:
    name = await shop.begun(flow=Flow.READER)
    with pytest.raises(NotDone, match="terminating"):
        await shop.provider.void(name, key="v")  # not started: there is nothing to terminate yet
    await shop.sandbox.act(f"readers/{READER_ID}/start")
    assert (await shop.provider.void(name, key="v")).state is ProviderState.VOIDED
    assert (await shop.provider.void(name, key="v")).state is ProviderState.VOIDED
    assert await shop.sandbox.totals() == (0, 0)


async def test_calling_off_a_payment_does_not_end_the_next_at_that_reader(shop: Shop) -> None:
    """What a reader has not started SumUp forgets after a minute, and the next customer steps up."""
    first = await shop.begun(flow=Flow.READER)
    await shop.sandbox.act(f"readers/{READER_ID}/forget")
    shop.clock.advance(minutes=1)
    second = await shop.begun(flow=Flow.READER, payment_id="o2.1", create_time=shop.clock())
    await shop.sandbox.act(f"readers/{READER_ID}/start")
    for _ in range(4):
        with pytest.raises(NotDone, match="terminating"):
            await shop.provider.void(first, key="v")
        shop.clock.advance(minutes=1)
    assert (await shop.provider.void(first, key="v")).state is ProviderState.VOIDED
    await shop.sandbox.act(f"readers/{READER_ID}/pay")
    assert (await shop.existing(second)).state is ProviderState.CAPTURED


async def test_the_minute_in_which_a_reader_is_told_to_give_up_is_that_after_it_was_asked(
    shop: Shop,
) -> None:
    """The reader was busy for a while, so the payment is older than what the reader knows of it."""
    wished_time = shop.clock()
    shop.clock.advance(seconds=90)
    name = await shop.begun(flow=Flow.READER, create_time=wished_time)
    name = replace(name, begun_time=shop.clock())
    shop.clock.advance(seconds=50)
    with pytest.raises(NotDone, match="terminating"):
        await shop.provider.void(name, key="v")
    assert await shop.sandbox.call_count("POST", "/terminate") == 1
    shop.clock.advance(seconds=10)
    with pytest.raises(NotDone, match="terminating"):
        await shop.provider.void(name, key="v")
    assert await shop.sandbox.call_count("POST", "/terminate") == 1, "another may be at the reader"


async def test_a_reader_that_is_seen_at_a_payment_is_told_to_give_up_at_any_time(shop: Shop) -> None:
    name = await shop.begun(flow=Flow.READER)
    await shop.sandbox.act(f"readers/{READER_ID}/start")
    shop.clock.advance(minutes=2)
    assert (await shop.provider.void(name, key="v")).state is ProviderState.VOIDED


async def test_what_was_paid_at_a_reader_cannot_be_voided(shop: Shop) -> None:
    name = await shop.paid(flow=Flow.READER)
    with pytest.raises(NotAccepted, match="already_paid"):
        await shop.provider.void(name, key="v")
    assert await shop.sandbox.call_count("POST", "/terminate") == 0


async def test_without_an_affiliate_key_no_reader_is_asked() -> None:
    async with speaking(affiliate_key="") as shop:
        with pytest.raises(NotAccepted, match="affiliate_key_missing"):
            await shop.begun(flow=Flow.READER)
