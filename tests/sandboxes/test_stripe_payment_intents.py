"""PaymentIntents through the official SDK: every step, every refusal, every currency rule."""

from typing import Any

import pytest
import stripe
from stripe.params import PaymentIntentCreateParams

from tests.sandboxes.stripe_connection import SDK_WARNS, Connection

pytestmark = SDK_WARNS

HELD: dict[str, Any] = {"capture_method": "manual"}


async def refusal(stripe_api: Connection, path: str, **form: Any) -> tuple[int, str | None, str | None]:
    """Status, code and parameter of a POST."""
    answer = await stripe_api.post(path, form)
    error = answer.json()["error"]
    return answer.status_code, error.get("code"), error.get("param")


async def test_the_sdk_pays_at_once(stripe_api: Connection) -> None:
    params: PaymentIntentCreateParams = {
        "amount": 2000,
        "currency": "usd",
        "confirm": True,
        "payment_method": "pm_card_visa",
        "automatic_payment_methods": {"enabled": True, "allow_redirects": "never"},
        "metadata": {"order_id": "o-1"},
        "shipping": {"name": "A", "address": {"line1": "B", "country": "GB"}},
    }
    intent = await stripe_api.sdk.v1.payment_intents.create_async(params)
    assert (intent.status, intent.amount_received, intent.amount_capturable) == ("succeeded", 2000, 0)
    assert intent.metadata["order_id"] == "o-1"
    assert intent.shipping is not None
    assert intent.client_secret is not None
    assert intent.client_secret.startswith(f"{intent.id}_secret_")
    charge = await stripe_api.sdk.v1.charges.retrieve_async(str(intent.latest_charge))
    assert (charge.captured, charge.amount_captured, charge.amount_refunded) == (True, 2000, 0)
    assert charge.metadata["order_id"] == "o-1"
    assert intent.last_response is not None
    assert intent.last_response.request_id is not None


async def test_an_intent_walks_from_creation_to_capture(stripe_api: Connection) -> None:
    intents = stripe_api.sdk.v1.payment_intents
    created = await intents.create_async(
        {
            "amount": 2000,
            "currency": "usd",
            "capture_method": "manual",
            "allowed_payment_method_types": ["card"],
        }
    )
    assert created.status == "requires_payment_method"
    updated = await intents.update_async(created.id, {"payment_method": "pm_card_visa", "amount": 2500})
    assert (updated.status, updated.amount) == ("requires_confirmation", 2500)
    confirmed = await intents.confirm_async(created.id)
    assert (confirmed.status, confirmed.amount_capturable) == ("requires_capture", 2500)
    captured = await intents.capture_async(created.id)
    assert (captured.status, captured.amount_received) == ("succeeded", 2500)
    assert captured.amount_capturable == 0
    assert await stripe_api.event_types() == [
        "payment_intent.created",
        "charge.succeeded",
        "payment_intent.amount_capturable_updated",
        "charge.captured",
        "payment_intent.succeeded",
    ]


async def test_a_partial_capture_releases_the_rest(stripe_api: Connection) -> None:
    intent = await stripe_api.paid_intent(**HELD)
    answer = await stripe_api.post(
        f"/v1/payment_intents/{intent['id']}/capture", {"amount_to_capture": 1500}
    )
    captured = answer.json()
    assert (captured["amount_received"], captured["amount_capturable"]) == (1500, 0)
    charge = await stripe_api.get(f"/v1/charges/{captured['latest_charge']}")
    assert (charge["amount_captured"], charge["amount_refunded"]) == (1500, 500)
    assert (await stripe_api.get("/v1/refunds"))["data"] == []
    totals = await stripe_api.get("/_sandbox/totals")
    assert totals["by_currency"] == {"usd": {"captured_minor": 1500, "refunded_minor": 0}}


async def test_more_than_is_held_cannot_be_captured(stripe_api: Connection) -> None:
    intent = await stripe_api.paid_intent(**HELD)
    path = f"/v1/payment_intents/{intent['id']}/capture"
    assert await refusal(stripe_api, path, amount_to_capture=2001) == (
        400,
        "amount_too_large",
        "amount_to_capture",
    )
    assert (await stripe_api.get("/_sandbox/totals"))["by_currency"]["usd"]["captured_minor"] == 0


