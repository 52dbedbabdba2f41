"""Events: signed, delivered until they are taken, more than once and in any order."""

import json
import time
from collections import Counter
from typing import Any

import pytest
import stripe

from tests.eventually import eventually
from tests.sandboxes.deliveries import DeliverySettings
from tests.sandboxes.receiver import Receiver, receiving
from tests.sandboxes.serving import listening_socket
from tests.sandboxes.stripe.settings import StripeSettings, WebhookEndpoint
from tests.sandboxes.stripe.webhook_delivery import signature_header
from tests.sandboxes.stripe_connection import SDK_WARNS, Connection, connected

pytestmark = SDK_WARNS

SECRET = "whsec_test_secret"
IN_ORDER = DeliverySettings(in_flight_max=1)
PAID = ["payment_intent.created", "charge.succeeded", "payment_intent.succeeded"]


def telling(
    receiver: Receiver, deliveries: DeliverySettings = IN_ORDER, **settings: Any
) -> StripeSettings:
    """Settings of a sandbox that tells a receiver."""
    endpoint = WebhookEndpoint(receiver.url, (SECRET,))
    return StripeSettings(deliveries=deliveries, webhook_endpoints=(endpoint,), **settings)


async def all_delivered(api: Connection) -> None:
    """Waits until nothing is on its way."""

    async def is_quiet() -> bool:
        return bool((await api.get("/_sandbox/deliveries"))["outstanding"] == 0)

    await eventually(is_quiet, seconds=60)


# --- signatures ----------------------------------------------------------------------------------


def test_the_signature_is_that_of_the_documented_example() -> None:
    body = (
        b'{"id":"evt_test","object":"event","type":"payment_intent.succeeded","created":1700000000,'
        b'"data":{"object":{"id":"pi_1","object":"payment_intent"}}}'
    )
    assert signature_header(body, [SECRET], sent_seconds=1_700_000_000).split(",")[:2] == [
        "t=1700000000",
        "v1=79e6d1b424b5208628b73bdd7fa550a95351d653de499bf445078d4d47014085",
    ]


async def test_the_sdk_accepts_what_is_delivered_and_nothing_else() -> None:
    async with receiving() as receiver, connected(telling(receiver)) as api:
        await api.intent()
        await all_delivered(api)
        [told] = receiver.received
        signature = told.headers["stripe-signature"]
        event = api.sdk.construct_event(told.body, signature, SECRET)
        assert (event.type, event.api_version) == ("payment_intent.created", "2026-10-28.endive")
        assert told.headers["content-type"] == "application/json; charset=utf-8"
        for body, secret in ((told.body + b" ", SECRET), (told.body, "whsec_other")):
            with pytest.raises(stripe.SignatureVerificationError):
                api.sdk.construct_event(body, signature, secret)


async def test_while_secrets_are_rolled_there_is_a_signature_for_each() -> None:
    async with receiving() as receiver, connected() as api:
        await api.act("webhook_endpoints", url=receiver.url, secrets=["whsec_old", "whsec_new"])
        await api.intent()
        await all_delivered(api)
        [told] = receiver.received
        signature = told.headers["stripe-signature"]
        assert signature.count("v1=") == 2
        for secret in ("whsec_old", "whsec_new"):
            assert api.sdk.construct_event(told.body, signature, secret).id


async def test_a_signature_bears_the_real_time_whatever_created_says() -> None:
    async with receiving() as receiver, connected(telling(receiver, created_base_seconds=1_000)) as api:
        before_seconds = int(time.time())
        await api.intent()
        await all_delivered(api)
        [told] = receiver.received
        assert told.json()["created"] < 10_000
        sent_seconds = int(told.headers["stripe-signature"].partition(",")[0].removeprefix("t="))
        assert before_seconds <= sent_seconds <= time.time()


# --- what events say -----------------------------------------------------------------------------


async def test_an_event_shows_its_object_as_it_was_then() -> None:
    async with receiving() as receiver, connected(telling(receiver)) as api:
        await api.act("deliveries/hold")
        intent = await api.intent()
        await api.act(f"payment_intents/{intent['id']}/pay")
        assert receiver.received == []
        assert (await api.get("/_sandbox/deliveries"))["outstanding"] == 3
        await api.act("deliveries/release")
        await all_delivered(api)
        assert receiver.types() == PAID
        states = [told.json()["data"]["object"]["status"] for told in receiver.received]
        assert states == ["requires_payment_method", "succeeded", "succeeded"]


