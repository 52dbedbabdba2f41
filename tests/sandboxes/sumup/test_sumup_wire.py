"""What the sandbox of SumUp accepts and refuses, byte by byte."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from tests.sandboxes.sumup.connection import SumUpConnection, connected

CHECKOUTS = "/v0.1/checkouts"
MERCHANT = "/merchants/MSANDBOX"
HISTORY = f"/v2.1{MERCHANT}/transactions/history"


@pytest.fixture
async def sumup() -> AsyncIterator[SumUpConnection]:
    async with connected() as connection:
        yield connection


def checkout(**other: Any) -> dict[str, Any]:
    facts = {
        "checkout_reference": "o1.1",
        "amount": 10.10,
        "currency": "EUR",
        "merchant_code": "MSANDBOX",
        **other,
    }
    return {name: fact for name, fact in facts.items() if fact is not None}


def terminal(**other: Any) -> dict[str, Any]:
    return {"total_amount": {"value": 1010, "currency": "EUR", "minor_unit": 2}, **other}


async def created(sumup: SumUpConnection, **other: Any) -> Any:
    answer = await sumup.http.post(CHECKOUTS, json=checkout(**other))
    assert answer.status_code == 201, answer.text
    return answer.json()


@pytest.mark.parametrize("authorization", ["", "Bearer wrong", "Basic c3VwX3NrX3NhbmRib3g6"])
async def test_only_the_merchants_bearer_key_is_let_in(
    sumup: SumUpConnection, authorization: str
) -> None:
    answer = await sumup.http.get(CHECKOUTS, headers={"Authorization": authorization})
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"


async def test_a_checkout_is_told_as_it_was_made(sumup: SumUpConnection) -> None:
    made = await created(sumup, hosted_checkout={"enabled": True}, description="Order 1")
    assert (made["status"], made["amount"], made["transactions"]) == ("PENDING", 10.1, [])
    assert made["hosted_checkout_url"].endswith(made["id"])
    assert await sumup.get(f"{CHECKOUTS}/{made['id']}") == made
    assert await sumup.get(f"{CHECKOUTS}?checkout_reference=o1.1") == [made]
    assert await sumup.get(f"{CHECKOUTS}?checkout_reference=o1.2") == []


async def test_a_reference_is_used_once(sumup: SumUpConnection) -> None:
    await created(sumup)
    answer = await sumup.http.post(CHECKOUTS, json=checkout(amount=5))
    assert (answer.status_code, answer.json()["error_code"]) == (409, "DUPLICATED_CHECKOUT")


@pytest.mark.parametrize(
    ("other", "status", "code"),
    [
        ({"amount": None}, 400, "MISSING"),
        ({"amount": "10.10"}, 400, "INVALID"),
        ({"amount": 10.101}, 400, "INVALID"),
        ({"amount": 0}, 400, "INVALID"),
        ({"amount": True}, 400, "INVALID"),
        ({"amount": 10.5, "currency": "HUF"}, 400, "INVALID"),
        ({"currency": "eur"}, 400, "INVALID"),
        ({"currency": "JPY"}, 400, "INVALID"),
        ({"checkout_reference": "x" * 65}, 400, "INVALID"),
        ({"return_url": "not an address"}, 400, "INVALID"),
        ({"valid_until": "tomorrow"}, 400, "INVALID"),
        ({"hosted_checkout": True}, 400, "INVALID"),
        ({"metadata": {}}, 400, "UNKNOWN"),
        ({"merchant_code": "MOTHER"}, 403, "FORBIDDEN"),
    ],
)
async def test_what_is_not_as_documented_is_refused(
    sumup: SumUpConnection, other: dict[str, Any], status: int, code: str
) -> None:
    answer = await sumup.http.post(CHECKOUTS, json=checkout(**other))
    assert (answer.status_code, answer.json()["error_code"]) == (status, code)
    assert await sumup.get(CHECKOUTS) == []


async def test_two_mistakes_come_as_a_list(sumup: SumUpConnection) -> None:
    answer = await sumup.http.post(CHECKOUTS, json=checkout(amount=None, currency=None))
    assert [each["param"] for each in answer.json()] == ["amount", "currency"]


async def test_a_body_that_is_not_json_is_refused(sumup: SumUpConnection) -> None:
    form = await sumup.http.post(CHECKOUTS, data={"amount": "1"})
    broken = await sumup.http.post(CHECKOUTS, content=b"{", headers={"Content-Type": "application/json"})
    assert (form.status_code, broken.status_code) == (400, 400)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (terminal(), 201),
        (terminal(return_url="http://shop.example/hook"), 422),
        (terminal(return_url="https://shop.example/hook"), 201),
        (terminal(affiliate={"app_id": "a", "key": "wrong", "foreign_transaction_id": "o"}), 422),
        (terminal(affiliate={"app_id": "a", "key": "aff-sandbox"}), 422),
        ({"total_amount": {"value": 10.5, "currency": "EUR", "minor_unit": 2}}, 422),
        ({"total_amount": {"value": 1050, "currency": "HUF", "minor_unit": 2}}, 422),
        ({"total_amount": {"value": 0, "currency": "EUR", "minor_unit": 2}}, 422),
        ({}, 422),
    ],
)
async def test_a_reader_is_told_integers_and_their_decimals(
    sumup: SumUpConnection, body: dict[str, Any], status: int
) -> None:
    path = f"/v0.1{MERCHANT}/readers/{sumup.reader_id}/checkout"
    assert (await sumup.http.post(path, json=body)).status_code == status


async def test_a_reader_has_one_payment_at_a_time_and_forgets_what_it_did_not_start() -> None:
    async with connected() as sumup:
        path = f"/v0.1{MERCHANT}/readers/{sumup.reader_id}"
        assert (await sumup.http.post(f"{path}/checkout", json=terminal())).status_code == 201
        busy = await sumup.http.post(f"{path}/checkout", json=terminal())
        assert (busy.status_code, busy.json()["errors"]["type"]) == (422, "READER_BUSY")
        sumup.sandbox.account.readers._start_seconds = 0.0
        assert (await sumup.http.post(f"{path}/checkout", json=terminal())).status_code == 201
        assert (await sumup.http.post(f"{path.replace('rdr', 'xxx')}/terminate")).status_code == 404


async def transaction_of(sumup: SumUpConnection, **other: Any) -> Any:
    made = await created(sumup, **other)
    paid = await sumup.act(f"checkouts/{made['id']}/pay")
    assert paid["status"] == "PAID"
    return await sumup.get(f"/v2.1{MERCHANT}/transactions?id={paid['transaction_id']}")


async def test_refunds_end_where_the_money_ends(sumup: SumUpConnection) -> None:
    transaction = await transaction_of(sumup)
    path = f"/v1.0{MERCHANT}/payments/{transaction['id']}/refunds"

    async def refund(body: dict[str, Any]) -> httpx.Response:
        return await sumup.http.post(path, json=body)

    part = await refund({"amount": 4.05})
    assert (part.status_code, part.content) == (204, b"")
    assert (await refund({"amount": 6.06})).status_code == 409
    assert (await refund({})).status_code == 409
    assert (await refund({"amount": -1})).status_code == 400
    assert (await refund({"amount": 6.05})).status_code == 204
    assert await sumup.totals() == (1010, 1010)
    told = await sumup.get(f"/v2.1{MERCHANT}/transactions?id={transaction['id']}")
    assert [event["amount"] for event in told["events"]] == [4.05, 6.05]
    assert [event["event_type"] for event in told["transaction_events"]] == ["REFUND", "REFUND"]
    unknown = await sumup.http.post(path.replace(transaction["id"], "none"), json={})
    assert unknown.status_code == 404


async def test_a_transaction_is_looked_up_by_one_name(sumup: SumUpConnection) -> None:
    await transaction_of(sumup)
    path = f"/v2.1{MERCHANT}/transactions"
    assert (await sumup.http.get(path)).status_code == 400
    assert (await sumup.http.get(f"{path}?id=1&transaction_code=2")).status_code == 400
    assert (await sumup.http.get(f"{path}?id=1")).status_code == 404


async def test_the_history_comes_in_pages(sumup: SumUpConnection) -> None:
    for number in range(5):
        await transaction_of(sumup, checkout_reference=f"o{number}.1")
    page = await sumup.get(f"{HISTORY}?limit=2")
    found = page["items"]
    while page["links"]:
        page = await sumup.get(f"{HISTORY}?{page['links'][0]['href']}")
        found += page["items"]
    assert len({item["transaction_id"] for item in found}) == len(found) == 5
    newest_first = await sumup.get(f"{HISTORY}?limit=10&order=descending")
    assert newest_first["items"] == found[::-1]
    assert (await sumup.get(f"{HISTORY}?types[]=REFUND"))["items"] == []
    now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    assert (await sumup.get(f"{HISTORY}?oldest_time={now}"))["items"] == []
    assert (await sumup.http.get(f"{HISTORY}?limit=0")).status_code == 400


async def test_a_refund_needs_money_that_was_taken(sumup: SumUpConnection) -> None:
    made = await created(sumup)
    declined = await sumup.act(f"checkouts/{made['id']}/decline")
    path = f"/v1.0{MERCHANT}/payments/{declined['transactions'][0]['id']}/refunds"
    assert (await sumup.http.post(path)).status_code == 409
    assert await sumup.totals() == (0, 0)