async def test_cancelling_a_hold_releases_it_and_tells_of_a_refund_of_nothing_captured(
    stripe_api: Connection,
) -> None:
    intent = await stripe_api.paid_intent(**HELD)
    answer = await stripe_api.post(
        f"/v1/payment_intents/{intent['id']}/cancel", {"cancellation_reason": "abandoned"}
    )
    canceled = answer.json()
    assert (canceled["status"], canceled["cancellation_reason"]) == ("canceled", "abandoned")
    assert canceled["amount_capturable"] == 0
    assert canceled["canceled_at"] is not None
    assert (await stripe_api.event_types())[-2:] == ["charge.refunded", "payment_intent.canceled"]
    charge = await stripe_api.get(f"/v1/charges/{intent['latest_charge']}")
    assert (charge["captured"], charge["refunded"], charge["amount_refunded"]) == (False, True, 2000)
    assert (await stripe_api.get("/v1/refunds"))["data"] == []


@pytest.mark.parametrize("act", ["capture", "cancel", "confirm"])
async def test_a_paid_intent_refuses_every_further_step(stripe_api: Connection, act: str) -> None:
    intent = await stripe_api.paid_intent()
    with pytest.raises(stripe.InvalidRequestError) as raised:
        await getattr(stripe_api.sdk.v1.payment_intents, f"{act}_async")(intent["id"])
    assert raised.value.code == "payment_intent_unexpected_state"
    assert raised.value.http_status == 400
    assert raised.value.error is not None
    assert raised.value.error.payment_intent is not None
    assert raised.value.error.payment_intent.status == "succeeded"


async def test_a_paid_intent_takes_metadata_but_no_other_amount(stripe_api: Connection) -> None:
    intent = await stripe_api.paid_intent(**{"metadata[a]": "1", "metadata[b]": "2"})
    path = f"/v1/payment_intents/{intent['id']}"
    assert (await refusal(stripe_api, path, amount=3000))[1] == "payment_intent_unexpected_state"
    answer = await stripe_api.post(path, {"metadata[b]": "", "metadata[c]": "3"})
    assert answer.json()["metadata"] == {"a": "1", "c": "3"}
    assert answer.json()["amount"] == 2000


@pytest.mark.parametrize(
    ("payment_method", "code", "decline_code"),
    [
        ("pm_card_visa_chargeDeclined", "card_declined", "generic_decline"),
        ("pm_card_chargeDeclinedInsufficientFunds", "card_declined", "insufficient_funds"),
        ("pm_card_chargeDeclinedExpiredCard", "expired_card", None),
        ("pm_card_chargeDeclinedProcessingError", "processing_error", None),
    ],
)
async def test_a_declined_intent_stays_open_for_another_card(
    stripe_api: Connection, payment_method: str, code: str, decline_code: str | None
) -> None:
    intent = await stripe_api.intent()
    intents = stripe_api.sdk.v1.payment_intents
    with pytest.raises(stripe.CardError) as raised:
        await intents.confirm_async(intent["id"], {"payment_method": payment_method})
    error = raised.value.error
    assert raised.value.http_status == 402
    assert error is not None
    assert (error.type, error.code) == ("card_error", code)
    assert getattr(error, "decline_code", None) == decline_code
    assert error.payment_intent is not None
    assert error.payment_intent.status == "requires_payment_method"
    declined = await intents.retrieve_async(intent["id"])
    assert declined.last_payment_error is not None
    assert declined.last_payment_error.code == code
    failed_charge = await stripe_api.get(f"/v1/charges/{declined.latest_charge}")
    assert (failed_charge["status"], failed_charge["paid"]) == ("failed", False)
    paid = await intents.confirm_async(intent["id"], {"payment_method": "pm_card_visa"})
    assert (paid.status, paid.last_payment_error) == ("succeeded", None)
    assert await stripe_api.event_types() == [
        "payment_intent.created",
        "charge.failed",
        "payment_intent.payment_failed",
        "charge.succeeded",
        "payment_intent.succeeded",
    ]


