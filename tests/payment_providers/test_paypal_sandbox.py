"""The sandbox of PayPal itself: as strict as its documentation, and a process of its own."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.sandboxes.deliveries import DeliverySettings
from tests.sandboxes.faults import FaultKind, FaultSettings
from tests.sandboxes.paypal.__main__ import parser, settings_from
from tests.sandboxes.paypal.connection import Connection, connected
from tests.sandboxes.paypal.settings import PayPalSettings, Webhook

PATIENCE_SECONDS = 60.0
ORDERS = "/v2/checkout/orders"
AMOUNT = {"currency_code": "USD", "value": "20.00"}
ALL = "return=representation"


@pytest.fixture
async def api() -> AsyncIterator[Connection]:
    async with connected() as connection:
        yield connection


def form(**unit: Any) -> dict[str, Any]:
    return {"intent": "CAPTURE", "purchase_units": [{"amount": AMOUNT, **unit}]}


def issue_of(answer: httpx.Response) -> tuple[int, str]:
    body = answer.json()
    assert set(body) == {"name", "message", "details", "debug_id", "links"}
    return answer.status_code, body["details"][0]["issue"]


async def approved(api: Connection, *, intent: str = "CAPTURE") -> str:
    answer = await api.send("POST", ORDERS, {**form(), "intent": intent})
    id_: str = answer.json()["id"]
    await api.act(f"orders/{id_}/approve")
    return id_


async def captured(api: Connection) -> str:
    answer = await api.send("POST", f"{ORDERS}/{await approved(api)}/capture", {}, Prefer=ALL)
    [capture] = answer.json()["purchase_units"][0]["payments"]["captures"]
    return str(capture["id"])


async def held(api: Connection) -> str:
    id_ = await approved(api, intent="AUTHORIZE")
    answer = await api.send("POST", f"{ORDERS}/{id_}/authorize", {}, Prefer=ALL)
    [authorization] = answer.json()["purchase_units"][0]["payments"]["authorizations"]
    return str(authorization["id"])


async def test_an_answer_is_minimal_unless_all_is_preferred(api: Connection) -> None:
    minimal = await api.send("POST", ORDERS, form())
    assert (minimal.status_code, set(minimal.json())) == (201, {"id", "status", "links"})
    full = await api.send("POST", ORDERS, form(), Prefer=ALL)
    assert full.json()["purchase_units"][0]["amount"] == AMOUNT


async def test_a_replay_answers_200_with_the_state_by_now(api: Connection) -> None:
    first = await api.send("POST", ORDERS, form(), request_id="r", Prefer=ALL)
    await api.act(f"orders/{first.json()['id']}/approve")
    again = await api.send("POST", ORDERS, form(), request_id="r", Prefer=ALL)
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json()["id"] == first.json()["id"]
    assert (first.json()["status"], again.json()["status"]) == ("CREATED", "APPROVED")


async def test_an_id_used_for_something_else_is_refused(api: Connection) -> None:
    await api.send("POST", ORDERS, form(), request_id="r")
    other = await api.send("POST", ORDERS, form(custom_id="o2"), request_id="r")
    assert issue_of(other) == (422, "DUPLICATE_REQUEST_ID")
    long = await api.send("POST", ORDERS, form(), request_id=109 * "r")
    assert issue_of(long) == (400, "INVALID_STRING_LENGTH")


async def test_of_two_calls_at_once_with_one_id_the_second_conflicts() -> None:
    async with connected(PayPalSettings(think_seconds=0.5)) as api:
        answers = await asyncio.gather(
            *(api.send("POST", ORDERS, form(), request_id="r") for _ in range(2))
        )
        assert sorted(answer.status_code for answer in answers) == [201, 409]
        assert len((await api.look("state"))["orders"]) == 1


@pytest.mark.parametrize(
    ("changed", "status", "issue"),
    [
        ({"intent": None}, 400, "MISSING_REQUIRED_PARAMETER"),
        ({"intent": "SALE"}, 400, "INVALID_PARAMETER_VALUE"),
        ({"purchase_units": []}, 400, "INVALID_ARRAY_MAX_ITEMS"),
        ({"purchase_units": [{}]}, 400, "MISSING_REQUIRED_PARAMETER"),
        ({"purchase_units": [{"amount": {**AMOUNT, "value": 20}}]}, 400, "INVALID_PARAMETER_SYNTAX"),
        ({"purchase_units": [{"amount": {**AMOUNT, "value": "1e3"}}]}, 400, "INVALID_PARAMETER_SYNTAX"),
        ({"purchase_units": [{"amount": {**AMOUNT, "value": "20.001"}}]}, 422, "DECIMAL_PRECISION"),
        (
            {"purchase_units": [{"amount": {"currency_code": "HUF", "value": "500.00"}}]},
            422,
            "DECIMALS_NOT_SUPPORTED",
        ),
        (
            {"purchase_units": [{"amount": {**AMOUNT, "value": "0.00"}}]},
            422,
            "CANNOT_BE_ZERO_OR_NEGATIVE",
        ),
        ({"purchase_units": [{"amount": {**AMOUNT, "value": 16 * "9"}}]}, 422, "MAX_VALUE_EXCEEDED"),
        (
            {"purchase_units": [{"amount": {**AMOUNT, "currency_code": "KWD"}}]},
            422,
            "INVALID_CURRENCY_CODE",
        ),
        ({"surprise": 1}, 400, "MALFORMED_REQUEST_JSON"),
        ({"payment_source": {"paypal": {"experience_context": {}}}}, 422, "RETURN_URL_REQUIRED"),
    ],
)
async def test_an_order_that_breaks_a_rule_is_refused(
    api: Connection, changed: dict[str, Any], status: int, issue: str
) -> None:
    answer = await api.send("POST", ORDERS, {**form(), **changed})
    assert issue_of(answer) == (status, issue)
    assert (await api.look("state"))["orders"] == []


async def test_what_is_not_json_is_refused(api: Connection) -> None:
    headers = {"Authorization": f"Bearer {await api.token()}"}
    as_form = await api.http.post(ORDERS, data={"intent": "CAPTURE"}, headers=headers)
    assert (as_form.status_code, as_form.json()["name"]) == (415, "UNSUPPORTED_MEDIA_TYPE")
    headers["Content-Type"] = "application/json"
    broken = await api.http.post(ORDERS, content=b"{", headers=headers)
    assert issue_of(broken) == (400, "MALFORMED_REQUEST_JSON")


async def test_nobody_gets_in_without_a_token_that_lives() -> None:
    async with connected(PayPalSettings(token_seconds=0)) as api:
        dead = await api.send("GET", f"{ORDERS}/X")
        assert (dead.status_code, dead.json()["error"]) == (401, "invalid_token")
    async with connected() as api:
        assert (await api.http.get(f"{ORDERS}/X")).status_code == 401
        wrong = await api.http.post(
            "/v1/oauth2/token", data={"grant_type": "client_credentials"}, auth=("x", "y")
        )
        assert (wrong.status_code, wrong.json()["error"]) == (401, "invalid_client")
        assert issue_of(await api.send("GET", f"{ORDERS}/X")) == (404, "INVALID_RESOURCE_ID")


async def test_states_allow_what_is_documented_and_no_more(api: Connection) -> None:
    id_ = (await api.send("POST", ORDERS, form())).json()["id"]
    assert issue_of(await api.send("POST", f"{ORDERS}/{id_}/capture", {})) == (
        422,
        "ORDER_NOT_APPROVED",
    )
    await api.act(f"orders/{id_}/approve")
    assert issue_of(await api.send("POST", f"{ORDERS}/{id_}/authorize", {})) == (
        422,
        "ACTION_DOES_NOT_MATCH_INTENT",
    )
    assert (await api.send("POST", f"{ORDERS}/{id_}/capture", {})).status_code == 201
    assert issue_of(await api.send("POST", f"{ORDERS}/{id_}/capture", {})) == (
        422,
        "ORDER_ALREADY_CAPTURED",
    )


async def test_an_authorization_is_captured_voided_and_made_anew(api: Connection) -> None:
    path = f"/v2/payments/authorizations/{await held(api)}"
    too_much = {"amount": {**AMOUNT, "value": "23.01"}, "final_capture": True}
    answer = await api.send("POST", f"{path}/capture", too_much)
    assert issue_of(answer) == (422, "MAX_CAPTURE_AMOUNT_EXCEEDED")
    early = await api.send("POST", f"{path}/reauthorize", {"amount": AMOUNT})
    assert issue_of(early) == (422, "REAUTHORIZATION_NOT_SUPPORTED")
    await api.act(f"authorizations/{path.rpartition('/')[2]}/age")
    assert (await api.send("POST", f"{path}/reauthorize", {"amount": AMOUNT})).status_code == 201
    assert (await api.send("POST", f"{path}/void", {})).status_code == 204
    assert (await api.send("GET", path)).json()["status"] == "VOIDED"
    assert issue_of(await api.send("POST", f"{path}/void", {})) == (422, "PREVIOUSLY_VOIDED")
    answer = await api.send("POST", f"{path}/capture", {})
    assert issue_of(answer) == (422, "AUTHORIZATION_VOIDED")


async def test_a_refund_without_an_amount_gives_back_what_is_left(api: Connection) -> None:
    path = f"/v2/payments/captures/{await captured(api)}"
    part = {"amount": {**AMOUNT, "value": "5.00"}}
    await api.send("POST", f"{path}/refund", part)
    assert (await api.send("GET", path)).json()["status"] == "PARTIALLY_REFUNDED"
    rest = await api.send("POST", f"{path}/refund", {}, Prefer=ALL)
    assert rest.json()["amount"]["value"] == "15.00"
    shown = await api.send("GET", f"/v2/payments/refunds/{rest.json()['id']}")
    assert shown.json()["status"] == "COMPLETED"
    assert issue_of(await api.send("POST", f"{path}/refund", part)) == (422, "CAPTURE_FULLY_REFUNDED")


async def test_transactions_are_listed_late_and_a_month_at_a_time() -> None:
    month = {"start_date": "2026-01-01T00:00:00Z", "end_date": "2026-02-01T00:00:01Z"}
    async with connected(PayPalSettings(reporting_lag_seconds=3600)) as api:
        await captured(api)
        query = "start_date=2026-01-01T00:00:00Z&end_date=2026-01-31T00:00:00Z"
        answer = await api.send("GET", f"/v1/reporting/transactions?{query}")
        assert answer.json()["total_items"] == 0
        query = "&".join(f"{name}={value}" for name, value in month.items())
        answer = await api.send("GET", f"/v1/reporting/transactions?{query}")
        assert issue_of(answer) == (400, "INVALID_DATE_RANGE")


async def test_the_process_serves_until_it_is_asked_to_stop() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "tests.sandboxes.paypal", "--port", "0", "--client-id", "a", "--client-secret", "b"),
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            url = (await process.stdout.readline()).decode().strip()
            async with httpx.AsyncClient(base_url=url, timeout=PATIENCE_SECONDS) as http:
                answer = await http.post(
                    "/v1/oauth2/token", data={"grant_type": "client_credentials"}, auth=("a", "b")
                )
                assert answer.status_code == 200
                authority = await http.get("/_sandbox/authority")
                assert authority.content.startswith(b"-----BEGIN CERTIFICATE-----")
            process.send_signal(signal.SIGTERM)
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def test_each_option_is_a_setting() -> None:
    options = parser().parse_args(
        "--webhook-url http://127.0.0.1:1/hook --webhook-id W --seed 7 --token-seconds 5"
        " --fault-probability 0.2 --fault-kinds error_after reset_after --duplicates-max 4".split()
    )
    settings = settings_from(options)
    assert settings == PayPalSettings(
        seed=7,
        token_seconds=5,
        faults=FaultSettings(
            probability=0.2, kinds=(FaultKind.ERROR_AFTER, FaultKind.RESET_AFTER), seed=7
        ),
        deliveries=DeliverySettings(seed=7, duplicates_max=4),
        webhooks=(Webhook("http://127.0.0.1:1/hook", "W"),),
    )
