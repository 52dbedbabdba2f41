"""Checkout Sessions: what a merchant opens, and what a customer does on the page."""

from typing import Any

import pytest
import stripe

from tests.sandboxes.stripe.settings import StripeSettings
from tests.sandboxes.stripe_connection import SDK_WARNS, Connection, connected

pytestmark = SDK_WARNS

NOW = 1_800_000_000
PATH = "/v1/checkout/sessions"
FORM = {
    "mode": "payment",
    "line_items[0][quantity]": "2",
    "line_items[0][price_data][currency]": "usd",
    "line_items[0][price_data][unit_amount]": "1999",
    "line_items[0][price_data][product_data][name]": "Mug",
    "success_url": "https://shop.example/thanks?session={CHECKOUT_SESSION_ID}",
    "cancel_url": "https://shop.example/basket",
    "client_reference_id": "order-1",
    "metadata[order]": "order-1",
    "payment_intent_data[metadata][order]": "order-1",
}


async def opened(api: Connection, **form: Any) -> dict[str, Any]:
    """A session over two mugs."""
    answer = await api.post(PATH, {**FORM, **form})
    assert answer.status_code == 200, answer.text
    created: dict[str, Any] = answer.json()
    return created


async def test_the_sdk_opens_a_page_and_the_customer_pays(stripe_api: Connection) -> None:
    sessions = stripe_api.sdk.v1.checkout.sessions
    session = await sessions.create_async(
        {
            "mode": "payment",
            "line_items": [
                {
                    "quantity": 2,
                    "price_data": {
                        "currency": "usd",
                        "unit_amount": 1999,
                        "product_data": {"name": "Mug"},
                    },
                }
            ],
            "success_url": "https://shop.example/thanks?session={CHECKOUT_SESSION_ID}",
            "payment_intent_data": {"metadata": {"order": "order-1"}},
        }
    )
    assert (session.status, session.payment_status, session.amount_total) == ("open", "unpaid", 3998)
    assert session.payment_intent is None
    assert session.url == f"{stripe_api.url}/c/pay/{session.id}"
    assert session.expires_at - session.created == 24 * 3600
    paid = await stripe_api.act(f"checkout/sessions/{session.id}/pay")
    assert paid["redirect_url"] == f"https://shop.example/thanks?session={session.id}"
    session = await sessions.retrieve_async(session.id, {"expand": ["payment_intent"]})
    assert (session.status, session.payment_status, session.url) == ("complete", "paid", None)
    assert isinstance(session.payment_intent, stripe.PaymentIntent)
    assert session.payment_intent.amount_received == 3998
    assert session.payment_intent.metadata["order"] == "order-1"
    lines = await sessions.line_items.list_async(session.id)
    assert [(line.description, line.quantity, line.amount_total) for line in lines.data] == [
        ("Mug", 2, 3998)
    ]
    assert await stripe_api.event_types() == [
        "payment_intent.created",
        "charge.succeeded",
        "payment_intent.succeeded",
        "checkout.session.completed",
    ]


async def test_a_session_shows_what_it_was_opened_with(stripe_api: Connection) -> None:
    session = await opened(stripe_api)
    assert session["client_reference_id"] == "order-1"
    assert session["metadata"] == {"order": "order-1"}
    assert session["cancel_url"] == "https://shop.example/basket"
    assert (session["currency"], session["amount_subtotal"]) == ("usd", 3998)
    assert (session["mode"], session["ui_mode"]) == ("payment", "hosted_page")


async def test_a_declined_customer_may_pay_with_another_card(stripe_api: Connection) -> None:
    session = await opened(stripe_api)
    path = f"checkout/sessions/{session['id']}"
    declined = await stripe_api.act(f"{path}/decline")
    assert (declined["session"]["status"], declined["redirect_url"]) == ("open", None)
    paid = await stripe_api.act(f"{path}/pay")
    assert paid["session"]["payment_intent"] == declined["session"]["payment_intent"]
    assert (await stripe_api.event_types()).count("payment_intent.created") == 1
    assert (await stripe_api.get("/_sandbox/totals"))["by_currency"]["usd"]["captured_minor"] == 3998


async def test_a_customer_who_walks_away_leaves_the_page_open(stripe_api: Connection) -> None:
    session = await opened(stripe_api)
    left = await stripe_api.act(f"checkout/sessions/{session['id']}/leave")
    assert left == {"session": session, "redirect_url": "https://shop.example/basket"}
    assert await stripe_api.event_types() == []


