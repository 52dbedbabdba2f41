"""The port, spoken to SumUp: against a sandbox that is as strict about the wire format."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from payment_providers.port import (
    Flow,
    NotAccepted,
    NotDone,
    OutcomeUnknown,
    ProviderState,
    RefundWanted,
    Unreachable,
)
from payment_providers.sumup.failures import failure_of
from tests.payment_providers.sumup_shop import (
    IMPATIENT,
    LIMITS,
    NOW,
    Clock,
    Shop,
    name_of,
    provider_at,
    speaking,
    wanted,
)
from tests.sandboxes.faults import FaultKind
from tests.sandboxes.sumup.settings import FAULT_KINDS


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    async with speaking() as speaking_shop:
        yield speaking_shop


# --- online ---------------------------------------------------------------------------------------


async def test_the_customer_pays_on_sumups_page(shop: Shop) -> None:
    begun = await shop.provider.begin(wanted(), key="k")
    assert begun.payment.state is ProviderState.AWAITING_CUSTOMER
    assert begun.payment.payment_id == "o1.1"
    name = name_of(wanted(), begun.payment.provider_reference)
    assert begun.handover.redirect_url.endswith(f"/pay/{name.provider_reference}")
    assert (await shop.provider.hand_over(name)).handover == begun.handover
    await shop.sandbox.act(f"checkouts/{name.provider_reference}/pay")
    told = await shop.existing(name)
    assert (told.state, told.captured_minor) == (ProviderState.CAPTURED, 2000)


async def test_an_embedded_payment_gets_what_the_widget_needs(shop: Shop) -> None:
    begun = await shop.provider.begin(wanted(flow=Flow.EMBEDDED), key="k")
    assert begun.handover.client_secret == begun.payment.provider_reference
    assert begun.handover.redirect_url == ""


async def test_one_call_makes_a_payment(shop: Shop) -> None:
    await shop.provider.begin(wanted(), key="k")
    await shop.provider.begin(wanted(payment_id="o2.1", flow=Flow.READER), key="k")
    counts = (await shop.sandbox.get("/_sandbox/calls"))["by_route"]
    assert sum(counts.values()) == 2


async def test_a_repeated_wish_finds_the_payment_that_it_made(shop: Shop) -> None:
    first = await shop.provider.begin(wanted(), key="k")
    assert await shop.provider.begin(wanted(), key="k") == first
    assert len((await shop.sandbox.get("/_sandbox/state"))["checkouts"]) == 1


async def test_our_id_with_another_amount_is_refused(shop: Shop) -> None:
    await shop.provider.begin(wanted(), key="k")
    with pytest.raises(NotAccepted, match="DUPLICATED_CHECKOUT"):
        await shop.provider.begin(wanted(amount_minor=1999), key="k")


async def test_a_payment_whose_answer_got_lost_is_found_by_our_id(shop: Shop) -> None:
    await shop.begun()
    second = await shop.begun(payment_id="o1.2")
    assert await shop.existing(replace(second, provider_reference="")) == await shop.existing(second)
    assert await shop.provider.read(name_of(wanted(payment_id="o1.3"))) is None


async def test_a_failed_attempt_leaves_a_payment_that_can_be_tried_again(shop: Shop) -> None:
    name = await shop.begun()
    await shop.sandbox.act(f"checkouts/{name.provider_reference}/decline")
    told = await shop.existing(name)
    assert (told.state, told.failure_code) == (ProviderState.AWAITING_CUSTOMER, "FAILED")
    await shop.sandbox.act(f"checkouts/{name.provider_reference}/pay")
    told = await shop.existing(name)
    assert (told.state, told.captured_minor, told.failure_code) == (ProviderState.CAPTURED, 2000, "")


async def test_an_attempt_under_way_is_told_and_cannot_be_called_off(shop: Shop) -> None:
    name = await shop.begun()
    await shop.sandbox.act(f"checkouts/{name.provider_reference}/begin")
    assert (await shop.existing(name)).state is ProviderState.PROCESSING
    with pytest.raises(NotDone):
        await shop.provider.void(name, key="v")
    await shop.sandbox.act(f"checkouts/{name.provider_reference}/settle")
    assert (await shop.existing(name)).state is ProviderState.CAPTURED


async def test_a_voided_checkout_stays_voided_however_often_it_is_asked_for(shop: Shop) -> None:
    name = await shop.begun()
    assert (await shop.provider.void(name, key="v")).state is ProviderState.VOIDED
    assert (await shop.provider.void(name, key="v")).state is ProviderState.VOIDED
    unnamed = replace(name, provider_reference="")
    assert (await shop.provider.void(unnamed, key="v")).state is ProviderState.VOIDED


async def test_what_is_paid_or_unknown_cannot_be_voided(shop: Shop) -> None:
    name = await shop.paid()
    with pytest.raises(NotAccepted, match="CHECKOUT_PROCESSED"):
        await shop.provider.void(name, key="v")
    with pytest.raises(NotAccepted, match="NOT_FOUND"):
        await shop.provider.void(replace(name, provider_reference="", payment_id="o9.1"), key="v")
    assert await shop.sandbox.totals() == (2000, 0)


async def test_a_checkout_expires_with_its_order(shop: Shop) -> None:
    name = await shop.begun(expire_time=NOW - timedelta(seconds=1))
    assert (await shop.existing(name)).state is ProviderState.VOIDED


async def test_what_sumup_does_not_have_is_refused_before_a_call(shop: Shop) -> None:
    name = name_of(wanted())
    for wish in (wanted(captures_at_once=False), wanted(payment_method="tok")):
        with pytest.raises(NotAccepted):
            await shop.provider.begin(wish, key="k")
    with pytest.raises(NotAccepted):
        await shop.provider.capture(name, 2000, key="c")
    assert (await shop.sandbox.get("/_sandbox/calls"))["by_route"] == {}


# --- amounts --------------------------------------------------------------------------------------


@pytest.mark.parametrize("flow", [Flow.HOSTED, Flow.READER])
@pytest.mark.parametrize(
    ("currency_code", "amount_minor"),
    [("EUR", 1), ("EUR", 1010), ("USD", 99_999_999_99), ("CLP", 500), ("HUF", 50_000), ("COP", 300)],
)
async def test_amounts_come_back_as_they_went(
    shop: Shop, currency_code: str, amount_minor: int, flow: Flow
) -> None:
    name = await shop.paid(currency_code=currency_code, amount_minor=amount_minor, flow=flow)
    assert (await shop.existing(name)).captured_minor == amount_minor
    assert await shop.sandbox.totals(currency_code) == (amount_minor, 0)


@pytest.mark.parametrize("flow", [Flow.HOSTED, Flow.READER])
async def test_what_sumup_cannot_state_is_not_asked_for(shop: Shop, flow: Flow) -> None:
    for currency_code, amount_minor in (("HUF", 50_050), ("COP", 1), ("JPY", 500), ("KWD", 5120)):
        with pytest.raises(NotAccepted):
            await shop.begun(currency_code=currency_code, amount_minor=amount_minor, flow=flow)
    assert (await shop.sandbox.get("/_sandbox/calls"))["by_route"] == {}


# --- what goes wrong ------------------------------------------------------------------------------


@pytest.mark.parametrize("flow", [Flow.HOSTED, Flow.READER])
@pytest.mark.parametrize(
    ("kind", "failure"),
    [
        ("error_before", OutcomeUnknown),
        ("error_after", OutcomeUnknown),
        ("reset_before", OutcomeUnknown),
        ("reset_after", OutcomeUnknown),
        ("unavailable", OutcomeUnknown),
        ("rate_limited", NotDone),
    ],
)
async def test_each_fault_says_what_is_known_of_the_effect(
    shop: Shop, flow: Flow, kind: str, failure: type[Exception]
) -> None:
    await shop.sandbox.arm(kind, "POST")
    with pytest.raises(failure) as caught:
        await shop.begun(flow=flow)
    assert type(caught.value) is failure


@pytest.mark.parametrize("kind", FAULT_KINDS)
async def test_a_checkout_is_made_once_whatever_the_first_answer(kind: FaultKind) -> None:
    limits = replace(IMPATIENT, repeat_count_max=20)
    async with speaking(limits) as shop:
        await shop.sandbox.arm(kind, "POST")
        name = await shop.paid()
        assert (await shop.existing(name)).captured_minor == 2000
        state = await shop.sandbox.get("/_sandbox/state")
        assert [each["checkout_reference"] for each in state["checkouts"]] == ["o1.1"]


@pytest.mark.parametrize("kind", FAULT_KINDS)
async def test_a_checkout_is_voided_whatever_the_first_answer(kind: FaultKind) -> None:
    async with speaking(replace(IMPATIENT, repeat_count_max=20)) as shop:
        name = await shop.begun()
        await shop.sandbox.arm(kind, "DELETE")
        assert (await shop.provider.void(name, key="v")).state is ProviderState.VOIDED


@pytest.mark.parametrize("flow", [Flow.HOSTED, Flow.READER])
@pytest.mark.parametrize("kind", ["error_after", "reset_after", "unavailable", "rate_limited"])
async def test_a_failure_to_look_is_not_taken_for_nothing_there(
    shop: Shop, flow: Flow, kind: str
) -> None:
    name = await shop.paid(flow=flow)
    await shop.sandbox.arm(kind, "GET")
    with pytest.raises((OutcomeUnknown, NotDone)):
        await shop.provider.read(name)
    assert (await shop.existing(name)).captured_minor == 2000


async def test_a_checkout_at_a_reader_is_not_repeated_blindly() -> None:
    async with speaking(replace(LIMITS, repeat_count_max=5)) as shop:
        await shop.sandbox.arm("error_after", "POST")
        with pytest.raises(OutcomeUnknown):
            await shop.begun(flow=Flow.READER)
        assert await shop.sandbox.call_count("POST", "/checkout") == 1


async def test_a_rate_limit_is_waited_for_as_long_as_it_says() -> None:
    async with speaking(replace(LIMITS, repeat_count_max=1)) as shop:
        await shop.sandbox.arm("rate_limited", "POST")
        assert (await shop.begun()).provider_reference
        await shop.sandbox.arm("rate_limited", "POST", count=2)
        with pytest.raises(NotDone) as caught:
            await shop.begun(payment_id="o2.1")
        assert caught.value.retry_after_seconds == 1


async def test_nobody_there_means_that_nothing_was_sent(unused_tcp_port: int) -> None:
    provider = provider_at(f"http://127.0.0.1:{unused_tcp_port}", Clock())
    with pytest.raises(Unreachable):
        await provider.begin(wanted(), key="k")
    await provider.close()


async def test_a_wrong_key_costs_no_payment_its_life() -> None:
    async with speaking(api_key="sup_sk_other") as shop:
        with pytest.raises(NotDone, match="unauthorized"):
            await shop.provider.read(name_of(wanted(), "some-checkout"))
        assert type(failure_of(httpx.Response(403, json={"error_code": "FORBIDDEN"}))) is NotDone


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"error_code": "MISSING", "message": "m", "param": "p"}, "MISSING"),
        ([{"error_code": "MISSING", "param": "p"}, {"error_code": "INVALID"}], "MISSING"),
        ({"error_message": "no", "error_code": "INVALID", "status_code": "400"}, "INVALID"),
        ({"errors": {"type": "READER_UNKNOWN", "detail": "d"}}, "READER_UNKNOWN"),
        ({"errors": {"tip_rates": ["is invalid"]}}, "http_422"),
        ({"type": "https://developer.sumup.com/problem/not-found", "title": "t"}, "not-found"),
        ("a text", "http_422"),
        ([], "http_422"),
    ],
)
def test_every_form_of_error_tells_its_word(body: Any, code: str) -> None:
    failure = failure_of(httpx.Response(422, json=body))
    assert (type(failure), failure.code) == (NotAccepted, code)


def test_a_redirect_tells_nothing() -> None:
    assert type(failure_of(httpx.Response(302))) is OutcomeUnknown


@pytest.mark.parametrize(
    "answer",
    [
        b"[]",
        b"{",
        b'{"id": "c", "checkout_reference": "o1.1", "status": "NEW", "currency": "EUR", "amount": 1}',
    ],
)
async def test_an_answer_that_makes_no_sense_tells_nothing(answer: bytes) -> None:
    provider = provider_at("http://sumup.example", Clock())
    transport = httpx.MockTransport(lambda _request: httpx.Response(200, content=answer))
    provider._transport._http = httpx.AsyncClient(transport=transport, base_url="http://sumup.example")
    with pytest.raises(OutcomeUnknown, match="malformed_answer"):
        await provider.read(name_of(wanted(), "c"))


# --- the history ----------------------------------------------------------------------------------


async def test_the_history_has_every_payment_once_with_its_refunds(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("payment_providers.sumup.history.PAGE_SIZE", 2)
    online = await shop.begun()
    for act in ("decline", "decline", "pay"):
        await shop.sandbox.act(f"checkouts/{online.provider_reference}/{act}")
    in_store = await shop.paid(payment_id="o2.1", flow=Flow.READER)
    await shop.begun(payment_id="o3.1")
    for number, name in (("1", online), ("2", in_store)):
        refund = RefundWanted(f"o{number}.r1", name, 500, is_whole=False)
        await shop.provider.refund(refund, key="r")
    listed = [each async for each in shop.provider.payments_since(NOW - timedelta(hours=1))]
    assert [(each.payment_id, each.provider_reference, each.captured_minor) for each in listed] == [
        ("o1.1", online.provider_reference, 2000),
        ("o2.1", in_store.provider_reference, 2000),
    ]
    assert [[refund.amount_minor for refund in each.refunds] for each in listed] == [[500], [500]]
    later = datetime.now(UTC) + timedelta(hours=1)
    assert [each async for each in shop.provider.payments_since(later)] == []