async def test_a_decline_while_creating_leaves_the_intent_behind(stripe_api: Connection) -> None:
    answer = await stripe_api.post(
        "/v1/payment_intents",
        {
            "amount": 2000,
            "currency": "usd",
            "confirm": "true",
            "payment_method": "pm_card_chargeDeclined",
            "allowed_payment_method_types[0]": "card",
        },
    )
    assert answer.status_code == 402
    [intent] = (await stripe_api.get("/v1/payment_intents"))["data"]
    assert answer.json()["error"]["payment_intent"] == intent
    assert (intent["status"], intent["payment_method"]) == ("requires_payment_method", None)


async def test_a_bank_may_ask_the_customer_first(stripe_api: Connection) -> None:
    intent = await stripe_api.paid_intent(
        payment_method="pm_card_authenticationRequired", return_url="https://shop.example/back"
    )
    assert intent["status"] == "requires_action"
    assert intent["next_action"]["redirect_to_url"]["return_url"] == "https://shop.example/back"
    paid = await stripe_api.act(f"payment_intents/{intent['id']}/authenticate")
    assert (paid["status"], paid["next_action"]) == ("succeeded", None)
    assert await stripe_api.event_types() == [
        "payment_intent.created",
        "payment_intent.requires_action",
        "charge.succeeded",
        "payment_intent.succeeded",
    ]


async def test_a_customer_who_fails_authentication_may_try_again(stripe_api: Connection) -> None:
    intent = await stripe_api.paid_intent(payment_method="pm_card_authenticationRequired")
    failed = await stripe_api.act(f"payment_intents/{intent['id']}/fail_authentication")
    assert failed["status"] == "requires_payment_method"
    assert failed["last_payment_error"]["code"] == "payment_intent_authentication_failure"


async def test_without_the_customer_a_bank_that_asks_declines(stripe_api: Connection) -> None:
    intent = await stripe_api.intent()
    answer = await stripe_api.post(
        f"/v1/payment_intents/{intent['id']}/confirm",
        {"payment_method": "pm_card_authenticationRequired", "off_session": "true"},
    )
    assert answer.status_code == 402
    assert answer.json()["error"]["code"] == "authentication_required"


@pytest.mark.parametrize(
    ("act", "status", "event", "captured_minor"),
    [
        ("settle", "succeeded", "payment_intent.succeeded", 2000),
        ("fail", "requires_payment_method", "payment_intent.payment_failed", 0),
    ],
)
async def test_a_bank_debit_is_processing_until_the_bank_says(
    stripe_api: Connection, act: str, status: str, event: str, captured_minor: int
) -> None:
    intent = await stripe_api.paid_intent(
        payment_method="pm_usBankAccount_success",
        **{"allowed_payment_method_types[0]": "us_bank_account"},
    )
    assert (intent["status"], intent["amount_received"]) == ("processing", 0)
    assert (await stripe_api.event_types())[-1] == "payment_intent.processing"
    path = f"/v1/payment_intents/{intent['id']}/cancel"
    assert (await refusal(stripe_api, path))[1] == "payment_intent_unexpected_state"
    settled = await stripe_api.act(f"payment_intents/{intent['id']}/{act}")
    assert (settled["status"], settled["amount_received"]) == (status, captured_minor)
    assert (await stripe_api.event_types())[-1] == event
    totals = await stripe_api.get("/_sandbox/totals")
    assert totals["by_currency"]["usd"]["captured_minor"] == captured_minor


async def test_a_customer_pays_with_the_client_secret_in_the_browser(stripe_api: Connection) -> None:
    intent = await stripe_api.intent(**{"metadata[order]": "o-1"})
    path = f"payment_intents/{intent['id']}"
    declined = await stripe_api.act(f"{path}/decline")
    assert declined["status"] == "requires_payment_method"
    paid = await stripe_api.act(f"{path}/pay")
    assert paid["status"] == "succeeded"
    totals = await stripe_api.get("/_sandbox/totals")
    assert totals["payment_intents"] == [
        {
            "id": intent["id"],
            "session": None,
            "metadata": {"order": "o-1"},
            "status": "succeeded",
            "currency": "usd",
            "captured_minor": 2000,
            "refunded_minor": 0,
        }
    ]