async def test_an_expired_page_takes_no_money(stripe_api: Connection) -> None:
    session = await opened(stripe_api)
    await stripe_api.act(f"checkout/sessions/{session['id']}/decline")
    expired = await stripe_api.sdk.v1.checkout.sessions.expire_async(session["id"])
    assert (expired.status, expired.url) == ("expired", None)
    answer = await stripe_api.http.post(f"/_sandbox/checkout/sessions/{session['id']}/pay")
    assert answer.status_code == 400
    intent = await stripe_api.get(f"/v1/payment_intents/{expired.payment_intent}")
    assert (intent["status"], intent["cancellation_reason"]) == ("canceled", "expired")
    assert (await stripe_api.event_types())[-2:] == [
        "payment_intent.canceled",
        "checkout.session.expired",
    ]
    assert (await stripe_api.get("/_sandbox/totals"))["by_currency"]["usd"]["captured_minor"] == 0


@pytest.mark.parametrize("act", ["pay", "expire"])
async def test_only_an_open_page_can_be_expired(stripe_api: Connection, act: str) -> None:
    session = await opened(stripe_api)
    await stripe_api.act(f"checkout/sessions/{session['id']}/{act}")
    answer = await stripe_api.post(f"{PATH}/{session['id']}/expire")
    assert answer.status_code == 400
    assert "status of" in answer.json()["error"]["message"]


async def test_a_held_payment_completes_unpaid_and_is_paid_by_its_capture(
    stripe_api: Connection,
) -> None:
    session = await opened(stripe_api, **{"payment_intent_data[capture_method]": "manual"})
    completed = (await stripe_api.act(f"checkout/sessions/{session['id']}/pay"))["session"]
    assert (completed["status"], completed["payment_status"]) == ("complete", "unpaid")
    intent = await stripe_api.get(f"/v1/payment_intents/{completed['payment_intent']}")
    assert (intent["status"], intent["amount_capturable"]) == ("requires_capture", 3998)
    assert (await stripe_api.post(f"/v1/payment_intents/{intent['id']}/capture")).status_code == 200
    assert (await stripe_api.get(f"{PATH}/{session['id']}"))["payment_status"] == "paid"


async def test_the_intent_of_a_session_is_cancelled_by_itself_only_while_money_is_held(
    stripe_api: Connection,
) -> None:
    session = await opened(stripe_api, **{"payment_intent_data[capture_method]": "manual"})
    act = f"checkout/sessions/{session['id']}"
    declined = (await stripe_api.act(f"{act}/decline"))["session"]
    path = f"/v1/payment_intents/{declined['payment_intent']}"
    for ending, form in (("cancel", {}), ("confirm", {"payment_method": "pm_card_visa"})):
        answer = await stripe_api.post(f"{path}/{ending}", form)
        assert answer.status_code == 400
        assert answer.json()["error"]["code"] == "payment_intent_unexpected_state"
    await stripe_api.act(f"{act}/pay")
    assert (await stripe_api.post(f"{path}/cancel")).json()["status"] == "canceled"


@pytest.mark.parametrize(
    ("act", "event", "payment_status"),
    [
        ("settle", "checkout.session.async_payment_succeeded", "paid"),
        ("fail", "checkout.session.async_payment_failed", "unpaid"),
    ],
)
async def test_a_bank_debit_completes_unpaid_and_is_settled_later(
    stripe_api: Connection, act: str, event: str, payment_status: str
) -> None:
    session = await opened(stripe_api)
    path = f"checkout/sessions/{session['id']}"
    completed = await stripe_api.act(f"{path}/pay", payment_method="pm_usBankAccount_success")
    assert completed["session"]["payment_status"] == "unpaid"
    assert (await stripe_api.event_types())[-1] == "checkout.session.completed"
    settled = await stripe_api.act(f"{path}/{act}")
    assert settled["session"]["payment_status"] == payment_status
    assert (await stripe_api.event_types())[-1] == event


async def test_a_bank_may_ask_the_customer_on_the_page(stripe_api: Connection) -> None:
    session = await opened(stripe_api)
    path = f"checkout/sessions/{session['id']}"
    asked = await stripe_api.act(f"{path}/pay", payment_method="pm_card_authenticationRequired")
    assert (asked["session"]["status"], asked["redirect_url"]) == ("open", None)
    intent_path = f"payment_intents/{asked['session']['payment_intent']}"
    assert (await stripe_api.act(f"{intent_path}/authenticate"))["status"] == "succeeded"
    assert (await stripe_api.get(f"{PATH}/{session['id']}"))["status"] == "complete"


