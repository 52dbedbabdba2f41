"""The port, spoken to Stripe: against a sandbox that is as strict about the wire format."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest

from payment_providers.calls import CallLimits
from payment_providers.port import (
    Flow,
    KeySpent,
    NotAccepted,
    NotDone,
    OutcomeUnknown,
    PaymentName,
    PaymentWanted,
    ProviderPayment,
    ProviderRefund,
    ProviderState,
    RefundWanted,
    Unreachable,
)
from payment_providers.stripe.provider import LOST_WINDOW, StripeProvider, StripeSettings
from tests.sandboxes.stripe.settings import StripeSettings as SandboxSettings
from tests.sandboxes.stripe_connection import Connection, connected

LIMITS = CallLimits(attempt_seconds_max=60.0, total_seconds_max=120.0, repeat_count_max=0)
NOW = datetime.now(UTC)


def provider_at(
    url: str, limits: CallLimits = LIMITS, *, api_key: str = "sk_test_sandbox"
) -> StripeProvider:
    settings = StripeSettings(api_key, ("whsec_1",), api_url=url, limits=limits)
    return StripeProvider(settings, monotonic=time.monotonic, chance=Random(7))


@asynccontextmanager
async def speaking(limits: CallLimits = LIMITS) -> AsyncIterator[tuple[StripeProvider, Connection]]:
    async with connected() as sandbox:
        provider = provider_at(sandbox.url, limits)
        try:
            yield provider, sandbox
        finally:
            await provider.close()


@pytest.fixture
async def both() -> AsyncIterator[tuple[StripeProvider, Connection]]:
    async with speaking() as pair:
        yield pair


def wanted(**other: Any) -> PaymentWanted:
    facts: dict[str, Any] = {
        "payment_id": "o1.1",
        "order_id": "o1",
        "currency_code": "USD",
        "amount_minor": 2000,
        "flow": Flow.EMBEDDED,
        "captures_at_once": True,
        "description": "Order 1",
        "create_time": datetime.now(UTC),
        "customer_return_url": "https://shop.example/paid",
        "customer_cancel_url": "https://shop.example/cart",
        **other,
    }
    return PaymentWanted(**facts)


def name_of(wish: PaymentWanted, reference: str = "") -> PaymentName:
    return PaymentName(wish.payment_id, reference, wish.currency_code, wish.flow, wish.create_time)


async def paid(provider: StripeProvider, **other: Any) -> tuple[PaymentName, ProviderPayment]:
    wish = wanted(payment_method="pm_card_visa", **other)
    begun = await provider.begin(wish, key="k")
    return name_of(wish, begun.payment.provider_reference), begun.payment


async def test_a_payment_awaits_the_customer_who_gets_a_secret(both: Any) -> None:
    provider, _ = both
    begun = await provider.begin(wanted(), key="k")
    assert begun.payment.state is ProviderState.AWAITING_CUSTOMER
    assert begun.payment.payment_id == "o1.1"
    assert begun.handover.client_secret
    assert begun.handover.client_secret not in repr(begun)
    again = await provider.hand_over(name_of(wanted(), begun.payment.provider_reference))
    assert again.handover == begun.handover


async def test_the_same_key_makes_the_same_payment(both: Any) -> None:
    provider, sandbox = both
    first = await provider.begin(wanted(), key="k")
    assert await provider.begin(wanted(), key="k") == first
    state = await sandbox.get("/_sandbox/state")
    assert len(state["payment_intents"]) == 1


async def test_a_payment_whose_answer_got_lost_is_found_by_our_id(both: Any) -> None:
    provider, _ = both
    await provider.begin(wanted(payment_id="o1.1"), key="k1")
    second = await provider.begin(wanted(payment_id="o1.2"), key="k2")
    assert await provider.read(name_of(wanted(payment_id="o1.2"))) == second.payment
    assert await provider.read(name_of(wanted(payment_id="o1.3"))) is None


async def test_a_lost_payment_is_looked_for_in_its_time_only(both: Any) -> None:
    provider, _ = both
    begun = await provider.begin(wanted(), key="k")
    created = begun.payment.create_time
    name = replace(name_of(wanted()), create_time=created, last_sent_time=created)
    assert await provider.read(name) == begun.payment
    before = created - 2 * LOST_WINDOW
    assert await provider.read(replace(name, create_time=before, last_sent_time=before)) is None


async def test_a_declined_card_leaves_a_payment_that_can_be_tried_again(both: Any) -> None:
    provider, _ = both
    begun = await provider.begin(wanted(payment_method="pm_card_visa_chargeDeclined"), key="k")
    assert begun.payment.state is ProviderState.AWAITING_CUSTOMER
    assert begun.payment.failure_code == "generic_decline"


async def test_authorized_money_is_captured_in_part(both: Any) -> None:
    provider, _ = both
    name, authorized = await paid(provider, captures_at_once=False)
    assert (authorized.state, authorized.authorized_minor) == (ProviderState.AUTHORIZED, 2000)
    captured = await provider.capture(name, 1500, key="c")
    assert (captured.state, captured.captured_minor) == (ProviderState.CAPTURED, 1500)
    assert await provider.read(name) == captured


async def test_a_voided_payment_can_no_longer_be_captured(both: Any) -> None:
    provider, _ = both
    name, _ = await paid(provider, captures_at_once=False)
    assert (await provider.void(name, key="v")).state is ProviderState.VOIDED
    with pytest.raises(NotAccepted):
        await provider.capture(name, 2000, key="c")


async def test_a_captured_payment_cannot_be_voided(both: Any) -> None:
    provider, _ = both
    name, _ = await paid(provider)
    with pytest.raises(NotAccepted):
        await provider.void(name, key="v")


async def test_money_is_refunded_once_a_key_and_never_beyond_what_there_is(both: Any) -> None:
    provider, _ = both
    name, _ = await paid(provider)
    part = RefundWanted("o1.r1", name, 1200, is_whole=False)
    refund = await provider.refund(part, key="r1")
    assert (refund.state, refund.amount_minor) == (ProviderRefund.State.SUCCEEDED, 1200)
    assert await provider.refund(part, key="r1") == refund
    assert await provider.read_refund(part) == refund
    assert await provider.read_refund(replace(part, refund_id="o1.r2")) is None
    by_name = replace(part, refund_id="made by hand", provider_reference=refund.provider_reference)
    assert await provider.read_refund(by_name) == refund
    with pytest.raises(NotAccepted):
        await provider.read_refund(replace(part, provider_reference="re_unknown"))
    with pytest.raises(NotAccepted):
        await provider.refund(replace(part, refund_id="o1.r2"), key="r2")


async def test_the_customer_pays_on_stripes_page(both: Any) -> None:
    provider, sandbox = both
    wish = wanted(flow=Flow.HOSTED, captures_at_once=False)
    begun = await provider.begin(wish, key="k")
    assert begun.handover.redirect_url
    name = name_of(wish, begun.payment.provider_reference)
    await sandbox.act(f"checkout/sessions/{name.provider_reference}/pay")
    read = await provider.read(name)
    assert read is not None
    assert (read.state, read.provider_reference) == (ProviderState.AUTHORIZED, name.provider_reference)
    assert (await provider.capture(name, 2000, key="c")).state is ProviderState.CAPTURED
    refund = RefundWanted("o1.r1", name, 2000, is_whole=True)
    assert (await provider.refund(refund, key="r")).state is ProviderRefund.State.SUCCEEDED
    assert (await provider.read(name_of(wish))) is not None


@asynccontextmanager
async def hosted_by_its_intent() -> AsyncIterator[tuple[StripeProvider, Connection, PaymentName, str]]:
    """A page whose intent an event has told before our call was answered; and the page's own name."""
    async with connected(SandboxSettings(is_intent_made_at_once=True)) as sandbox:
        provider = provider_at(sandbox.url)
        wish = wanted(flow=Flow.HOSTED, captures_at_once=False)
        try:
            session_id = (await provider.begin(wish, key="k")).payment.provider_reference
            read = await provider.read(name_of(wish, session_id))
            assert read is not None
            [intent_id] = read.other_names
            yield provider, sandbox, name_of(wish, intent_id), session_id
        finally:
            await provider.close()