async def test_an_event_names_the_call_that_caused_it_and_nobody_if_it_was_the_customer() -> None:
    async with receiving() as receiver, connected(telling(receiver)) as api:
        form = {"amount": 2000, "currency": "usd"}
        answer = await api.post("/v1/payment_intents", form, key="order-1")
        await api.act(f"payment_intents/{answer.json()['id']}/pay")
        await all_delivered(api)
        created, _, succeeded = (told.json() for told in receiver.received)
        assert created["request"] == {
            "id": answer.headers["request-id"],
            "idempotency_key": "order-1",
        }
        assert succeeded["request"] == {"id": None, "idempotency_key": None}
        assert (created["object"], created["livemode"], created["pending_webhooks"]) == (
            "event",
            False,
            1,
        )


async def test_events_can_be_listed_and_read(stripe_api: Connection) -> None:
    intent = await stripe_api.paid_intent()
    events = stripe_api.sdk.v1.events
    listed = await events.list_async({"type": "payment_intent.succeeded"})
    [event] = listed.data
    assert event.data.object["id"] == intent["id"]
    assert (await events.retrieve_async(event.id)).type == "payment_intent.succeeded"
    for query, count in (
        ("type=payment_intent.*", 2),
        ("types[]=charge.succeeded&types[]=payment_intent.created", 2),
        ("type=refund.created", 0),
        ("limit=1", 1),
    ):
        assert len((await stripe_api.get(f"/v1/events?{query}"))["data"]) == count
    newest_first = [event["type"] for event in (await stripe_api.get("/v1/events"))["data"]]
    assert newest_first == PAID[::-1]


async def test_a_decline_is_told_with_its_error() -> None:
    async with receiving() as receiver, connected(telling(receiver)) as api:
        intent = await api.intent()
        await api.act(f"payment_intents/{intent['id']}/decline")
        await all_delivered(api)
        failed = receiver.received[-1].json()
        assert failed["type"] == "payment_intent.payment_failed"
        assert failed["data"]["object"]["last_payment_error"]["decline_code"] == "generic_decline"


async def test_an_endpoint_hears_only_what_it_wants() -> None:
    async with receiving() as all_ears, receiving() as picky, connected(telling(all_ears)) as api:
        wanted = ["payment_intent.succeeded", "refund.*"]
        await api.act("webhook_endpoints", url=picky.url, secrets=[SECRET], enabled_events=wanted)
        intent = await api.paid_intent()
        await api.post("/v1/refunds", {"payment_intent": intent["id"]})
        await all_delivered(api)
        assert sorted(picky.types()) == ["payment_intent.succeeded", "refund.created"]
        assert all_ears.types() == [*PAID, "refund.created", "charge.refunded"]
        by_type = {told.json()["type"]: told.json()["pending_webhooks"] for told in all_ears.received}
        assert (by_type["charge.refunded"], by_type["refund.created"]) == (1, 2)


async def test_an_event_may_be_about_an_object_that_nobody_knows() -> None:
    async with receiving() as receiver, connected(telling(receiver)) as api:
        ghost = {"id": "pi_ghost", "object": "payment_intent", "amount": 1}
        await api.act("events", type="payment_intent.succeeded", object=ghost)
        await all_delivered(api)
        [told] = receiver.received
        event = api.sdk.construct_event(told.body, told.headers["stripe-signature"], SECRET)
        assert event.data.object["id"] == "pi_ghost"
        assert (await api.http.get("/v1/payment_intents/pi_ghost")).status_code == 404


# --- how events arrive ---------------------------------------------------------------------------


async def test_an_event_is_delivered_until_it_is_taken_and_then_no_more() -> None:
    async with receiving(500, 302, 404) as receiver, connected(telling(receiver)) as api:
        await api.intent()
        await all_delivered(api)
        assert len(receiver.received) == 4
        assert len({told.body for told in receiver.received}) == 1
        for told in receiver.received:
            event = api.sdk.construct_event(told.body, told.headers["stripe-signature"], SECRET)
            assert event.type == "payment_intent.created"
        counts = await api.get("/_sandbox/deliveries")
        assert counts == {"outstanding": 0, "attempts": 4, "delivered": 1, "is_held": False}