async def test_nothing_to_pay_needs_no_intent(stripe_api: Connection) -> None:
    session = await opened(stripe_api, **{"line_items[0][price_data][unit_amount]": "0"})
    paid = (await stripe_api.act(f"checkout/sessions/{session['id']}/pay"))["session"]
    assert (paid["payment_status"], paid["payment_intent"]) == ("no_payment_required", None)


async def test_a_session_may_have_its_intent_from_the_start() -> None:
    async with connected(StripeSettings(is_intent_made_at_once=True)) as api:
        session = await opened(api)
        intent = await api.get(f"/v1/payment_intents/{session['payment_intent']}")
        assert (intent["status"], intent["amount"]) == ("requires_payment_method", 3998)


async def test_sessions_are_listed_by_status_and_by_intent(stripe_api: Connection) -> None:
    paid, left = await opened(stripe_api), await opened(stripe_api)
    done = (await stripe_api.act(f"checkout/sessions/{paid['id']}/pay"))["session"]
    for query, ids in (
        ("", [left["id"], paid["id"]]),
        ("?status=open", [left["id"]]),
        (f"?payment_intent={done['payment_intent']}", [paid["id"]]),
    ):
        found = (await stripe_api.get(f"{PATH}{query}"))["data"]
        assert [session["id"] for session in found] == ids


@pytest.mark.parametrize(
    ("seconds", "status"), [(29 * 60, 400), (31 * 60, 200), (23 * 3600, 200), (25 * 3600, 400)]
)
async def test_a_page_is_open_for_thirty_minutes_to_a_day(seconds: int, status: int) -> None:
    async with connected(StripeSettings(created_base_seconds=NOW)) as api:
        answer = await api.post(PATH, {**FORM, "expires_at": NOW + seconds})
        assert answer.status_code == status
        if status == 400:
            assert answer.json()["error"]["param"] == "expires_at"
            assert (await api.get(PATH))["data"] == []


@pytest.mark.parametrize(
    ("form", "param"),
    [
        ({"mode": "subscription"}, "mode"),
        ({"ui_mode": "elements"}, "ui_mode"),
        ({"success_url": None}, "success_url"),
        ({"line_items[0][quantity]": "0"}, "line_items[0][quantity]"),
        ({"line_items[0][price]": "price_1"}, "line_items[0][price]"),
        ({"line_items[0][colour]": "red"}, "line_items[0][colour]"),
        ({"line_items[0][price_data][unit_amount]": "19.99"}, "line_items[0][price_data][unit_amount]"),
        ({"line_items[0][price_data][unit_amount]": "10"}, "line_items"),
        (
            {"line_items[0][price_data][product_data][name]": None},
            "line_items[0][price_data][product_data]",
        ),
        ({"payment_intent_data[currency]": "usd"}, "payment_intent_data[currency]"),
        ({"payment_intent_data[capture_method]": "x"}, "payment_intent_data[capture_method]"),
        ({"client_reference_id": "x" * 201}, "client_reference_id"),
    ],
)
async def test_a_wrong_session_is_refused_with_its_parameter(
    stripe_api: Connection, form: dict[str, str | None], param: str
) -> None:
    wanted = {name: value for name, value in {**FORM, **form}.items() if value is not None}
    answer = await stripe_api.post(PATH, wanted)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
    assert (await stripe_api.get(PATH))["data"] == []


@pytest.mark.parametrize(
    ("line_count", "currency_of_last", "status"), [(100, "usd", 200), (101, "usd", 400), (2, "eur", 400)]
)
async def test_a_session_has_up_to_a_hundred_lines_of_one_currency(
    stripe_api: Connection, line_count: int, currency_of_last: str, status: int
) -> None:
    form = dict(FORM)
    for index in range(line_count):
        currency = currency_of_last if index == line_count - 1 else "usd"
        form[f"line_items[{index}][quantity]"] = "1"
        form[f"line_items[{index}][price_data][currency]"] = currency
        form[f"line_items[{index}][price_data][unit_amount]"] = "100"
        form[f"line_items[{index}][price_data][product_data][name]"] = "Spoon"
    assert (await stripe_api.post(PATH, form)).status_code == status


async def test_an_act_that_nobody_knows_is_refused(stripe_api: Connection) -> None:
    session = await opened(stripe_api)
    answer = await stripe_api.http.post(f"/_sandbox/checkout/sessions/{session['id']}/haggle")
    assert answer.status_code == 400
    assert "pay, decline" in answer.json()["error"]["message"]
