"""The port, spoken to PayPal: against a sandbox that is as strict about the wire format."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from payment_providers.port import (
    Declined,
    Flow,
    Handover,
    NotAccepted,
    NotDone,
    OutcomeUnknown,
    ProviderRefund,
    ProviderState,
    RefundWanted,
)
from tests.payment_providers.paypal_shop import (
    NOW,
    ORDERS,
    Both,
    begun,
    insisting,
    name_of,
    paid,
    read,
    speaking,
    taken_minor,
    wanted,
)
from tests.sandboxes.paypal.settings import PayPalSettings as SandboxSettings


@pytest.fixture
async def both() -> AsyncIterator[Both]:
    async with speaking() as pair:
        yield pair


# --- beginning ------------------------------------------------------------------------------------


async def test_the_customer_is_sent_to_paypals_page(both: Both) -> None:
    provider, _ = both
    answer = await provider.begin(wanted(), key="k")
    payment = answer.payment
    assert (payment.state, payment.payment_id) == (ProviderState.AWAITING_CUSTOMER, "o1.1")
    url = answer.handover.redirect_url
    assert url.endswith(f"/checkoutnow?token={payment.provider_reference}")
    assert url not in repr(answer)
    again = await provider.hand_over(name_of(wanted(), payment.provider_reference))
    assert again == answer


async def test_paypals_buttons_get_the_order_as_their_secret(both: Both) -> None:
    provider, _ = both
    answer = await provider.begin(wanted(flow=Flow.EMBEDDED), key="k")
    assert answer.handover == Handover(client_secret=answer.payment.provider_reference)


async def test_the_same_key_makes_the_same_payment_and_tells_how_it_is_by_now(both: Both) -> None:
    provider, sandbox = both
    name = await begun(both, "approve")
    again = await provider.begin(wanted(), key="o1.1:begin")
    assert again.payment.provider_reference == name.provider_reference
    assert again.payment.state is ProviderState.AUTHORIZED
    assert len((await sandbox.look("state"))["orders"]) == 1


async def test_an_order_that_nobody_was_shown_leaves_no_trace(both: Both) -> None:
    provider, sandbox = both
    await sandbox.arm("reset_after", ORDERS)
    with pytest.raises(OutcomeUnknown):
        await provider.begin(wanted(), key="k")
    assert await provider.read(name_of(wanted())) is None
    answer = await provider.begin(wanted(), key="k")
    [order] = (await sandbox.look("state"))["orders"]
    assert answer.payment.provider_reference == order["id"]


async def test_an_order_that_paypal_has_forgotten_can_no_longer_be_paid(both: Both) -> None:
    provider, _ = both
    name = await begun(both, "expire")
    gone = await read(both, name)
    assert (gone.state, gone.captured_minor) == (ProviderState.VOIDED, 0)
    assert (await provider.void(name, key="v")).state is ProviderState.VOIDED
    with pytest.raises(NotAccepted):
        await provider.capture(name, 2000, key="c")


async def test_a_payment_needs_no_description(both: Both) -> None:
    provider, sandbox = both
    await provider.begin(wanted(description=""), key="k")
    await provider.begin(wanted(payment_id="o2.1", description=200 * "ü"), key="k2")
    first, second = (await sandbox.look("state"))["orders"]
    assert "description" not in first["purchase_units"][0]
    assert second["purchase_units"][0]["description"] == 127 * "ü"


async def test_a_token_of_a_means_of_payment_is_not_asked_for(both: Both) -> None:
    provider, sandbox = both
    with pytest.raises(NotAccepted):
        await provider.begin(wanted(payment_method="vault-1"), key="k")
    assert (await sandbox.look("state"))["orders"] == []


# --- capturing ------------------------------------------------------------------------------------


async def test_an_approved_order_is_authorized_and_waits_for_our_capture(both: Both) -> None:
    provider, sandbox = both
    name = await begun(both, "approve")
    approved = await read(both, name)
    assert (approved.state, approved.authorized_minor) == (ProviderState.AUTHORIZED, 2000)
    assert approved.is_only_approved
    assert await taken_minor(sandbox) == 0
    captured = await provider.capture(name, 2000, key="c")
    assert (captured.state, captured.captured_minor) == (ProviderState.CAPTURED, 2000)
    assert captured.payment_id == "o1.1"
    assert await read(both, name) == captured


async def test_an_order_is_captured_once_through_however_many_doors(both: Both) -> None:
    provider, sandbox = both
    name = await begun(both, "approve")

    def capturing(key: str) -> Any:
        return insisting(lambda: provider.capture(name, 2000, key=key))

    told = await asyncio.gather(*(capturing(key) for key in ("a", "b", "a", "c")))
    assert {each.captured_minor for each in told} == {2000}
    assert await taken_minor(sandbox) == 2000


async def test_an_order_to_be_captured_at_once_has_no_parts(both: Both) -> None:
    provider, sandbox = both
    name = await begun(both, "approve")
    with pytest.raises(NotAccepted) as caught:
        await provider.capture(name, 1500, key="c")
    assert caught.value.code == "partial_capture_not_supported"
    assert await taken_minor(sandbox) == 0


async def test_an_order_that_nobody_approved_cannot_be_captured(both: Both) -> None:
    provider, _ = both
    name = await begun(both)
    with pytest.raises(NotAccepted) as caught:
        await provider.capture(name, 2000, key="c")
    assert caught.value.code == "ORDER_NOT_APPROVED"


async def test_two_orders_of_one_payment_take_its_money_once(both: Both) -> None:
    provider, sandbox = both
    first = await begun(both, "approve")
    await sandbox.act("request_ids/forget", request_id="o1.1:begin")
    second = await begun(both, "approve")
    assert first != second
    await provider.capture(first, 2000, key="c")
    with pytest.raises(NotAccepted) as caught:
        await provider.capture(second, 2000, key="c")
    assert caught.value.code == "DUPLICATE_INVOICE_ID"
    assert await taken_minor(sandbox) == 2000


async def test_held_money_is_captured_in_part_after_being_held(both: Both) -> None:
    provider, sandbox = both
    name = await begun(both, "approve", captures_at_once=False)
    assert (await read(both, name)).is_only_approved
    held = await provider.authorize(name, key="a")
    assert not held.is_only_approved
    assert (held.state, held.authorized_minor) == (ProviderState.AUTHORIZED, 2000)
    assert await provider.authorize(name, key="a") == held
    assert await provider.authorize(name, key="another") == held
    captured = await provider.capture(name, 1500, key="c")
    assert (captured.state, captured.captured_minor) == (ProviderState.CAPTURED, 1500)
    assert (await read(both, name)).captured_minor == 1500
    assert (await provider.capture(name, 1500, key="c2")).captured_minor == 1500
    assert await taken_minor(sandbox) == 1500
    [order] = (await sandbox.look("state"))["orders"]
    [authorization] = order["purchase_units"][0]["payments"]["authorizations"]
    assert authorization["status"] == "CAPTURED"  # the rest is released, not kept for more


async def test_a_capture_holds_the_money_first_if_nobody_did(both: Both) -> None:
    provider, sandbox = both
    name = await begun(both, "approve", captures_at_once=False)
    assert (await provider.capture(name, 1500, key="c")).captured_minor == 1500
    assert await taken_minor(sandbox) == 1500


async def test_a_refused_instrument_is_a_decline_after_which_the_customer_may_try_again(
    both: Both,
) -> None:
    provider, sandbox = both
    name = await begun(both, "decline")
    with pytest.raises(Declined) as caught:
        await provider.capture(name, 2000, key="c1")
    assert caught.value.code == "INSTRUMENT_DECLINED"
    assert (await read(both, name)).state is ProviderState.AWAITING_CUSTOMER
    await sandbox.act(f"orders/{name.provider_reference}/approve")
    assert (await provider.capture(name, 2000, key="c2")).captured_minor == 2000


@pytest.mark.parametrize("captures_at_once", [True, False])
async def test_a_decline_that_paypal_calls_created_is_a_decline(
    both: Both, captures_at_once: bool
) -> None:
    provider, sandbox = both
    name = await begun(both, "fail", captures_at_once=captures_at_once)
    with pytest.raises(Declined):
        await provider.capture(name, 2000, key="c")
    assert (await read(both, name)).state is ProviderState.VOIDED
    assert await taken_minor(sandbox) == 0


@pytest.mark.parametrize("captures_at_once", [True, False])
async def test_a_pending_capture_is_in_process_until_paypal_says_its_last_word(
    both: Both, captures_at_once: bool
) -> None:
    provider, sandbox = both
    name = await begun(both, "approve_slowly", captures_at_once=captures_at_once)
    pending = await provider.capture(name, 2000, key="c")
    assert (pending.state, pending.captured_minor) == (ProviderState.PROCESSING, 0)
    with pytest.raises(NotAccepted):
        await provider.void(name, key="v")
    [order] = (await sandbox.look("state"))["orders"]
    [capture] = order["purchase_units"][0]["payments"]["captures"]
    await sandbox.act(f"captures/{capture['id']}/settle")
    assert (await read(both, name)).state is ProviderState.CAPTURED


# --- voiding --------------------------------------------------------------------------------------


async def test_held_money_is_let_go_once(both: Both) -> None:
    provider, _ = both
    name = await begun(both, "approve", captures_at_once=False)
    await provider.authorize(name, key="a")
    voided = await provider.void(name, key="v")
    assert (voided.state, voided.authorized_minor) == (ProviderState.VOIDED, 0)
    assert (await provider.void(name, key="v")).state is ProviderState.VOIDED
    assert (await read(both, name)).state is ProviderState.VOIDED
    with pytest.raises(NotAccepted):
        await provider.capture(name, 2000, key="c")


async def test_held_money_is_let_go_once_though_two_ask_for_it() -> None:
    async with speaking(sandbox=SandboxSettings(think_seconds=0.5)) as both:
        provider, _ = both
        name = await begun(both, "approve", captures_at_once=False)
        await provider.authorize(name, key="a")
        told = await asyncio.gather(*(provider.void(name, key=key) for key in ("v", "w")))
        assert {each.state for each in told} == {ProviderState.VOIDED}


async def test_an_approval_is_voided_by_never_being_used(both: Both) -> None:
    provider, sandbox = both
    name = await begun(both, "approve")
    assert (await provider.void(name, key="v")).state is ProviderState.VOIDED
    assert await taken_minor(sandbox) == 0


@pytest.mark.parametrize("captures_at_once", [True, False])
async def test_a_captured_payment_cannot_be_voided(both: Both, captures_at_once: bool) -> None:
    name, _ = await paid(both, captures_at_once=captures_at_once)
    with pytest.raises(NotAccepted):
        await both[0].void(name, key="v")


# --- refunding ------------------------------------------------------------------------------------


async def test_money_is_refunded_once_a_key_and_never_beyond_what_there_is(both: Both) -> None:
    provider, sandbox = both
    name, _ = await paid(both)
    part = RefundWanted("o1.r1", name, 1200, is_whole=False)
    refund = await provider.refund(part, key="r1")
    assert (refund.state, refund.amount_minor) == (ProviderRefund.State.SUCCEEDED, 1200)
    assert refund.payment_reference == name.provider_reference
    assert await provider.refund(part, key="r1") == refund
    assert await provider.read_refund(part) == refund
    assert await provider.read_refund(replace(part, refund_id="o1.r2")) is None
    with pytest.raises(NotAccepted) as caught:
        await provider.refund(replace(part, refund_id="o1.r2"), key="r2")
    assert caught.value.code == "REFUND_AMOUNT_EXCEEDED"
    assert (await sandbox.look("totals"))["by_currency"]["USD"]["refunded_minor"] == 1200
    assert (await read(both, name)).captured_minor == 2000


async def test_a_refund_may_pend_and_fail(both: Both) -> None:
    provider, sandbox = both
    name, _ = await paid(both)
    [order] = (await sandbox.look("state"))["orders"]
    [capture] = order["purchase_units"][0]["payments"]["captures"]
    await sandbox.act(f"captures/{capture['id']}/slow_refunds")
    wish = RefundWanted("o1.r1", name, 2000, is_whole=True)
    refund = await provider.refund(wish, key="r")
    assert refund.state is ProviderRefund.State.PENDING
    await sandbox.act(f"refunds/{refund.provider_reference}/fail")
    failed = await provider.read_refund(wish)
    assert failed is not None
    assert (failed.state, failed.failure_code) == (ProviderRefund.State.FAILED, "ECHECK")
    by_name = replace(wish, refund_id="made by hand", provider_reference=refund.provider_reference)
    assert await provider.read_refund(by_name) == failed
    with pytest.raises(NotAccepted):
        await provider.read_refund(replace(wish, provider_reference="9XX00000XX000000X"))


async def test_what_was_not_captured_cannot_be_refunded(both: Both) -> None:
    name = await begun(both, "approve")
    with pytest.raises(NotAccepted):
        await both[0].refund(RefundWanted("o1.r1", name, 2000, is_whole=True), key="r")


async def test_a_pending_capture_is_refunded_later(both: Both) -> None:
    provider, _ = both
    name = await begun(both, "approve_slowly")
    await provider.capture(name, 2000, key="c")
    with pytest.raises(NotDone):
        await provider.refund(RefundWanted("o1.r1", name, 2000, is_whole=True), key="r")


# --- amounts and lists ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("currency_code", "amount_minor", "value"),
    [
        ("USD", 5, "0.05"),
        ("EUR", 123_456_789, "1234567.89"),
        ("JPY", 500, "500"),
        ("HUF", 50_000, "500"),
        ("TWD", 50_000, "500"),
    ],
)
async def test_amounts_come_back_as_they_went(
    both: Both, currency_code: str, amount_minor: int, value: str
) -> None:
    name, payment = await paid(both, currency_code=currency_code, amount_minor=amount_minor)
    assert payment.captured_minor == amount_minor
    [order] = (await both[1].look("state"))["orders"]
    assert order["purchase_units"][0]["amount"]["value"] == value
    refund = RefundWanted("o1.r1", name, amount_minor, is_whole=True)
    assert (await both[0].refund(refund, key="r")).amount_minor == amount_minor
    assert await taken_minor(both[1], currency_code) == amount_minor


@pytest.mark.parametrize(
    ("currency_code", "amount_minor", "code"),
    [
        ("HUF", 50_050, "amount_too_fine"),
        ("TWD", 1, "amount_too_fine"),
        ("KWD", 1000, "currency_not_supported"),
        ("INR", 1000, "currency_not_supported"),
        ("CLP", 1000, "currency_not_supported"),
    ],
)
async def test_what_paypal_cannot_state_is_not_asked_for(
    both: Both, currency_code: str, amount_minor: int, code: str
) -> None:
    provider, sandbox = both
    with pytest.raises(NotAccepted) as caught:
        await provider.begin(wanted(currency_code=currency_code, amount_minor=amount_minor), key="k")
    assert caught.value.code == code
    assert (await sandbox.look("state"))["orders"] == []


async def test_the_list_has_all_money_with_its_refunds(both: Both) -> None:
    provider, _ = both
    name, _ = await paid(both)
    await provider.refund(RefundWanted("o1.r1", name, 500, is_whole=False), key="r")
    await paid(both, payment_id="o2.1", order_id="o2", amount_minor=700)
    await begun(both, "approve", payment_id="o3.1", order_id="o3")
    listed = [each async for each in provider.payments_since(NOW - timedelta(days=70))]
    assert {each.payment_id: each.captured_minor for each in listed} == {"o1.1": 2000, "o2.1": 700}
    assert {
        each.payment_id: [(refund.refund_id, refund.amount_minor) for refund in each.refunds]
        for each in listed
    } == {"o1.1": [("o1.r1", 500)], "o2.1": []}


async def test_a_refund_made_by_hand_is_listed_as_nobodys(both: Both) -> None:
    provider, sandbox = both
    await paid(both)
    [order] = (await sandbox.look("state"))["orders"]
    [capture] = order["purchase_units"][0]["payments"]["captures"]
    await sandbox.send("POST", f"/v2/payments/captures/{capture['id']}/refund", {})
    [listed] = [each async for each in provider.payments_since(NOW - timedelta(hours=1))]
    assert listed.captured_minor == 2000
    assert [(each.refund_id, each.amount_minor) for each in listed.refunds] == [("", 2000)]


async def test_the_list_is_read_to_its_last_page(both: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("payment_providers.paypal.transactions.PAGE_SIZE", 2)
    for number in range(5):
        await paid(both, payment_id=f"o{number}.1", order_id=f"o{number}")
    listed = [each async for each in both[0].payments_since(NOW - timedelta(hours=1))]
    assert sorted(each.payment_id for each in listed) == [f"o{number}.1" for number in range(5)]
