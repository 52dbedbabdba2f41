"""What a caller sees of each fault, and what is true afterwards."""

from typing import Any

import httpx
import pytest
import stripe

from tests.eventually import eventually
from tests.sandboxes.faults import FaultKind, FaultSettings
from tests.sandboxes.stripe.settings import StripeSettings
from tests.sandboxes.stripe_connection import SDK_WARNS, Connection, connected

pytestmark = SDK_WARNS

PATH = "/v1/payment_intents"
FORM = {
    "amount": "2000",
    "currency": "usd",
    "allowed_payment_method_types[0]": "card",
    "payment_method": "pm_card_visa",
    "confirm": "true",
}
IMPATIENT_SECONDS = 1.0
"""Shorter than any stall; that it is not reached by the answer is the point."""


async def arm(api: Connection, kind: FaultKind, method: str = "POST") -> None:
    """Has the next call go wrong."""
    await api.act("faults/armed", kind=kind, method=method, path_prefix=PATH)


async def captured_minor(api: Connection) -> int:
    """What was taken."""
    totals = (await api.get("/_sandbox/totals"))["by_currency"]
    return int(totals.get("usd", {}).get("captured_minor", 0))


@pytest.mark.parametrize(
    ("kind", "status", "captured"),
    [
        (FaultKind.ERROR_BEFORE, 500, 0),
        (FaultKind.ERROR_STORED, 500, 0),
        (FaultKind.ERROR_AFTER, 500, 2000),
        (FaultKind.KEY_IN_USE, 409, 0),
        (FaultKind.RATE_LIMITED, 429, 0),
        (FaultKind.UNAVAILABLE, 503, 0),
    ],
)
async def test_an_error_and_what_was_taken_nevertheless(
    stripe_api: Connection, kind: FaultKind, status: int, captured: int
) -> None:
    await arm(stripe_api, kind)
    answer = await stripe_api.post(PATH, FORM, key="k")
    assert (answer.status_code, await captured_minor(stripe_api)) == (status, captured)


@pytest.mark.parametrize(
    ("kind", "captured"), [(FaultKind.RESET_BEFORE, 0), (FaultKind.RESET_AFTER, 2000)]
)
async def test_a_reset_connection_says_nothing_of_what_was_taken(
    stripe_api: Connection, kind: FaultKind, captured: int
) -> None:
    await arm(stripe_api, kind)
    with pytest.raises(httpx.ReadError):
        await stripe_api.post(PATH, FORM, key="k")
    assert await captured_minor(stripe_api) == captured
    retried = await stripe_api.post(PATH, FORM, key="k")
    assert ("idempotent-replayed" in retried.headers) is (captured > 0)
    assert await captured_minor(stripe_api) == 2000


@pytest.mark.parametrize(
    ("kind", "captured"),
    [(FaultKind.STALL_BEFORE, 0), (FaultKind.STALL_AFTER, 2000), (FaultKind.LATE_EFFECT, 2000)],
)
async def test_a_stalled_call_says_nothing_of_what_was_taken(
    stripe_api: Connection, kind: FaultKind, captured: int
) -> None:
    await arm(stripe_api, kind)
    with pytest.raises(httpx.ReadTimeout):
        await stripe_api.http.post(
            PATH, data=FORM, headers={"Idempotency-Key": "k"}, timeout=IMPATIENT_SECONDS
        )

    async def has_ended() -> bool:
        records = await stripe_api.get("/_sandbox/calls/records?idempotency_key=k")
        return [record["fault"] for record in records] == [kind]

    await eventually(has_ended, seconds=60)
    assert await captured_minor(stripe_api) == captured
    retried = await stripe_api.post(PATH, FORM, key="k")
    assert ("idempotent-replayed" in retried.headers) is (captured > 0)
    assert await captured_minor(stripe_api) == 2000


async def test_a_late_effect_comes_after_the_caller_has_looked_and_found_nothing(
    stripe_api: Connection,
) -> None:
    await stripe_api.act("faults", late_seconds=60)
    await arm(stripe_api, FaultKind.LATE_EFFECT)
    with pytest.raises(httpx.ReadTimeout):
        await stripe_api.http.post(
            PATH, data=FORM, headers={"Idempotency-Key": "k"}, timeout=IMPATIENT_SECONDS
        )
    assert (await stripe_api.get(PATH))["data"] == []
    assert (await stripe_api.post(PATH, FORM, key="k")).status_code == 409


async def test_a_stall_ends_by_itself() -> None:
    async with connected(StripeSettings(faults=FaultSettings(stall_seconds=0.2))) as api:
        await arm(api, FaultKind.STALL_AFTER)
        assert (await api.post(PATH, FORM, key="k")).status_code == 200
        await arm(api, FaultKind.STALL_BEFORE)
        with pytest.raises(httpx.ReadError):
            await api.post(PATH, FORM, key="k-2")
        assert await captured_minor(api) == 2000


