"""Idempotency keys, in every case that Stripe documents."""

import asyncio

import httpx
import pytest
import stripe

from tests.eventually import eventually
from tests.sandboxes.faults import ArmedFault, FaultKind
from tests.sandboxes.stripe.settings import StripeSettings
from tests.sandboxes.stripe_connection import SDK_WARNS, Connection, connected

pytestmark = SDK_WARNS

PATH = "/v1/payment_intents"
FORM = {"amount": 2000, "currency": "usd", "metadata[order]": "o-1"}


async def intent_count(api: Connection) -> int:
    """How many there are."""
    return len((await api.get("/_sandbox/state"))["payment_intents"])


def arm(api: Connection, kind: FaultKind) -> None:
    """Has the next creation of an intent go wrong."""
    api.sandbox.faults.arm(ArmedFault(kind, "POST", PATH))


async def test_the_same_call_is_answered_with_the_same_bytes(stripe_api: Connection) -> None:
    first = await stripe_api.post(PATH, FORM, key="k")
    again = await stripe_api.post(PATH, dict(reversed(FORM.items())), key="k")
    assert (again.status_code, again.content) == (200, first.content)
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert first.headers["idempotency-key"] == again.headers["idempotency-key"] == "k"
    assert await intent_count(stripe_api) == 1


async def test_a_replay_is_the_first_answer_even_when_the_object_has_moved_on(
    stripe_api: Connection,
) -> None:
    first = await stripe_api.post(PATH, FORM, key="k")
    await stripe_api.act(f"payment_intents/{first.json()['id']}/pay")
    again = await stripe_api.post(PATH, FORM, key="k")
    assert again.json()["status"] == "requires_payment_method"


async def test_without_a_key_or_with_another_key_it_is_another_call(stripe_api: Connection) -> None:
    for key in (None, None, "k-1", "k-2"):
        await stripe_api.post(PATH, FORM, key=key)
    assert await intent_count(stripe_api) == 4


async def test_other_parameters_under_a_used_key_are_refused(stripe_api: Connection) -> None:
    await stripe_api.post(PATH, FORM, key="k")
    answer = await stripe_api.post(PATH, {**FORM, "amount": 3000}, key="k")
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "idempotency_error"
    assert "same parameters" in answer.json()["error"]["message"]
    with pytest.raises(stripe.IdempotencyError):
        await stripe_api.sdk.v1.payment_intents.create_async(
            {"amount": 3000, "currency": "usd"}, {"idempotency_key": "k"}
        )
    assert (await stripe_api.post(PATH, FORM, key="k")).headers["idempotent-replayed"] == "true"
    assert await intent_count(stripe_api) == 1


async def test_another_endpoint_under_a_used_key_is_refused(stripe_api: Connection) -> None:
    intent = (await stripe_api.post(PATH, FORM, key="k")).json()
    answer = await stripe_api.post(f"{PATH}/{intent['id']}/cancel", key="k")
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "idempotency_error")
    assert "same endpoint" in answer.json()["error"]["message"]


async def test_a_decline_is_stored(stripe_api: Connection) -> None:
    intent = await stripe_api.intent()
    path, form = f"{PATH}/{intent['id']}/confirm", {"payment_method": "pm_card_chargeDeclined"}
    first = await stripe_api.post(path, form, key="k")
    await stripe_api.act(f"payment_intents/{intent['id']}/pay")
    again = await stripe_api.post(path, form, key="k")
    assert (first.status_code, again.status_code) == (402, 402)
    assert again.content == first.content
    assert again.headers["idempotent-replayed"] == "true"


async def test_a_refusal_by_state_is_stored(stripe_api: Connection) -> None:
    intent = await stripe_api.paid_intent()
    first = await stripe_api.post(f"{PATH}/{intent['id']}/cancel", key="k")
    again = await stripe_api.post(f"{PATH}/{intent['id']}/cancel", key="k")
    assert (first.status_code, again.status_code) == (400, 400)
    assert again.headers["idempotent-replayed"] == "true"


@pytest.mark.parametrize(("kind", "count"), [(FaultKind.ERROR_STORED, 0), (FaultKind.ERROR_AFTER, 1)])
async def test_a_500_is_stored_with_or_without_its_effect(
    stripe_api: Connection, kind: FaultKind, count: int
) -> None:
    arm(stripe_api, kind)
    first = await stripe_api.post(PATH, FORM, key="k")
    again = await stripe_api.post(PATH, FORM, key="k")
    assert (first.status_code, again.status_code) == (500, 500)
    assert first.json()["error"]["type"] == "api_error"
    assert again.headers["idempotent-replayed"] == "true"
    assert await intent_count(stripe_api) == count


@pytest.mark.parametrize(
    "wrong",
    [
        {**FORM, "amount": 1},
        {**FORM, "colour": "red"},
        {"amount": 2000},
        {**FORM, "payment_method": "pm_nobody"},
    ],
)
async def test_a_failed_validation_is_not_stored(
    stripe_api: Connection, wrong: dict[str, object]
) -> None:
    assert (await stripe_api.post(PATH, wrong, key="k")).status_code == 400
    answer = await stripe_api.post(PATH, FORM, key="k")
    assert answer.status_code == 200
    assert "idempotent-replayed" not in answer.headers


