"""Refunds at SumUp, which knows no keys: looked for before they are sent again."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from payment_providers.calls import CallLimits
from payment_providers.port import (
    Flow,
    NotAccepted,
    NotDone,
    OutcomeUnknown,
    PaymentName,
    ProviderFailure,
    ProviderRefund,
    ProviderState,
    RefundWanted,
)
from tests.eventually import eventually
from tests.payment_providers.sumup_shop import (
    IMPATIENT,
    LIMITS,
    Shop,
    speaking,
)
from tests.sandboxes.faults import FaultSettings
from tests.sandboxes.sumup.settings import FAULT_KINDS
from tests.sandboxes.sumup.settings import SumUpSettings as SandboxSettings


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    async with speaking() as speaking_shop:
        yield speaking_shop


@pytest.mark.parametrize("status", [201, 204])
@pytest.mark.parametrize("flow", [Flow.HOSTED, Flow.READER])
async def test_money_is_refunded_in_parts_and_never_beyond_what_there_is(
    flow: Flow, status: int
) -> None:
    async with speaking(sandbox=SandboxSettings(refund_status=status)) as shop:
        name = await shop.paid(flow=flow)
        part = RefundWanted("o1.r1", name, 1200, is_whole=False)
        refund = await shop.provider.refund(part, key="r1")
        assert (refund.refund_id, refund.amount_minor) == ("o1.r1", 1200)
        assert refund.state is ProviderRefund.State.SUCCEEDED
        assert refund.provider_reference
        with pytest.raises(NotAccepted):
            await shop.provider.refund(replace(part, refund_id="o1.r2"), key="r2")
        assert await shop.sandbox.totals() == (2000, 1200)
        told = await shop.existing(name)
        assert (told.state, told.captured_minor) == (ProviderState.CAPTURED, 2000)


@pytest.mark.parametrize("flow", [Flow.HOSTED, Flow.READER])
async def test_a_whole_refund_names_no_amount(shop: Shop, flow: Flow) -> None:
    name = await shop.paid(flow=flow)
    await shop.provider.refund(RefundWanted("o1.r1", name, 2000, is_whole=True), key="r")
    assert await shop.sandbox.totals() == (2000, 2000)


async def test_a_payment_that_nobody_made_cannot_be_refunded(shop: Shop) -> None:
    name = await shop.begun()
    with pytest.raises(NotAccepted, match="not_paid"):
        await shop.provider.refund(RefundWanted("o1.r1", name, 2000, is_whole=True), key="r")


A_WHILE = timedelta(minutes=2)


def sent(refund: RefundWanted, *, ago: timedelta = timedelta()) -> RefundWanted:
    """The refund as the caller asks for it after a call that it knows nothing of."""
    return replace(refund, sent_ago=ago)


@pytest.mark.parametrize("is_whole", [True, False])
@pytest.mark.parametrize("kind", ["error_after", "reset_after"])
async def test_a_refund_whose_answer_got_lost_is_found_and_not_sent_again(
    shop: Shop, kind: str, *, is_whole: bool
) -> None:
    refund = RefundWanted("o1.r1", await shop.paid(), 2000, is_whole=is_whole)
    await shop.sandbox.arm(kind, "POST")
    with pytest.raises(OutcomeUnknown):
        await shop.provider.refund(refund, key="r")
    again = sent(refund)
    found = await shop.provider.read_refund(again)
    assert found is not None
    assert await shop.provider.read_refund(refund) == found
    assert (found.refund_id, found.state) == ("o1.r1", ProviderRefund.State.SUCCEEDED)
    assert await shop.provider.refund(again, key="r") == found
    assert await shop.sandbox.call_count("POST", "/refunds") == 1


@pytest.mark.parametrize("is_first", [True, False])
async def test_a_refund_whose_payment_cannot_be_looked_up_is_known_not_to_be_sent(
    shop: Shop, *, is_first: bool
) -> None:
    refund = RefundWanted("o1.r1", await shop.paid(), 500, is_whole=False)
    await shop.sandbox.arm("reset_before", "GET")
    with pytest.raises(NotDone, match="connection"):
        await shop.provider.refund(refund if is_first else sent(refund), key="r")
    assert await shop.sandbox.call_count("POST", "/refunds") == 0


async def test_a_refund_is_not_repeated_blindly() -> None:
    async with speaking(replace(LIMITS, repeat_count_max=5)) as shop:
        refund = RefundWanted("o1.r1", await shop.paid(), 500, is_whole=False)
        await shop.sandbox.arm("error_after", "POST")
        with pytest.raises(OutcomeUnknown):
            await shop.provider.refund(refund, key="r")
        assert await shop.sandbox.totals() == (2000, 500)


async def test_a_refund_is_sent_again_only_when_it_can_no_longer_turn_up(shop: Shop) -> None:
    refund = RefundWanted("o1.r1", await shop.paid(), 500, is_whole=False)
    await shop.sandbox.arm("reset_before", "POST")
    with pytest.raises(OutcomeUnknown):
        await shop.provider.refund(refund, key="r")
    again = sent(refund)
    with pytest.raises(NotDone, match="refund_may_follow"):
        await shop.provider.read_refund(again)
    with pytest.raises(NotDone, match="refund_may_follow"):
        await shop.provider.refund(again, key="r")
    assert await shop.sandbox.call_count("POST", "/refunds") == 1
    again = sent(refund, ago=A_WHILE)
    assert await shop.provider.read_refund(again) is None
    await shop.provider.refund(again, key="r")
    assert await shop.sandbox.totals() == (2000, 500)


async def test_whose_clock_is_ahead_sends_no_refund_again_too_early(shop: Shop) -> None:
    """The time since it was sent is told by one clock: that of the database."""
    refund = RefundWanted("o1.r1", await shop.paid(), 500, is_whole=False)
    await shop.sandbox.arm("reset_before", "POST")
    with pytest.raises(OutcomeUnknown):
        await shop.provider.refund(refund, key="r")
    shop.clock.advance(minutes=10)
    with pytest.raises(NotDone, match="refund_may_follow") as early:
        await shop.provider.refund(sent(refund, ago=timedelta(seconds=20)), key="r")
    assert early.value.retry_after_seconds == 40


async def test_a_refund_with_a_late_effect_is_done_once() -> None:
    async with speaking(IMPATIENT) as shop:
        refund = RefundWanted("o1.r1", await shop.paid(), 2000, is_whole=True)
        await shop.sandbox.arm("late_effect", "POST")
        with pytest.raises(OutcomeUnknown, match="timeout"):
            await shop.provider.refund(refund, key="r")
        again = sent(refund)

        async def is_found() -> bool:
            try:
                return await shop.provider.read_refund(again) is not None
            except NotDone:
                return False

        await eventually(is_found, seconds=60)
        await shop.provider.refund(again, key="r")
        assert await shop.sandbox.totals() == (2000, 2000)


@pytest.mark.parametrize("is_named", [True, False])
async def test_equal_refunds_are_told_apart_by_name_or_by_how_many_there_are(
    shop: Shop, *, is_named: bool
) -> None:
    name = await shop.paid()
    first = RefundWanted("o1.r1", name, 500, is_whole=False)
    one = await shop.provider.refund(first, key="r1")
    await shop.sandbox.arm("reset_before", "POST")
    others = (
        {"other_references": frozenset({one.provider_reference})}
        if is_named
        else {"nameless_equal_count": 1}
    )
    second = replace(first, refund_id="o1.r2", **others)
    with pytest.raises(OutcomeUnknown):
        await shop.provider.refund(second, key="r2")
    second = sent(second, ago=A_WHILE)
    assert await shop.provider.read_refund(second) is None
    two = await shop.provider.refund(second, key="r2")
    assert two.provider_reference not in ("", one.provider_reference)
    assert await shop.provider.read_refund(second) == two
    assert await shop.sandbox.totals() == (2000, 1000)


@pytest.mark.parametrize("is_named", [True, False])
async def test_a_refund_is_found_behind_an_equal_one_that_failed_unheard(
    shop: Shop, *, is_named: bool
) -> None:
    """It would be sent a second time otherwise."""
    name = await shop.paid()
    first = RefundWanted("o1.r1", name, 500, is_whole=False)
    one = await shop.provider.refund(first, key="r1")
    await shop.sandbox.act(f"transactions/{await shop.transaction_id()}/fail_refund")
    others = (
        {"other_references": frozenset({one.provider_reference})}
        if is_named
        else {"nameless_equal_count": 1}
    )
    await shop.sandbox.arm("error_after", "POST")
    second = replace(first, refund_id="o1.r2", **others)
    with pytest.raises(OutcomeUnknown):
        await shop.provider.refund(second, key="r2")
    second = sent(second, ago=A_WHILE)
    again = await shop.provider.refund(second, key="r2")
    assert again.provider_reference not in ("", one.provider_reference)
    assert await shop.sandbox.call_count("POST", "/refunds") == 2


async def test_a_refund_that_failed_later_does_not_count(shop: Shop) -> None:
    name = await shop.paid()
    refund = RefundWanted("o1.r1", name, 500, is_whole=False)
    await shop.provider.refund(refund, key="r")
    await shop.sandbox.act(f"transactions/{await shop.transaction_id()}/fail_refund")
    long_ago = sent(refund, ago=timedelta(hours=1))
    assert await shop.provider.read_refund(long_ago) is None


@pytest.mark.parametrize("flow", [Flow.HOSTED, Flow.READER])
@pytest.mark.parametrize("end", [ProviderRefund.State.SUCCEEDED, ProviderRefund.State.FAILED])
async def test_a_pending_refund_is_asked_for_by_its_name_until_it_ends(
    shop: Shop, flow: Flow, end: ProviderRefund.State
) -> None:
    name = await shop.paid(flow=flow)
    transaction = f"transactions/{await shop.transaction_id()}"
    await shop.provider.refund(RefundWanted("o1.r1", name, 500, is_whole=False), key="r1")
    await shop.sandbox.act(f"{transaction}/slow_refunds")
    wish = RefundWanted("o1.r2", name, 500, is_whole=False, nameless_equal_count=1)
    pending = await shop.provider.refund(wish, key="r2")
    assert pending.state is ProviderRefund.State.PENDING
    named = replace(wish, provider_reference=pending.provider_reference)
    assert await shop.provider.read_refund(named) == pending
    is_failed = end is ProviderRefund.State.FAILED
    await shop.sandbox.act(f"{transaction}/{'fail' if is_failed else 'settle'}_refund")
    ended = await shop.provider.read_refund(named)
    assert ended == replace(pending, state=end, failure_code="FAILED" if is_failed else "")
    assert await shop.sandbox.call_count("POST", "/refunds") == 2


async def test_an_accepted_refund_is_told_though_it_cannot_be_read(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    refund = RefundWanted("o1.r1", await shop.paid(), 500, is_whole=False)

    async def fail(_transaction_id: str) -> Any:
        raise OutcomeUnknown("connection")

    monkeypatch.setattr(shop.provider._refunds, "_read_transaction", fail)
    told = await shop.provider.refund(refund, key="r")
    assert (told.refund_id, told.provider_reference) == ("o1.r1", "")
    assert (told.state, told.amount_minor) == (ProviderRefund.State.SUCCEEDED, 500)
    assert await shop.sandbox.totals() == (2000, 500)


async def test_a_rate_limited_refund_is_sent_again() -> None:
    async with speaking(replace(LIMITS, repeat_count_max=1)) as shop:
        refund = RefundWanted("o1.r1", await shop.paid(), 500, is_whole=False)
        await shop.sandbox.arm("rate_limited", "POST")
        assert (await shop.provider.refund(refund, key="r")).amount_minor == 500
        assert await shop.sandbox.totals() == (2000, 500)


async def test_a_refund_that_an_earlier_call_left_nothing_for_is_the_earlier_one(shop: Shop) -> None:
    refund = RefundWanted("o1.r1", await shop.paid(), 2000, is_whole=True)
    again = sent(refund, ago=A_WHILE)
    read = shop.provider._refunds._read_transaction
    found: list[Any] = []

    async def read_and_let_the_earlier_one_come(transaction_id: str) -> Any:
        found.append(await read(transaction_id))
        if len(found) == 1:
            await shop.sandbox.act(f"transactions/{transaction_id}/refund", amount_units=2000)
        return found[-1]

    shop.provider._refunds._read_transaction = read_and_let_the_earlier_one_come
    told = await shop.provider.refund(again, key="r")
    assert (told.refund_id, told.amount_minor) == ("o1.r1", 2000)
    assert await shop.sandbox.totals() == (2000, 2000)


async def begun_whatever_happens(shop: Shop, payment_id: str) -> PaymentName:
    while True:
        try:
            return await shop.begun(payment_id=payment_id)
        except ProviderFailure:
            await asyncio.sleep(0.05)


async def refunded_whatever_happens(shop: Shop, refund: RefundWanted) -> None:
    """What a careful caller does: it notes when it sends, and sends again only after a look."""
    while True:
        try:
            await shop.provider.refund(refund, key="r")
        except NotDone as failure:
            if failure.code == "refund_may_follow":
                await all_calls_ended(shop)
                refund = sent(refund, ago=A_WHILE)
        except OutcomeUnknown:
            refund = sent(refund)
        else:
            return
        await asyncio.sleep(0.05)


async def all_calls_ended(shop: Shop) -> None:
    """Waits for late effects, as minutes do."""

    async def is_quiet() -> bool:
        ended = sum(record.fault is not None for record in shop.sandbox.sandbox.calls.records)
        return shop.sandbox.sandbox.faults.counts.total() == ended

    await eventually(is_quiet, seconds=60)


async def test_a_careful_caller_refunds_each_payment_once_whatever_happens() -> None:
    faults = FaultSettings(
        probability=0.4, kinds=FAULT_KINDS, seed=11, late_seconds=0.05, retry_after_seconds=0
    )
    limits = CallLimits(attempt_seconds_max=0.5, total_seconds_max=60.0, repeat_count_max=3)
    async with speaking(limits, SandboxSettings(faults=faults)) as shop:
        shop.provider.calls.breaker._monotonic = lambda: 100 * time.monotonic()  # it rests briefly
        for number in range(4):
            name = await begun_whatever_happens(shop, f"o{number}.1")
            await shop.sandbox.act(f"checkouts/{name.provider_reference}/pay")
            for part, count in ((700, 0), (700, 1), (600, 0)):
                refund = RefundWanted("r", name, part, is_whole=False, nameless_equal_count=count)
                await refunded_whatever_happens(shop, refund)
        assert await shop.sandbox.totals() == (4 * 2000, 4 * 2000)
        assert len((await shop.sandbox.get("/_sandbox/state"))["transactions"]) == 4