async def test_a_sandbox_ends_while_a_call_stalls() -> None:
    async with connected() as api:
        await arm(api, FaultKind.STALL_AFTER)
        with pytest.raises(httpx.ReadTimeout):
            await api.http.post(PATH, data=FORM, timeout=IMPATIENT_SECONDS)
        await arm(api, FaultKind.LATE_EFFECT)
        with pytest.raises(httpx.ReadTimeout):
            await api.http.post(PATH, data=FORM, timeout=IMPATIENT_SECONDS)


async def test_a_rate_limit_says_when_to_come_back() -> None:
    settings = FaultSettings(
        probability=1.0, kinds=(FaultKind.RATE_LIMITED,), retry_after_seconds=3, seed=1
    )
    async with connected(StripeSettings(faults=settings)) as api:
        answers = [await api.post(PATH, FORM, key="k") for _ in range(20)]
        assert {answer.headers["retry-after"] for answer in answers} == {"3"}
        codes = {answer.json()["error"]["code"] for answer in answers}
        assert codes == {"rate_limit", "lock_timeout"}
        with pytest.raises(stripe.RateLimitError) as raised:
            await api.sdk.v1.payment_intents.list_async()
        assert raised.value.http_status == 429
        assert await captured_minor(api) == 0


async def test_something_in_front_of_the_provider_speaks_html(stripe_api: Connection) -> None:
    await arm(stripe_api, FaultKind.UNAVAILABLE)
    answer = await stripe_api.post(PATH, FORM, key="k")
    assert answer.headers["content-type"].startswith("text/html")
    assert "request-id" not in answer.headers
    await arm(stripe_api, FaultKind.UNAVAILABLE, "GET")
    with pytest.raises(stripe.APIError) as raised:
        await stripe_api.sdk.v1.payment_intents.list_async()
    assert raised.value.http_status == 503


async def test_reading_fails_like_writing(stripe_api: Connection) -> None:
    await arm(stripe_api, FaultKind.ERROR_AFTER, "GET")
    assert (await stripe_api.http.get(PATH)).status_code == 500
    await arm(stripe_api, FaultKind.RESET_AFTER, "GET")
    with pytest.raises(httpx.ReadError):
        await stripe_api.http.get(PATH)
    assert await stripe_api.get(PATH)


async def test_the_faults_can_be_changed_and_are_counted(stripe_api: Connection) -> None:
    await stripe_api.act("faults", probability=1.0, kinds=["error_before"], seed=5)
    for _ in range(3):
        assert (await stripe_api.http.get(PATH)).status_code == 500
    shown = await stripe_api.get("/_sandbox/faults")
    assert (shown["probability"], shown["counts"]) == (1.0, {"error_before": 3})
    await stripe_api.act("faults")
    assert (await stripe_api.http.get(PATH)).status_code == 200


async def paid_whatever_happens(api: Connection, order: str) -> None:
    """What a careful caller does: the same key until there is an answer, a look after a stored 500."""
    form = {**FORM, "metadata[order]": order}
    for number in range(1000):
        key = f"{order}:{number}"
        status = await settled_status(api, form, key)
        if status == 200 or order in await orders_found(api):
            return


async def settled_status(api: Connection, form: dict[str, Any], key: str) -> int:
    """The status that a key has in the end."""
    while True:
        try:
            answer = await api.http.post(
                PATH, data=form, headers={"Idempotency-Key": key}, timeout=IMPATIENT_SECONDS
            )
        except httpx.TransportError:
            continue
        if answer.status_code == 200 or "idempotent-replayed" in answer.headers:
            return answer.status_code


async def orders_found(api: Connection) -> set[str]:
    """The orders that have a paid intent, asked for until there is an answer."""
    while True:
        try:
            answer = await api.http.get(f"{PATH}?limit=100", timeout=IMPATIENT_SECONDS)
        except httpx.TransportError:
            continue
        if answer.status_code == 200:
            return {intent["metadata"]["order"] for intent in answer.json()["data"]}


async def test_a_careful_caller_pays_each_order_once_whatever_happens() -> None:
    settings = FaultSettings(probability=0.5, seed=11, late_seconds=0.05)
    async with connected(StripeSettings(faults=settings)) as api:
        orders = [f"o-{number}" for number in range(20)]
        for order in orders:
            await paid_whatever_happens(api, order)
        intents = (await api.get("/_sandbox/totals"))["payment_intents"]
        assert [intent["metadata"]["order"] for intent in intents] == orders
        assert await captured_minor(api) == 20 * 2000