async def test_a_page_is_also_known_by_its_intent() -> None:
    async with hosted_by_its_intent() as (provider, sandbox, name, session_id):
        assert (await provider.hand_over(name)).handover.redirect_url
        await sandbox.act(f"checkout/sessions/{session_id}/pay")
        read = await provider.read(name)
        assert read is not None
        assert read.state is ProviderState.AUTHORIZED
        assert (await provider.capture(name, 2000, key="c")).state is ProviderState.CAPTURED
        refund = RefundWanted("o1.r1", name, 2000, is_whole=True)
        assert await provider.read_refund(refund) is None
        assert (await provider.refund(refund, key="r")).state is ProviderRefund.State.SUCCEEDED
        assert await provider.read_refund(refund) is not None


@pytest.mark.parametrize("is_paid", [False, True])
async def test_a_page_is_closed_by_its_intent(*, is_paid: bool) -> None:
    async with hosted_by_its_intent() as (provider, sandbox, name, session_id):
        if is_paid:
            await sandbox.act(f"checkout/sessions/{session_id}/pay")
        for _ in range(2):
            assert (await provider.void(name, key="v")).state is ProviderState.VOIDED


async def test_an_intent_without_a_page_is_not_taken_for_one() -> None:
    async with hosted_by_its_intent() as (provider, _, name, _):
        with pytest.raises(NotAccepted, match="resource_missing"):
            await provider.read(replace(name, provider_reference="pi_of_nobody"))