async def test_confirming_without_a_payment_method_is_refused(stripe_api: Connection) -> None:
    intent = await stripe_api.intent()
    path = f"/v1/payment_intents/{intent['id']}/confirm"
    assert (await refusal(stripe_api, path))[1] == "payment_intent_unexpected_state"


async def test_methods_that_may_redirect_need_a_way_back(stripe_api: Connection) -> None:
    form = {"amount": 2000, "currency": "usd", "confirm": "true", "payment_method": "pm_card_visa"}
    assert await refusal(stripe_api, "/v1/payment_intents", **form) == (400, None, "return_url")
    assert await stripe_api.event_types() == []
    back = {**form, "return_url": "https://shop.example/back"}
    assert (await stripe_api.post("/v1/payment_intents", back)).status_code == 200


async def test_an_intent_without_a_charge_cannot_be_captured(stripe_api: Connection) -> None:
    intent = await stripe_api.intent()
    path = f"/v1/payment_intents/{intent['id']}/capture"
    assert (await refusal(stripe_api, path))[1] == "payment_intent_unexpected_state"


async def test_a_cancelled_intent_cannot_be_paid_any_more(stripe_api: Connection) -> None:
    intent = await stripe_api.intent()
    path = f"/v1/payment_intents/{intent['id']}"
    assert (await stripe_api.post(f"{path}/cancel")).json()["status"] == "canceled"
    answer = await stripe_api.http.post(f"/_sandbox/payment_intents/{intent['id']}/pay")
    assert answer.status_code == 400
    assert (await stripe_api.get(path))["amount_received"] == 0


# --- amounts -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("amount", "currency"),
    [
        (50, "usd"),
        (30, "gbp"),
        (50, "jpy"),
        (99_999_999, "usd"),
        (999_999_999_999, "idr"),
        (5120, "kwd"),
        (500, "isk"),
        (500, "ugx"),
        (17_501, "huf"),
        (1, "krw"),
    ],
)
async def test_amounts_that_are_accepted(stripe_api: Connection, amount: int, currency: str) -> None:
    assert (await stripe_api.paid_intent(amount=amount, currency=currency))["amount_received"] == amount


@pytest.mark.parametrize(
    ("amount", "currency", "code", "param"),
    [
        (49, "usd", "amount_too_small", "amount"),
        (29, "gbp", "amount_too_small", "amount"),
        (49, "jpy", "amount_too_small", "amount"),
        (17_499, "huf", "amount_too_small", "amount"),
        (100_000_000, "usd", "amount_too_large", "amount"),
        (1_000_000_000_000, "idr", "amount_too_large", "amount"),
        (5124, "kwd", "invalid_charge_amount", "amount"),
        (505, "isk", "invalid_charge_amount", "amount"),
        (550, "ugx", "invalid_charge_amount", "amount"),
        (2000, "USD", None, "currency"),
        (2000, "xxx", None, "currency"),
    ],
)
async def test_amounts_that_are_refused(
    stripe_api: Connection, amount: int, currency: str, code: str | None, param: str
) -> None:
    refused = await refusal(stripe_api, "/v1/payment_intents", amount=amount, currency=currency)
    assert refused == (400, code, param)


async def test_a_three_decimal_currency_is_captured_and_refunded_in_steps_of_ten(
    stripe_api: Connection,
) -> None:
    intent = await stripe_api.paid_intent(amount=5120, currency="kwd", **HELD)
    capture = f"/v1/payment_intents/{intent['id']}/capture"
    assert (await refusal(stripe_api, capture, amount_to_capture=5001))[2] == "amount_to_capture"
    assert (await stripe_api.post(capture, {"amount_to_capture": 5000})).status_code == 200
    refund = {"payment_intent": intent["id"], "amount": 1001}
    assert (await refusal(stripe_api, "/v1/refunds", **refund))[2] == "amount"
