"""Refunds: whole, partial, repeated, too large, and those that fail in the end."""

from typing import Any

import pytest
import stripe

from tests.eventually import eventually
from tests.sandboxes.stripe.settings import StripeSettings
from tests.sandboxes.stripe_connection import SDK_WARNS, Connection, connected

pytestmark = SDK_WARNS


async def refunded_minor(api: Connection) -> int:
    """What the sandbox has given back in dollars."""
    found: int = (await api.get("/_sandbox/totals"))["by_currency"]["usd"]["refunded_minor"]
    return found


async def test_partial_refunds_add_up_to_the_whole_and_no_further(stripe_api: Connection) -> None:
    intent = await stripe_api.paid_intent()
    refunds = stripe_api.sdk.v1.refunds
    first = await refunds.create_async(
        {
            "payment_intent": intent["id"],
            "amount": 500,
            "reason": "requested_by_customer",
            "metadata": {"refund_id": "r-1"},
        }
    )
    assert (first.status, first.amount, first.charge) == ("succeeded", 500, intent["latest_charge"])
    rest = await refunds.create_async({"payment_intent": intent["id"]})
    assert rest.amount == 1500
    with pytest.raises(stripe.InvalidRequestError) as raised:
        await refunds.create_async({"payment_intent": intent["id"]})
    assert (raised.value.http_status, raised.value.code) == (400, "charge_already_refunded")
    charge = await stripe_api.get(f"/v1/charges/{intent['latest_charge']}")
    assert (charge["refunded"], charge["amount_refunded"]) == (True, 2000)
    listed = await refunds.list_async({"payment_intent": intent["id"]})
    assert [refund.id for refund in listed.data] == [rest.id, first.id]
    assert (await refunds.retrieve_async(first.id)).to_dict()["metadata"] == {"refund_id": "r-1"}
    assert await refunded_minor(stripe_api) == 2000


async def test_more_than_is_left_cannot_be_refunded(stripe_api: Connection) -> None:
    intent = await stripe_api.paid_intent()
    await stripe_api.post("/v1/refunds", {"payment_intent": intent["id"], "amount": 1500})
    answer = await stripe_api.post("/v1/refunds", {"payment_intent": intent["id"], "amount": 501})
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert (error["code"], error["param"]) == ("amount_too_large", "amount")
    assert await refunded_minor(stripe_api) == 1500


async def test_only_what_was_captured_can_be_refunded(stripe_api: Connection) -> None:
    intent = await stripe_api.paid_intent(capture_method="manual")
    form = {"payment_intent": intent["id"]}
    held = await stripe_api.post("/v1/refunds", form)
    assert held.json()["error"]["code"] == "payment_intent_unexpected_state"
    await stripe_api.post(f"/v1/payment_intents/{intent['id']}/capture", {"amount_to_capture": 1500})
    assert (await stripe_api.post("/v1/refunds", {**form, "amount": 1501})).status_code == 400
    assert (await stripe_api.post("/v1/refunds", form)).json()["amount"] == 1500


async def test_an_unpaid_intent_has_nothing_to_refund(stripe_api: Connection) -> None:
    intent = await stripe_api.intent()
    await stripe_api.act(f"payment_intents/{intent['id']}/decline")
    answer = await stripe_api.post("/v1/refunds", {"payment_intent": intent["id"]})
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "payment_intent_unexpected_state"


async def test_a_refund_may_name_the_charge(stripe_api: Connection) -> None:
    intent = await stripe_api.paid_intent()
    answer = await stripe_api.post("/v1/refunds", {"charge": intent["latest_charge"]})
    assert answer.json()["payment_intent"] == intent["id"]
    other = await stripe_api.paid_intent()
    both = {"charge": other["latest_charge"], "payment_intent": intent["id"]}
    assert (await stripe_api.post("/v1/refunds", both)).status_code == 400
    assert (await stripe_api.post("/v1/refunds", {})).json()["error"]["code"] == "parameter_missing"


@pytest.mark.parametrize("form", [{"amount": 0}, {"reason": "changed_my_mind"}, {"currency": "usd"}])
async def test_a_wrong_refund_is_refused(stripe_api: Connection, form: dict[str, Any]) -> None:
    intent = await stripe_api.paid_intent()
    answer = await stripe_api.post("/v1/refunds", {"payment_intent": intent["id"], **form})
    assert answer.status_code == 400
    assert await refunded_minor(stripe_api) == 0


async def test_a_refund_is_told_by_events_of_the_refund_and_of_the_charge(
    stripe_api: Connection,
) -> None:
    intent = await stripe_api.paid_intent()
    refund = (await stripe_api.post("/v1/refunds", {"payment_intent": intent["id"]})).json()
    await stripe_api.post(f"/v1/refunds/{refund['id']}", {"metadata[a]": "1"})
    assert (await stripe_api.event_types())[-3:] == [
        "refund.created",
        "charge.refunded",
        "refund.updated",
    ]


async def test_a_succeeded_refund_may_fail_later_and_can_be_made_again(stripe_api: Connection) -> None:
    intent = await stripe_api.paid_intent(payment_method="pm_card_refundFail")
    form = {"payment_intent": intent["id"]}
    refund = (await stripe_api.post("/v1/refunds", form)).json()
    assert refund["status"] == "succeeded"
    failed = await stripe_api.act(f"refunds/{refund['id']}/fail", failure_reason="declined")
    assert (failed["status"], failed["failure_reason"]) == ("failed", "declined")
    assert (await stripe_api.event_types())[-3:] == [
        "refund.updated",
        "charge.refund.updated",
        "refund.failed",
    ]
    assert await refunded_minor(stripe_api) == 0
    assert (await stripe_api.post("/v1/refunds", form)).json()["amount"] == 2000
    again = await stripe_api.http.post(f"/_sandbox/refunds/{refund['id']}/fail", json={})
    assert again.status_code == 400
    assert await refunded_minor(stripe_api) == 2000


async def test_a_pending_refund_counts_until_it_fails(stripe_api: Connection) -> None:
    intent = await stripe_api.paid_intent(payment_method="pm_card_pendingRefund")
    refund = (await stripe_api.post("/v1/refunds", {"payment_intent": intent["id"]})).json()
    assert (refund["status"], await refunded_minor(stripe_api)) == ("pending", 2000)
    settled = await stripe_api.act(f"refunds/{refund['id']}/succeed")
    assert (settled["status"], await refunded_minor(stripe_api)) == ("succeeded", 2000)
    assert "failure_reason" not in settled


async def test_a_refund_can_only_be_cancelled_while_its_customer_is_asked(
    stripe_api: Connection,
) -> None:
    intent = await stripe_api.paid_intent()
    refund = (await stripe_api.post("/v1/refunds", {"payment_intent": intent["id"]})).json()
    assert (await stripe_api.post(f"/v1/refunds/{refund['id']}/cancel")).status_code == 400


@pytest.mark.parametrize(
    ("payment_method", "first", "last"),
    [
        ("pm_card_refundFail", "succeeded", "failed"),
        ("pm_card_pendingRefund", "pending", "succeeded"),
    ],
)
async def test_refunds_become_final_by_themselves_if_asked_to(
    payment_method: str, first: str, last: str
) -> None:
    async with connected(StripeSettings(refund_settle_seconds=0.2)) as api:
        intent = await api.paid_intent(payment_method=payment_method)
        refund = (await api.post("/v1/refunds", {"payment_intent": intent["id"]})).json()
        assert refund["status"] == first

        async def is_final() -> bool:
            return bool((await api.get(f"/v1/refunds/{refund['id']}"))["status"] == last)

        await eventually(is_final, seconds=60)