async def test_a_401_is_not_stored(stripe_api: Connection) -> None:
    headers = {"Idempotency-Key": "k", "Authorization": "Bearer sk_test_other"}
    answer = await stripe_api.http.post(PATH, data=FORM, headers=headers)
    assert answer.status_code == 401
    assert (await stripe_api.post(PATH, FORM, key="k")).status_code == 200


@pytest.mark.parametrize(
    ("kind", "status"),
    [(FaultKind.RATE_LIMITED, 429), (FaultKind.KEY_IN_USE, 409), (FaultKind.ERROR_BEFORE, 500)],
)
async def test_what_is_turned_away_is_not_stored(
    stripe_api: Connection, kind: FaultKind, status: int
) -> None:
    arm(stripe_api, kind)
    assert (await stripe_api.post(PATH, FORM, key="k")).status_code == status
    answer = await stripe_api.post(PATH, FORM, key="k")
    assert answer.status_code == 200
    assert "idempotent-replayed" not in answer.headers
    assert await intent_count(stripe_api) == 1


async def test_a_key_in_progress_is_a_conflict_until_its_call_has_ended(
    stripe_api: Connection,
) -> None:
    arm(stripe_api, FaultKind.LATE_EFFECT)
    slow = asyncio.create_task(stripe_api.post(PATH, FORM, key="k"))

    async def is_in_progress() -> bool:
        return "k" in stripe_api.sandbox.keys._executions

    await eventually(is_in_progress, seconds=60)
    answer = await stripe_api.post(PATH, FORM, key="k")
    assert answer.status_code == 409
    assert answer.json()["error"]["code"] == "idempotency_key_in_use"
    with pytest.raises(stripe.APIError) as raised:
        await stripe_api.sdk.v1.payment_intents.create_async(
            {"amount": 2000, "currency": "usd", "metadata": {"order": "o-1"}}, {"idempotency_key": "k"}
        )
    assert raised.value.http_status == 409
    assert raised.value.error is not None
    assert raised.value.error.code == "idempotency_key_in_use"
    slow.cancel()

    async def is_replayed() -> bool:
        late = await stripe_api.post(PATH, FORM, key="k")
        return late.status_code == 200 and late.headers["idempotent-replayed"] == "true"

    await eventually(is_replayed, seconds=60)
    assert await intent_count(stripe_api) == 1


async def test_many_at_once_under_one_key_have_one_effect() -> None:
    async with connected(StripeSettings(think_seconds=0.2)) as api:
        answers = await asyncio.gather(*(api.post(PATH, FORM, key="k") for _ in range(20)))
        statuses = [answer.status_code for answer in answers]
        assert set(statuses) <= {200, 409}
        assert 200 in statuses
        assert await intent_count(api) == 1


async def test_a_key_has_no_effect_on_reading(stripe_api: Connection) -> None:
    headers = {"Idempotency-Key": "k"}
    before = await stripe_api.http.get(PATH, headers=headers)
    assert (await stripe_api.post(PATH, FORM, key="k")).status_code == 200
    after = await stripe_api.http.get(PATH, headers=headers)
    assert (len(before.json()["data"]), len(after.json()["data"])) == (0, 1)


@pytest.mark.parametrize(("length", "status"), [(255, 200), (256, 400)])
async def test_a_key_has_up_to_255_characters(stripe_api: Connection, length: int, status: int) -> None:
    assert (await stripe_api.post(PATH, FORM, key="k" * length)).status_code == status


async def test_a_pruned_key_is_new(stripe_api: Connection) -> None:
    first = await stripe_api.post(PATH, FORM, key="order:1/pay")
    await stripe_api.act("idempotency_keys/forget", key="order:1/pay")
    again = await stripe_api.post(PATH, FORM, key="order:1/pay")
    assert again.json()["id"] != first.json()["id"]


async def test_the_sdk_retries_a_lost_answer_under_its_key(stripe_api: Connection) -> None:
    arm(stripe_api, FaultKind.RESET_AFTER)
    stripe_api.sandbox.faults.arm(ArmedFault(FaultKind.KEY_IN_USE, "POST", PATH))
    intent = await stripe_api.sdk.v1.payment_intents.create_async(
        {"amount": 2000, "currency": "usd"}, {"idempotency_key": "k", "max_network_retries": 2}
    )
    assert await intent_count(stripe_api) == 1
    assert intent.last_response is not None
    assert httpx.Headers(intent.last_response.headers)["idempotent-replayed"] == "true"
    records = await stripe_api.get("/_sandbox/calls/records?idempotency_key=k")
    assert [(record["fault"], record["status"]) for record in records] == [
        ("reset_after", None),
        ("key_in_use", 409),
        (None, 200),
    ]
