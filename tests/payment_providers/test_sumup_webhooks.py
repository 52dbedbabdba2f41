"""What SumUp says when it calls, and how far that is believed."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from payment_providers.port import (
    Callback,
    CallbackRefused,
    Flow,
    NotDone,
    ProviderPayment,
    ProviderState,
)
from tests.eventually import eventually
from tests.payment_providers.sumup_shop import (
    NOW,
    READER_ID,
    Clock,
    Shop,
    provider_at,
    speaking,
)
from tests.sandboxes.deliveries import DeliverySettings
from tests.sandboxes.receiver import receiving
from tests.sandboxes.sumup.settings import SumUpSettings as SandboxSettings


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    async with speaking() as speaking_shop:
        yield speaking_shop


async def callback(body: dict[str, Any]) -> Callback:
    return await provider_at("http://sumup.example", Clock()).verify({}, json.dumps(body).encode(), NOW)


async def test_a_callback_is_a_hint_to_look(shop: Shop) -> None:
    name = await shop.paid()
    hint = await callback({"event_type": "CHECKOUT_STATUS_CHANGED", "id": name.provider_reference})
    assert not hint.is_signed
    (told,) = await shop.provider.interpret(hint)
    assert told == await shop.existing(name)


async def test_a_callback_of_a_reader_is_believed_in_nothing_but_its_id(shop: Shop) -> None:
    name = await shop.begun(flow=Flow.READER)
    payload = {
        "client_transaction_id": name.provider_reference,
        "merchant_code": "MSANDBOX",
        "status": "successful",
    }
    body = {"id": "e-1", "event_type": "solo.transaction.updated", "payload": payload}
    with pytest.raises(NotDone, match="transaction_not_seen"):
        await shop.provider.interpret(await callback(body))
    await shop.sandbox.act(f"readers/{READER_ID}/decline")
    (told,) = await shop.provider.interpret(await callback(body))
    assert isinstance(told, ProviderPayment)
    assert (told.state, told.captured_minor) == (ProviderState.VOIDED, 0)
    assert (await callback(body)).event_id == "e-1"


@pytest.mark.parametrize(
    "body",
    [
        {"event_type": "CHECKOUT_STATUS_CHANGED", "id": "4e425463-0000-0000-0000-000000000000"},
        {"event_type": "CHECKOUT_STATUS_CHANGED", "id": "../merchants/MSANDBOX"},
        {"event_type": "solo.transaction.updated", "id": "e", "payload": {"merchant_code": "M2"}},
        {"event_type": "solo.transaction.updated", "id": "e"},
        {"event_type": "something.new", "id": "e"},
    ],
)
async def test_forged_and_foreign_callbacks_tell_nothing(shop: Shop, body: dict[str, Any]) -> None:
    await shop.paid()
    assert await shop.provider.interpret(await callback(body)) == ()
    assert "GET unrecognized" not in (await shop.sandbox.get("/_sandbox/calls"))["by_route"]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'{"id": "e"}', b'{"event_type": 1}'])
async def test_a_callback_that_cannot_be_read_is_refused(body: bytes) -> None:
    with pytest.raises(CallbackRefused, match="malformed"):
        await provider_at("http://sumup.example", Clock()).verify({}, body, NOW)


async def test_each_delivery_for_a_checkout_is_an_event_of_its_own() -> None:
    provider = provider_at("http://sumup.example", Clock())
    body = b'{"event_type": "CHECKOUT_STATUS_CHANGED", "id": "c"}'
    failed, paid = [await provider.verify({}, body, NOW + timedelta(seconds=s)) for s in (0, 60)]
    assert failed.event_id != paid.event_id


SECRETS = ("whsec_old", "whsec_sumup_test")
SIGNED_BODY = b'{"id":"evt_1","type":"checkouts.paid"}'
SIGNED_TIME = datetime.fromtimestamp(1_700_000_000, UTC)
SIGNATURE = "301003fbda2b79b704f1449e84e113f82d9c1275f1df5ee85231c94d3424c1b7"


async def signed_by(*parts: str, at: datetime = SIGNED_TIME) -> Callback:
    provider = provider_at("http://sumup.example", Clock(), webhook_secrets=SECRETS)
    headers = {"x-sumup-webhook-signature": ",".join(parts)}
    return await provider.verify(headers, SIGNED_BODY, at)


async def test_an_account_event_bears_the_signature_that_sumups_sdk_makes() -> None:
    told = await signed_by("t=1700000000", f"v1={SIGNATURE}")
    assert (told.event_id, told.event_type, told.is_signed) == ("evt_1", "checkouts.paid", True)
    assert (await signed_by("t=1700000000", "v1=00", f"v1={SIGNATURE}")).is_signed


@pytest.mark.parametrize(
    ("parts", "late_seconds", "reason"),
    [
        (("t=1700000000", f"v1={'0' * 64}"), 0, "unsigned"),
        (("t=1700000001", f"v1={SIGNATURE}"), 0, "unsigned"),
        (("t=1700000000",), 0, "unsigned"),
        ((f"v1={SIGNATURE}",), 0, "unsigned"),
        (("t=x", f"v1={SIGNATURE}"), 0, "unsigned"),
        (("",), 0, "unsigned"),
        (("t=1700000000", f"v1={SIGNATURE}"), 301, "stale"),
        (("t=1700000000", f"v1={SIGNATURE}"), -301, "future"),
    ],
)
async def test_a_wrong_signature_is_refused(
    parts: tuple[str, ...], late_seconds: int, reason: str
) -> None:
    with pytest.raises(CallbackRefused, match=reason):
        await signed_by(*parts, at=SIGNED_TIME + timedelta(seconds=late_seconds))


async def test_callbacks_may_come_often_in_any_order_and_forged() -> None:
    wild = DeliverySettings(seed=3, duplicate_probability=1.0, duplicates_max=5, delay_seconds_max=0.5)
    async with receiving(500, 500) as receiver:
        settings = SandboxSettings(deliveries=wild, callback_url=receiver.url)
        async with speaking(sandbox=settings) as shop:
            name = await shop.begun()
            for act in ("decline", "pay"):
                await shop.sandbox.act(f"checkouts/{name.provider_reference}/{act}")
            in_store = await shop.paid(payment_id="o2.1", flow=Flow.READER)
            forged = {"event_type": "CHECKOUT_STATUS_CHANGED", "id": "not-a-checkout"}
            await shop.sandbox.act("callbacks", body=forged)

            async def is_quiet() -> bool:
                return bool((await shop.sandbox.get("/_sandbox/deliveries"))["outstanding"] == 0)

            await eventually(is_quiet, seconds=60)
            assert len(receiver.received) > 4
            told: set[Any] = set()
            for received in receiver.received:
                hint = await shop.provider.verify(received.headers, received.body, NOW)
                told.update(await shop.provider.interpret(hint))
            assert {(each.provider_reference, each.captured_minor) for each in told} == {
                (name.provider_reference, 2000),
                (in_store.provider_reference, 2000),
            }
