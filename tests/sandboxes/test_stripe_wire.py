"""The wire format: forms, credentials, versions, errors, lists, expansion."""

import base64
from typing import Any

import httpx
import pytest

from tests.sandboxes.stripe.forms import parse
from tests.sandboxes.stripe.settings import StripeSettings
from tests.sandboxes.stripe_connection import Connection, connected

BASE_SECONDS = 1_800_000_000
GOOD = {"amount": "2000", "currency": "usd"}


def error_of(answer: httpx.Response) -> tuple[int, str | None, str | None]:
    """Status, code and parameter."""
    error = answer.json()["error"]
    return answer.status_code, error.get("code"), error.get("param")


def test_brackets_spell_a_tree() -> None:
    encoded = (
        "mode=payment&line_items[0][price_data][currency]=usd&metadata[a+b]=x%26y&expand[]=p&expand[]=q"
    )
    assert parse(encoded) == {
        "mode": "payment",
        "line_items": {"0": {"price_data": {"currency": "usd"}}},
        "metadata": {"a b": "x&y"},
        "expand": {"0": "p", "1": "q"},
    }


@pytest.mark.parametrize(
    ("form", "code", "param"),
    [
        ({"currency": "usd"}, "parameter_missing", "amount"),
        ({"amount": "2000"}, "parameter_missing", "currency"),
        ({**GOOD, "amount": "20.00"}, "parameter_invalid_integer", "amount"),
        ({**GOOD, "amount": "0"}, "parameter_invalid_integer", "amount"),
        ({**GOOD, "amount": ""}, "parameter_invalid_empty", "amount"),
        ({**GOOD, "colour": "red"}, "parameter_unknown", "colour"),
        (
            {**GOOD, "automatic_payment_methods[color]": "x"},
            "parameter_unknown",
            "automatic_payment_methods[color]",
        ),
        ({**GOOD, "capture_method": "later"}, None, "capture_method"),
        ({**GOOD, "confirm": "yes"}, None, "confirm"),
        ({**GOOD, "metadata": "x"}, None, "metadata"),
        ({**GOOD, "metadata[k]": "v" * 501}, None, "metadata[k]"),
        ({**GOOD, "amount[minor]": "1"}, None, "amount[minor]"),
        ({**GOOD, "allowed_payment_method_types[1]": "x"}, None, "allowed_payment_method_types"),
        ({**GOOD, "return_url": "https://shop.example"}, None, "return_url"),
        ({**GOOD, "confirm": "true"}, None, "payment_method"),
        ({**GOOD, "payment_method": "pm_nobody"}, "resource_missing", "payment_method"),
        ({**GOOD, "payment_method_types[0]": "card"}, "parameter_unknown", "payment_method_types"),
    ],
)
async def test_a_wrong_form_is_refused_with_its_parameter_and_creates_nothing(
    stripe_api: Connection, form: dict[str, str], code: str | None, param: str
) -> None:
    answer = await stripe_api.post("/v1/payment_intents", form)
    assert error_of(answer) == (400, code, param)
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert (await stripe_api.get("/v1/payment_intents"))["data"] == []


@pytest.mark.parametrize(
    "body", [b"amount=2000&currency=usd&amount=3000", b"amount", b"a[b=1", b"[a]=1", b"amount=%ff"]
)
async def test_a_malformed_form_is_refused(stripe_api: Connection, body: bytes) -> None:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = await stripe_api.http.post("/v1/payment_intents", content=body, headers=headers)
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"


async def test_json_is_no_form(stripe_api: Connection) -> None:
    answer = await stripe_api.http.post("/v1/payment_intents", json=GOOD)
    assert answer.status_code == 400
    assert "application/x-www-form-urlencoded" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "authorization", [None, "Bearer sk_test_other", "Basic !", "Digest sk_test_sandbox"]
)
async def test_without_the_secret_key_the_answer_is_401(
    stripe_api: Connection, authorization: str | None
) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    async with httpx.AsyncClient(base_url=stripe_api.url, headers=headers) as stranger:
        answer = await stranger.get("/v1/payment_intents")
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == 'Basic realm="Stripe"'


async def test_the_secret_key_may_come_as_a_user_name(stripe_api: Connection) -> None:
    credentials = base64.b64encode(b"sk_test_sandbox:").decode()
    answer = await stripe_api.http.get(
        "/v1/payment_intents", headers={"Authorization": f"Basic {credentials}"}
    )
    assert answer.status_code == 200


async def test_every_answer_has_a_request_id_and_the_version_of_the_caller(
    stripe_api: Connection,
) -> None:
    answer = await stripe_api.http.get("/v1/refunds", headers={"Stripe-Version": "2025-01-27.acacia"})
    failed = await stripe_api.http.get("/v1/refunds/re_none")
    assert answer.headers["request-id"] != failed.headers["request-id"]
    assert answer.headers["stripe-version"] == "2025-01-27.acacia"
    assert failed.headers["stripe-version"] == "2026-10-28.endive"
    assert failed.json()["error"]["request_log_url"].endswith(failed.headers["request-id"])
    versions = [call["api_version"] for call in await stripe_api.get("/_sandbox/calls/records")]
    assert versions == ["2025-01-27.acacia", None]