async def test_a_page_that_nobody_used_is_closed(both: Any) -> None:
    provider, _ = both
    wish = wanted(flow=Flow.HOSTED)
    begun = await provider.begin(wish, key="k")
    name = name_of(wish, begun.payment.provider_reference)
    assert (await provider.void(name, key="v")).state is ProviderState.VOIDED


async def test_a_slow_method_that_fails_after_the_page_was_used_is_the_end_of_it(both: Any) -> None:
    provider, sandbox = both
    wish = wanted(flow=Flow.HOSTED)
    begun = await provider.begin(wish, key="k")
    name = name_of(wish, begun.payment.provider_reference)
    debit = {"payment_method": "pm_usBankAccount_success"}
    await sandbox.act(f"checkout/sessions/{name.provider_reference}/pay", **debit)
    assert (await provider.read(name)).state is ProviderState.PROCESSING
    await sandbox.act(f"checkout/sessions/{name.provider_reference}/fail")
    assert (await provider.read(name)).state is ProviderState.VOIDED
    assert (await provider.void(name, key="v")).state is ProviderState.VOIDED


async def test_a_page_that_is_used_while_it_is_closed_is_called_off_under_the_same_key(
    both: Any,
) -> None:
    provider, sandbox = both
    wish = wanted(flow=Flow.HOSTED, captures_at_once=False)
    begun = await provider.begin(wish, key="k")
    reference = begun.payment.provider_reference
    name = name_of(wish, reference)
    fault = {"kind": "error_stored", "method": "POST", "path_prefix": "/v1/checkout/sessions"}
    await sandbox.act("faults/armed", **fault)
    with pytest.raises(OutcomeUnknown):
        await provider.void(name, key="v")
    await sandbox.act(f"checkout/sessions/{reference}/pay")
    assert (await provider.void(name, key="v")).state is ProviderState.VOIDED


