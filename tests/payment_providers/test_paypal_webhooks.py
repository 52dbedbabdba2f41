"""Who calls, and what PayPal's webhooks tell: the sandbox signs with an authority of its own."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from payment_providers.calls import CallLimits
from payment_providers.paypal.provider import PayPalProvider
from payment_providers.paypal.settings import PayPalSettings
from payment_providers.paypal.webhooks import Transmission
from payment_providers.port import (
    Callback,
    CallbackRefused,
    Flow,
    NotDone,
    PaymentName,
    PaymentWanted,
    ProviderPayment,
    ProviderRefund,
    ProviderState,
    RefundWanted,
)
from tests.eventually import eventually
from tests.sandboxes.deliveries import DeliverySettings
from tests.sandboxes.paypal.certificates import NAME, authority_called, key_called, signer_of
from tests.sandboxes.paypal.connection import Connection, connected
from tests.sandboxes.paypal.settings import PayPalSettings as SandboxSettings
from tests.sandboxes.paypal.settings import Webhook
from tests.sandboxes.paypal.webhook_delivery import signed_headers
from tests.sandboxes.receiver import Received, Receiver, receiving
from webhooks.hearing import Heard, Hearing

LIMITS = CallLimits(attempt_seconds_max=60.0, total_seconds_max=120.0, repeat_count_max=0)
WEBHOOK_ID = "WEBHOOK1"
PATIENCE_SECONDS = 60.0
BODY = b'{"id":"WH-1","event_type":"PAYMENT.CAPTURE.COMPLETED"}'

Both = tuple[PayPalProvider, Connection]


@asynccontextmanager
async def hearing(settings: SandboxSettings | None = None) -> AsyncIterator[Both]:
    async with connected(settings) as sandbox:
        provider = PayPalProvider(
            PayPalSettings(
                client_id="client_sandbox",
                client_secret="secret_sandbox",
                webhook_ids=("WEBHOOK0", WEBHOOK_ID),
                api_url=sandbox.url,
                certificate_urls=(f"{sandbox.url}/v1/notifications/certs/",),
                certificate_name=NAME,
                certificate_authorities_pem=sandbox.sandbox.authority.pem,
                limits=LIMITS,
            ),
            monotonic=time.monotonic,
            clock=lambda: datetime.now(UTC),
            chance=Random(7),
        )
        try:
            yield provider, sandbox
        finally:
            await provider.close()


@pytest.fixture
async def both() -> AsyncIterator[Both]:
    async with hearing() as pair:
        yield pair


def now() -> datetime:
    return datetime.now(UTC)


def headers_for(sandbox: Connection, body: bytes = BODY, **other: Any) -> dict[str, str]:
    """As PayPal would send them, but for what is told otherwise; names in lower case."""
    key: RSAPrivateKey = other.get("key", sandbox.sandbox.signer.key)
    headers = signed_headers(
        body,
        webhook_id=other.get("webhook_id", WEBHOOK_ID),
        key=key,
        certificate_url=other.get("certificate_url", sandbox.sandbox.webhooks.certificate_url),
        time_text=other.get("sent", now()).isoformat(),
    )
    return {name.lower(): value for name, value in headers.items()}


async def refusal_of(both: Both, headers: dict[str, str], body: bytes = BODY) -> str:
    with pytest.raises(CallbackRefused) as caught:
        await both[0].verify(headers, body, now())
    return caught.value.reason


async def certificate_reads(sandbox: Connection) -> int:
    routes = (await sandbox.look("calls"))["by_route"]
    return sum(count for route, count in routes.items() if "/certs/" in route)


# --- who calls ------------------------------------------------------------------------------------


def test_what_is_signed_is_the_documented_message() -> None:
    sent = Transmission("tid-1", "2026-11-21T00:00:00Z", "https://api.paypal.com/x", b"")
    message = sent.signed_message("WHID", BODY)
    assert message == b"tid-1|2026-11-21T00:00:00Z|WHID|2325436976"


async def test_a_signed_event_is_trusted_and_its_certificate_fetched_once(both: Both) -> None:
    provider, sandbox = both
    verified = [provider.verify(headers_for(sandbox), BODY, now()) for _ in range(10)]
    callbacks = await asyncio.gather(*verified)
    assert set(callbacks) == {Callback("WH-1", "PAYMENT.CAPTURE.COMPLETED", BODY, is_signed=True)}
    assert await certificate_reads(sandbox) == 1


@pytest.mark.parametrize(
    "changed",
    [
        {"paypal-auth-algo": "SHA1withRSA"},
        {"paypal-auth-algo": "none"},
        {"paypal-transmission-id": "another"},
        {"paypal-transmission-id": ""},
        {"paypal-transmission-sig": ""},
        {"paypal-transmission-sig": "not base64"},
        {"paypal-transmission-sig": "AAAA"},
        {"paypal-transmission-time": "yesterday"},
        {"paypal-transmission-time": "2026-11-21T00:00:00"},
        {"paypal-transmission-time": ""},
    ],
)
async def test_headers_that_paypal_did_not_send_are_refused(both: Both, changed: dict[str, str]) -> None:
    assert await refusal_of(both, {**headers_for(both[1]), **changed}) == "unsigned"


async def test_nothing_at_all_is_unsigned(both: Both) -> None:
    assert await refusal_of(both, {}) == "unsigned"


async def test_a_changed_body_is_refused(both: Both) -> None:
    assert await refusal_of(both, headers_for(both[1]), BODY + b" ") == "unsigned"


async def test_an_event_for_another_webhook_is_refused(both: Both) -> None:
    headers = headers_for(both[1], webhook_id="SOMEBODYELSES")
    assert await refusal_of(both, headers) == "unsigned"


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/v1/notifications/certs/CERT-1",
        "{origin}.evil.example/v1/notifications/certs/CERT-sandbox-0001",
        "{origin}@evil.example/v1/notifications/certs/CERT-sandbox-0001",
        "{origin}/v1/notifications/certs/../../../_sandbox/authority",
        "{origin}/v1/notifications/certs/CERT-sandbox-0001?x=1",
        "{origin}/v1/notifications/certs/",
        "{origin}/uploads/CERT-sandbox-0001",
        "file:///etc/ssl/certs/ca.pem",
        "",
    ],
)
async def test_a_certificate_elsewhere_is_not_even_asked_for(both: Both, url: str) -> None:
    sandbox = both[1]
    headers = headers_for(sandbox, certificate_url=url.format(origin=sandbox.url))
    assert await refusal_of(both, headers) == "unsigned"
    assert (await sandbox.look("calls"))["by_route"] == {}


@pytest.mark.parametrize(
    ("authority", "name", "age"),
    [
        pytest.param("somebody", NAME, timedelta(hours=1), id="an authority nobody knows"),
        pytest.param("paypal", "evil.example", timedelta(hours=1), id="another name"),
        pytest.param("paypal", NAME, timedelta(days=2), id="expired"),
        pytest.param("paypal", NAME, timedelta(hours=-2), id="not valid yet"),
    ],
)
async def test_a_forged_certificate_is_refused(
    both: Both, authority: str, name: str, age: timedelta
) -> None:
    sandbox = both[1]
    signer = signer_of(authority_called(authority), name=name, issued=now() - age, key_label="forger")
    sandbox.sandbox.certificate_by_id["CERT-forged"] = signer.pem
    url = f"{sandbox.url}/v1/notifications/certs/CERT-forged"
    headers = headers_for(sandbox, certificate_url=url, key=signer.key)
    assert await refusal_of(both, headers) == "unsigned"


async def test_a_certificate_that_has_ended_since_it_was_fetched_is_refused(both: Both) -> None:
    provider, sandbox = both
    await provider.verify(headers_for(sandbox), BODY, now())
    later = now() + timedelta(days=2)
    with pytest.raises(CallbackRefused):
        await provider.verify(headers_for(sandbox, sent=later), BODY, later)


async def test_a_certificate_of_another_key_is_refused(both: Both) -> None:
    headers = headers_for(both[1], key=key_called("forger"))
    assert await refusal_of(both, headers) == "unsigned"


@pytest.mark.parametrize("served", [None, b"", b"<html></html>"])
async def test_what_is_no_certificate_is_refused(both: Both, served: bytes | None) -> None:
    sandbox = both[1]
    if served is not None:
        sandbox.sandbox.certificate_by_id["CERT-odd"] = served
    url = f"{sandbox.url}/v1/notifications/certs/CERT-odd"
    assert await refusal_of(both, headers_for(sandbox, certificate_url=url)) == "unsigned"


@pytest.mark.parametrize("fault", ["error_before", "reset_before", "unavailable", "rate_limited"])
async def test_a_certificate_that_cannot_be_fetched_now_is_fetched_for_the_next_delivery(
    both: Both, fault: str
) -> None:
    provider, sandbox = both
    await sandbox.arm(fault, "/v1/notifications/certs/", method="GET")
    with pytest.raises(NotDone):
        await provider.verify(headers_for(sandbox), BODY, now())
    callback = await provider.verify(headers_for(sandbox), BODY, now())
    assert callback.is_signed


async def test_as_long_as_it_cannot_be_fetched_paypal_is_told_to_call_again(both: Both) -> None:
    provider, sandbox = both
    no_commands: Any = None
    hears = Hearing({"paypal": provider}, no_commands, now)
    await sandbox.arm("unavailable", "/v1/notifications/certs/", method="GET")
    heard = await hears.hear("paypal", headers_for(sandbox), BODY)
    assert (heard, heard.value) == (Heard.NOT_NOW, 503)


@pytest.mark.parametrize(
    ("age", "reason"),
    [
        (timedelta(days=3, hours=2), "stale"),
        (timedelta(minutes=-6), "future"),
        (timedelta(days=3), ""),
        (timedelta(minutes=-4), ""),
    ],
)
async def test_a_time_too_far_off_is_refused_both_ways(both: Both, age: timedelta, reason: str) -> None:
    headers = headers_for(both[1], sent=now() - age)
    if reason:
        assert await refusal_of(both, headers) == reason
    else:
        assert (await both[0].verify(headers, BODY, now())).is_signed


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"id":1,"event_type":"x"}', b'{"id":"WH-1"}'])
async def test_a_signed_body_that_is_no_event_is_malformed(both: Both, body: bytes) -> None:
    assert await refusal_of(both, headers_for(both[1], body), body) == "malformed"


# --- what it tells --------------------------------------------------------------------------------


@asynccontextmanager
async def subscribed(deliveries: DeliverySettings | None = None) -> AsyncIterator[tuple[Both, Receiver]]:
    async with receiving() as receiver:
        webhook = Webhook(receiver.url, WEBHOOK_ID)
        settings = SandboxSettings(deliveries=deliveries or DeliverySettings(), webhooks=(webhook,))
        async with hearing(settings) as pair:
            yield pair, receiver


async def heard(receiver: Receiver, count: int) -> list[Received]:
    async def has_come() -> bool:
        return len(receiver.received) >= count

    await eventually(has_come, seconds=PATIENCE_SECONDS)
    return receiver.received


async def told(both: Both, received: Received) -> list[ProviderPayment | ProviderRefund]:
    callback = await both[0].verify(received.headers, received.body, now())
    return list(await both[0].interpret(callback))


async def begun(both: Both, act: str = "approve", *, captures_at_once: bool = True) -> PaymentName:
    provider, sandbox = both
    wish = PaymentWanted(
        payment_id="o1.1",
        order_id="o1",
        currency_code="USD",
        amount_minor=2000,
        flow=Flow.EMBEDDED,
        captures_at_once=captures_at_once,
        description="Order 1",
        create_time=now(),
    )
    reference = (await provider.begin(wish, key="k")).payment.provider_reference
    await sandbox.act(f"orders/{reference}/{act}")
    return PaymentName("o1.1", reference, "USD", Flow.EMBEDDED, wish.create_time)


async def test_an_approval_a_capture_and_a_refund_are_told() -> None:
    async with subscribed() as (both, receiver):
        provider, _ = both
        name = await begun(both)
        await provider.capture(name, 2000, key="c")
        await provider.refund(RefundWanted("o1.r1", name, 500, is_whole=False), key="r")
        received = await heard(receiver, 4)
        types = [each.json()["event_type"] for each in received]
        assert types == [
            "CHECKOUT.ORDER.APPROVED",
            "PAYMENT.CAPTURE.COMPLETED",
            "CHECKOUT.ORDER.COMPLETED",
            "PAYMENT.CAPTURE.REFUNDED",
        ]
        heard_of = [(await told(both, each))[0] for each in received]
        *payments, refund = heard_of
        assert [(each.payment_id, each.provider_reference) for each in payments] == 3 * [
            ("o1.1", name.provider_reference)
        ]
        assert [(each.state, each.captured_minor) for each in payments] == [  # type: ignore[union-attr] # payments they are
            (ProviderState.AUTHORIZED, 0),
            (ProviderState.CAPTURED, 2000),
            (ProviderState.CAPTURED, 2000),
        ]
        assert refund.payment_id == "o1.1"  # without it the webhook service takes it for somebody else's
        assert refund == await provider.read_refund(RefundWanted("o1.r1", name, 500, is_whole=False))


async def test_a_held_payment_and_its_end_are_told() -> None:
    async with subscribed() as (both, receiver):
        provider, _ = both
        name = await begun(both, captures_at_once=False)
        await provider.authorize(name, key="a")
        await provider.void(name, key="v")
        received = await heard(receiver, 3)
        states = [(await told(both, each))[0].state for each in received]
        assert states == [
            ProviderState.AUTHORIZED,
            ProviderState.AUTHORIZED,
            ProviderState.VOIDED,
        ]


async def test_a_pending_capture_that_is_denied_is_told() -> None:
    async with subscribed() as (both, receiver):
        provider, sandbox = both
        name = await begun(both, "approve_slowly")
        await provider.capture(name, 2000, key="c")
        [order] = (await sandbox.look("state"))["orders"]
        [capture] = order["purchase_units"][0]["payments"]["captures"]
        await sandbox.act(f"captures/{capture['id']}/deny")
        received = await heard(receiver, 4)
        by_type = {each.json()["event_type"]: (await told(both, each))[0] for each in received}
        assert by_type["PAYMENT.CAPTURE.PENDING"].state is ProviderState.PROCESSING
        denied = by_type["PAYMENT.CAPTURE.DENIED"]
        assert (denied.state, denied.failure_code) == (ProviderState.VOIDED, "DECLINED")


@pytest.mark.parametrize(("is_gone", "states"), [(False, [ProviderState.VOIDED]), (True, [])])
async def test_an_approval_that_lapsed_is_told(is_gone: bool, states: list[ProviderState]) -> None:
    async with subscribed() as (both, receiver):
        name = await begun(both)
        await both[1].act(f"orders/{name.provider_reference}/reverse")
        if is_gone:
            await both[1].act(f"orders/{name.provider_reference}/expire")
        _, lapsed = await heard(receiver, 2)
        assert [each.state for each in await told(both, lapsed)] == states


async def test_money_that_paypal_took_back_is_looked_up() -> None:
    async with subscribed() as (both, receiver):
        name = await begun(both)
        await both[0].capture(name, 2000, key="c")
        [order] = (await both[1].look("state"))["orders"]
        [capture] = order["purchase_units"][0]["payments"]["captures"]
        up = {"href": capture["links"][0]["href"], "rel": "up", "method": "GET"}
        await both[1].act("events", event_type="PAYMENT.CAPTURE.REVERSED", resource={"links": [up]})
        received = await heard(receiver, 4)
        assert await told(both, received[-1]) == [await both[0].read(name)]


async def test_what_was_given_back_of_money_that_is_looked_up_is_told_as_well() -> None:
    async with subscribed() as (both, receiver):
        name = await begun(both)
        await both[0].capture(name, 2000, key="c")
        [order] = (await both[1].look("state"))["orders"]
        [capture] = order["purchase_units"][0]["payments"]["captures"]
        await both[1].send("POST", f"/v2/payments/captures/{capture['id']}/refund", {})
        up = {"href": capture["links"][0]["href"], "rel": "up", "method": "GET"}
        await both[1].act("events", event_type="PAYMENT.CAPTURE.REVERSED", resource={"links": [up]})
        received = await heard(receiver, 5)
        read = await both[0].read(name)
        assert read is not None
        [refund] = read.refunds
        assert (refund.refund_id, refund.payment_id, refund.amount_minor) == ("", "o1.1", 2000)
        assert await told(both, received[-1]) == [read, refund]


async def test_events_that_are_not_about_payments_tell_nothing() -> None:
    async with subscribed() as (both, receiver):
        await both[1].act("events", event_type="CUSTOMER.DISPUTE.CREATED", resource={"id": "PP-1"})
        [received] = await heard(receiver, 1)
        assert await told(both, received) == []


async def test_copies_of_an_event_have_one_id_in_whatever_order_they_come() -> None:
    wild = DeliverySettings(
        seed=5, duplicate_probability=1.0, duplicates_max=4, delay_seconds_max=0.3, in_flight_max=4
    )
    async with subscribed(wild) as (both, receiver):
        name = await begun(both)
        await both[0].capture(name, 2000, key="c")
        event_ids = {each["id"] for each in (await both[1].look("state"))["events"]}

        async def is_delivered() -> bool:
            return not (await both[1].look("deliveries"))["outstanding"]

        await eventually(is_delivered, seconds=PATIENCE_SECONDS)
        callbacks = [await both[0].verify(each.headers, each.body, now()) for each in receiver.received]
        assert len(callbacks) > 3
        assert {each.event_id for each in callbacks} == event_ids


async def test_a_refund_names_its_order_by_one_call() -> None:
    async with subscribed() as (both, receiver):
        provider, sandbox = both
        name = await begun(both)
        await provider.capture(name, 2000, key="c")
        await provider.refund(RefundWanted("o1.r1", name, 500, is_whole=False), key="r")
        refunded = (await heard(receiver, 4))[-1]
        assert "supplementary_data" not in json.loads(refunded.body)["resource"]
        before = sum((await sandbox.look("calls"))["by_route"].values())
        await told(both, refunded)
        after = sum((await sandbox.look("calls"))["by_route"].values())
        assert after - before == 1 + 1  # the certificate, which the next event needs no more