async def test_an_impossible_version_is_refused(stripe_api: Connection) -> None:
    answer = await stripe_api.http.get("/v1/refunds", headers={"Stripe-Version": "newest"})
    assert answer.status_code == 400


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("DELETE", "/v1/payment_intents/pi_1"),
        ("PUT", "/v1/payment_intents"),
        ("GET", "/v1/payment_intents/pi_1/capture"),
        ("POST", "/v1/events"),
        ("GET", "/v1/prices"),
        ("GET", "/"),
    ],
)
async def test_only_documented_methods_of_documented_paths_exist(
    stripe_api: Connection, method: str, path: str
) -> None:
    answer = await stripe_api.http.request(method, path)
    assert answer.status_code == 404
    assert answer.json()["error"]["message"] == f"Unrecognized request URL ({method}: {path})."


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/payment_intents/pi_none"),
        ("POST", "/v1/payment_intents/pi_none/confirm"),
        ("GET", "/v1/checkout/sessions/cs_none"),
        ("GET", "/v1/checkout/sessions/cs_none/line_items"),
        ("POST", "/v1/checkout/sessions/cs_none/expire"),
        ("GET", "/v1/refunds/re_none"),
        ("GET", "/v1/charges/ch_none"),
        ("GET", "/v1/events/evt_none"),
    ],
)
async def test_an_unknown_id_in_a_path_is_404(stripe_api: Connection, method: str, path: str) -> None:
    answer = await stripe_api.http.request(method, path)
    assert error_of(answer) == (404, "resource_missing", "id")


@pytest.mark.parametrize("param", ["payment_intent", "charge"])
async def test_an_unknown_id_in_a_form_is_400(stripe_api: Connection, param: str) -> None:
    answer = await stripe_api.post("/v1/refunds", {param: "xx_none"})
    assert error_of(answer) == (400, "resource_missing", param)


# --- lists ---------------------------------------------------------------------------------------


async def test_a_list_is_paged_newest_first(stripe_api: Connection) -> None:
    ids = [(await stripe_api.intent())["id"] for _ in range(5)]
    first = await stripe_api.get("/v1/payment_intents?limit=2")
    assert [intent["id"] for intent in first["data"]] == [ids[4], ids[3]]
    assert (first["has_more"], first["object"], first["url"]) == (True, "list", "/v1/payment_intents")
    second = await stripe_api.get(f"/v1/payment_intents?limit=3&starting_after={ids[3]}")
    assert [intent["id"] for intent in second["data"]] == [ids[2], ids[1], ids[0]]
    assert second["has_more"] is False
    before = await stripe_api.get(f"/v1/payment_intents?limit=2&ending_before={ids[1]}")
    assert [intent["id"] for intent in before["data"]] == [ids[3], ids[2]]
    assert before["has_more"] is True


async def test_a_list_has_ten_entries_unless_asked_for_up_to_a_hundred(stripe_api: Connection) -> None:
    for _ in range(11):
        await stripe_api.intent()
    assert len((await stripe_api.get("/v1/payment_intents"))["data"]) == 10
    assert len((await stripe_api.get("/v1/payment_intents?limit=100"))["data"]) == 11
    answer = await stripe_api.http.get("/v1/payment_intents?limit=101")
    assert error_of(answer) == (400, "parameter_invalid_integer", "limit")


async def test_a_cursor_that_names_nothing_is_refused(stripe_api: Connection) -> None:
    answer = await stripe_api.http.get("/v1/payment_intents?starting_after=pi_none")
    assert error_of(answer) == (400, "resource_missing", "starting_after")


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("created[gte]=1800000000", 1),
        ("created[gt]=1799999999", 1),
        ("created[lt]=1800000000", 0),
        ("created[lte]=1799999999", 0),
        ("created[gte]=1900000000", 0),
        ("created[gte]=1700000000&created[lt]=1900000000", 1),
        ("created=1700000000", 0),
    ],
)
async def test_a_list_can_be_limited_to_a_time_of_creation(query: str, count: int) -> None:
    async with connected(StripeSettings(created_base_seconds=BASE_SECONDS)) as api:
        intent = await api.intent()
        assert BASE_SECONDS <= intent["created"] < BASE_SECONDS + 600
        assert len((await api.get(f"/v1/payment_intents?{query}"))["data"]) == count


# --- expansion -----------------------------------------------------------------------------------


async def test_ids_are_expanded_on_request(stripe_api: Connection) -> None:
    intent = await stripe_api.paid_intent(**{"expand[]": "latest_charge"})
    assert intent["latest_charge"]["amount_captured"] == 2000
    listed = await stripe_api.get("/v1/payment_intents?expand[]=data.latest_charge.payment_intent")
    assert listed["data"][0]["latest_charge"]["payment_intent"]["id"] == intent["id"]
    unexpanded = await stripe_api.get(f"/v1/payment_intents/{intent['id']}")
    assert unexpanded["latest_charge"] == intent["latest_charge"]["id"]


@pytest.mark.parametrize("path", ["colour", "latest_charge.colour", "data.latest_charge"])
async def test_what_cannot_be_expanded_is_refused_before_any_effect(
    stripe_api: Connection, path: str
) -> None:
    answer = await stripe_api.post("/v1/payment_intents", {**GOOD, "expand[0]": path})
    assert error_of(answer) == (400, None, "expand")
    assert (await stripe_api.get("/v1/payment_intents"))["data"] == []


# --- looking in ----------------------------------------------------------------------------------


async def test_calls_are_counted_by_route_and_by_idempotency_key(stripe_api: Connection) -> None:
    intent = await stripe_api.intent()
    for _ in range(2):
        await stripe_api.post(f"/v1/payment_intents/{intent['id']}/cancel", key="void-1")
    await stripe_api.get("/v1/payment_intents")
    assert await stripe_api.get("/_sandbox/calls") == {
        "by_route": {
            "POST /v1/payment_intents": 1,
            "POST /v1/payment_intents/{id}/cancel": 2,
            "GET /v1/payment_intents": 1,
        },
        "by_idempotency_key": {"void-1": 2},
    }
    records: list[dict[str, Any]] = await stripe_api.get(
        "/_sandbox/calls/records?idempotency_key=void-1"
    )
    assert [(record["status"], record["is_replay"]) for record in records] == [(200, False), (200, True)]