@pytest.mark.parametrize(
    ("fault", "failure"),
    [
        ("error_before", OutcomeUnknown),
        ("error_after", OutcomeUnknown),
        ("error_stored", OutcomeUnknown),
        ("reset_before", OutcomeUnknown),
        ("reset_after", OutcomeUnknown),
        ("unavailable", OutcomeUnknown),
        ("key_in_use", NotDone),
        ("rate_limited", NotDone),
    ],
)
async def test_each_fault_says_what_is_known_of_the_effect(
    both: Any, fault: str, failure: type[Exception]
) -> None:
    provider, sandbox = both
    await sandbox.act("faults/armed", kind=fault, method="POST", path_prefix="/v1", remaining_count=1)
    with pytest.raises(failure) as caught:
        await provider.begin(wanted(), key="k")
    assert type(caught.value) is failure


async def test_a_stored_failure_spends_its_key(both: Any) -> None:
    provider, sandbox = both
    await sandbox.act(
        "faults/armed", kind="error_stored", method="POST", path_prefix="/v1", remaining_count=1
    )
    with pytest.raises(OutcomeUnknown):
        await provider.begin(wanted(), key="k")
    with pytest.raises(KeySpent):
        await provider.begin(wanted(), key="k")
    assert await provider.read(name_of(wanted())) is None
    assert (await provider.begin(wanted(), key="k2")).payment.payment_id == "o1.1"


async def test_a_stalled_call_is_repeated_and_has_one_effect() -> None:
    limits = CallLimits(attempt_seconds_max=2.0, total_seconds_max=120.0, repeat_count_max=20)
    async with speaking(limits) as (provider, sandbox):
        await sandbox.act(
            "faults/armed", kind="stall_after", method="POST", path_prefix="/v1", remaining_count=1
        )
        begun = await provider.begin(wanted(payment_method="pm_card_visa"), key="k")
        assert begun.payment.state is ProviderState.CAPTURED
        totals = await sandbox.get("/_sandbox/totals")
        assert totals["by_currency"]["usd"]["captured_minor"] == 2000


async def test_nobody_there_means_that_nothing_was_sent(unused_tcp_port: int) -> None:
    provider = provider_at(f"http://127.0.0.1:{unused_tcp_port}")
    with pytest.raises(Unreachable):
        await provider.begin(wanted(), key="k")
    await provider.close()


@pytest.mark.parametrize(
    ("currency_code", "amount_minor"), [("JPY", 500), ("KWD", 5120), ("ISK", 500), ("HUF", 50000)]
)
async def test_amounts_come_back_as_they_went(both: Any, currency_code: str, amount_minor: int) -> None:
    provider, _ = both
    _, payment = await paid(provider, currency_code=currency_code, amount_minor=amount_minor)
    assert payment.captured_minor == amount_minor


async def test_what_stripe_cannot_state_is_not_asked_for(both: Any) -> None:
    provider, sandbox = both
    for currency_code, amount_minor in (("KWD", 5121), ("USD", 100_000_000), ("LYD", 1000)):
        with pytest.raises(NotAccepted):
            await provider.begin(wanted(currency_code=currency_code, amount_minor=amount_minor), key="k")
    assert (await sandbox.get("/_sandbox/state"))["payment_intents"] == []


async def test_the_list_has_every_payment_with_its_refunds(both: Any) -> None:
    provider, _ = both
    name, _ = await paid(provider)
    await provider.refund(RefundWanted("o1.r1", name, 500, is_whole=False), key="r")
    await provider.begin(wanted(payment_id="o2.1", order_id="o2"), key="k2")
    listed = [each async for each in provider.payments_since(NOW - timedelta(hours=1))]
    assert {each.payment_id: each.captured_minor for each in listed} == {"o1.1": 2000, "o2.1": 0}
    assert {each.payment_id: [refund.refund_id for refund in each.refunds] for each in listed} == {
        "o1.1": ["o1.r1"],
        "o2.1": [],
    }