async def test_a_receiver_that_is_down_gets_its_events_when_it_is_back() -> None:
    with listening_socket(0) as placeholder:
        port = placeholder.getsockname()[1]
    endpoint = WebhookEndpoint(f"http://127.0.0.1:{port}/hook", (SECRET,))
    async with connected(StripeSettings(webhook_endpoints=(endpoint,))) as api:
        await api.intent()

        async def was_tried() -> bool:
            return bool((await api.get("/_sandbox/deliveries"))["attempts"] >= 2)

        await eventually(was_tried, seconds=60)
        async with receiving(port=port) as receiver:
            await all_delivered(api)
            assert receiver.types() == ["payment_intent.created"]
        assert {attempt.error for attempt in api.sandbox.deliveries.attempts} == {"ConnectError", None}


async def test_attempts_end_some_time() -> None:
    stubborn = DeliverySettings(attempts_max=3, retry_pause_seconds=0.01)
    async with receiving(500, 500, 500, 500) as receiver, connected(telling(receiver, stubborn)) as api:
        await api.intent()
        await all_delivered(api)
        assert len(receiver.received) == 3


async def test_duplicates_arrive_up_to_so_many_times_more() -> None:
    doubling = DeliverySettings(duplicate_probability=1.0, duplicates_max=5, seed=3)
    async with receiving() as receiver, connected(telling(receiver, doubling)) as api:
        for _ in range(20):
            await api.intent()
        await all_delivered(api)
        counts = Counter(told.json()["id"] for told in receiver.received)
        assert len(counts) == 20
        assert set(counts.values()) == {2, 3, 4, 5, 6}


async def test_a_share_of_events_is_duplicated() -> None:
    doubling = DeliverySettings(duplicate_probability=0.3, duplicates_max=1, seed=3)
    async with receiving() as receiver, connected(telling(receiver, doubling)) as api:
        for _ in range(40):
            await api.intent()
        await all_delivered(api)
        counts = Counter(Counter(told.json()["id"] for told in receiver.received).values())
        assert counts[1] + counts[2] == 40
        assert 5 <= counts[2] <= 20


async def test_calm_events_arrive_once_and_in_order() -> None:
    async with receiving() as receiver, connected(telling(receiver)) as api:
        for _ in range(5):
            await api.paid_intent()
        await all_delivered(api)
        assert [told.json()["id"] for told in receiver.received] == await event_ids(api)


async def test_shuffled_events_all_arrive_in_another_order() -> None:
    shuffling = DeliverySettings(delay_seconds_max=1.0, seed=3)
    async with receiving() as receiver, connected(telling(receiver, shuffling)) as api:
        for _ in range(10):
            await api.paid_intent()
        await all_delivered(api)
        arrived, happened = [told.json()["id"] for told in receiver.received], await event_ids(api)
        assert arrived != happened
        assert sorted(arrived) == sorted(happened)


async def test_late_events_wait_besides() -> None:
    late = DeliverySettings(late_probability=1.0, late_seconds=600)
    async with receiving() as receiver, connected(telling(receiver, late)) as api:
        await api.intent()
        assert (await api.get("/_sandbox/deliveries"))["outstanding"] == 1
        [event_id] = await event_ids(api)
        await api.act(f"events/{event_id}/resend")

        async def was_resent() -> bool:
            return len(receiver.received) == 1

        await eventually(was_resent, seconds=60)
        assert receiver.received[0].json()["id"] == event_id
        assert (await api.get("/_sandbox/deliveries"))["outstanding"] == 1


async def test_two_events_may_tell_of_one_change() -> None:
    async with (
        receiving() as receiver,
        connected(telling(receiver, double_event_probability=1.0)) as api,
    ):
        await api.paid_intent()
        await all_delivered(api)
        assert receiver.types() == [type_ for type_ in PAID for _ in range(2)]
        events = [told.json() for told in receiver.received]
        assert len({event["id"] for event in events}) == 6
        assert len({json.dumps(event["data"], sort_keys=True) for event in events}) == 3


async def test_now_and_then_two_events_tell_of_one_change() -> None:
    async with connected(StripeSettings(double_event_probability=0.2, seed=5)) as api:
        for _ in range(100):
            await api.intent()
        assert 110 <= len(await event_ids(api)) <= 130


async def event_ids(api: Connection) -> list[str]:
    """All events in the order in which they happened."""
    return [event["id"] for event in (await api.get("/_sandbox/state"))["events"]]
