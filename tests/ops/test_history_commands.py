"""`explain`, `log tail` and `call` against a real history service, as processes."""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import pytest

from ops.services import SERVICES, free_addresses
from ops.supervisor import Deployment
from shopkeeper.payment.v1.payment_events_pb2 import PaymentStarted
from shopkeeper.payment.v1.payment_pb2 import Payment
from tests.history_service.stored_shop import Line, StoredShop
from tests.ops.command_line import DONE, REFUSED, SHOPKEEPER, Ended, run

HISTORY = tuple(service for service in SERVICES if service.module == "history_service")


class Desk(NamedTuple):
    """A shop, and the address of the service that explains it."""

    shop: StoredShop
    address: str
    folder: Path

    async def ask(self, *arguments: str) -> Ended:
        call = (*arguments, "--address", self.address)
        return await asyncio.to_thread(run, *call, cwd=self.folder)


@pytest.fixture
async def desk(database_url: str, tmp_path: Path) -> AsyncIterator[Desk]:
    environment = {**os.environ, "DATABASE_URL": database_url, **free_addresses()}
    with StoredShop(database_url) as shop:
        async with Deployment(environment, services=HISTORY) as deployment:
            yield Desk(shop, deployment.history_address, tmp_path)


def words(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines() if line.strip()]


@pytest.mark.breaks_invariants("inv_stock_reserved")
async def test_explained_stock_ends_in_sums_that_are_the_counters(desk: Desk) -> None:
    desk.shop.move("MUG", on_hand=10, cause="delivery-7")
    desk.shop.move("MUG", 5, reserved=3, cause="order-1")
    ended = await desk.ask("explain", "stock", "MUG")
    rows = words(ended.stdout)
    assert ended.returncode == DONE, ended.stderr
    assert rows[0] == ["SKU", "MUG:", "7", "available"]
    assert ["sum", "10", "3", "0"] in rows
    assert any(row[-2:] == ["delivery-7", "tester"] for row in rows)
    assert "available 7 = on_hand 10 - reserved 3 - allocated 0" in ended.stdout


async def test_stock_is_explained_as_it_was(desk: Desk) -> None:
    then = desk.shop.now - timedelta(days=2)
    desk.shop.move("MUG", on_hand=10, at=then)
    desk.shop.move("MUG", on_hand=5)
    moment = (then + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%S")
    ended = await desk.ask("explain", "stock", "MUG", "--at", moment)
    assert ended.stdout.splitlines()[0] == "SKU MUG: 10 available"


@pytest.mark.breaks_invariants("inv_stock_ledger")
async def test_a_counter_that_its_ledger_does_not_explain_is_an_exit_status(desk: Desk) -> None:
    desk.shop.move("MUG", on_hand=10)
    desk.shop.execute("UPDATE stock_levels SET on_hand = 12")
    ended = await desk.ask("explain", "stock", "MUG")
    assert ended.returncode == REFUSED
    assert ended.stderr.startswith("error: a counter is not the sum of its movements:")


async def test_an_unknown_sku_is_told_with_reason_and_facts(desk: Desk) -> None:
    ended = await desk.ask("explain", "stock", "NONE")
    assert ended.returncode == REFUSED
    assert ended.stderr.splitlines() == [
        "error: NOT_FOUND: SKU NONE never had stock.",
        "  reason: STOCK_NOT_FOUND",
        "  sku_id: NONE",
    ]


@pytest.mark.parametrize("name", ["o-1", "1000000001"])
async def test_an_order_is_explained_by_its_id_and_by_its_number(desk: Desk, name: str) -> None:
    desk.shop.move("MUG", on_hand=10)
    desk.shop.place("o-1", [Line("MUG", 3)], number="100-000-0001")
    desk.shop.pay("o-1", 765)
    told = await desk.ask("explain", "order", name)
    total = await desk.ask("explain", "total", "order", name)
    assert (told.returncode, total.returncode) == (DONE, DONE), told.stderr + total.stderr
    assert [word for word in told.stdout.split() if word in {"OrderPlaced", "PaymentRecorded"}] == [
        "OrderPlaced",
        "PaymentRecorded",
    ]
    assert ["sum", "7.65", "GBP"] in words(total.stdout)


async def test_the_log_is_told_from_its_end_and_decoded(desk: Desk) -> None:
    for count in range(1, 31):
        desk.shop.move("MUG" if count % 3 else "CUP", on_hand=count, cause=f"delivery-{count}")
    last = await desk.ask("log", "tail", "-n", "3", "--json")
    events = [json.loads(line) for line in last.stdout.splitlines()]
    assert [event["position"] for event in events] == [28, 29, 30]
    assert [event["payload"]["cause"] for event in events] == [
        "delivery-28",
        "delivery-29",
        "delivery-30",
    ]
    of_key = await desk.ask("log", "tail", "-n", "2", "--key", "CUP")
    assert [row[:1] for row in words(of_key.stdout)] == [["27"], ["30"]]
    assert '"cause": "delivery-30"' in of_key.stdout
    behind = await desk.ask("log", "tail", "--json", "--after", events[0]["token"])
    assert [json.loads(line)["position"] for line in behind.stdout.splitlines()] == [29, 30]


async def test_events_of_payments_are_told_by_their_context_and_decoded(desk: Desk) -> None:
    desk.shop.move("MUG", on_hand=1)
    desk.shop.record("o-1", PaymentStarted(payment=Payment(payment_id="o-1.1", order_id="o-1")))
    told = await desk.ask("log", "tail", "--json", "--context", "payment")
    assert told.returncode == DONE, told.stderr
    [event] = [json.loads(line) for line in told.stdout.splitlines()]
    assert event["type"] == "shopkeeper.payment.v1.PaymentStarted"
    assert event["payload"] == {"payment": {"payment_id": "o-1.1", "order_id": "o-1"}}


async def test_a_log_shorter_than_asked_for_is_told_whole_and_an_empty_one_not_at_all(
    desk: Desk,
) -> None:
    assert (await desk.ask("log", "tail")).stdout == ""
    desk.shop.move("MUG", on_hand=1)
    desk.shop.move("MUG", on_hand=1)
    assert len((await desk.ask("log", "tail")).stdout.splitlines()) == 2


async def test_following_the_log_goes_on_with_what_is_committed(desk: Desk) -> None:
    desk.shop.move("MUG", on_hand=1, cause="before")
    tail = await asyncio.create_subprocess_exec(
        *(*SHOPKEEPER, "log", "tail", "--json", "-f", "-n", "1", "--address", desk.address),
        cwd=desk.folder,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        stdout=asyncio.subprocess.PIPE,
    )
    assert tail.stdout is not None
    try:
        async with asyncio.timeout(30):
            assert json.loads(await tail.stdout.readline())["payload"]["cause"] == "before"
            desk.shop.move("MUG", on_hand=1, cause="after")
            assert json.loads(await tail.stdout.readline())["payload"]["cause"] == "after"
    finally:
        tail.terminate()
        await tail.communicate()


async def test_following_the_log_goes_on_when_the_service_comes_back(
    database_url: str, tmp_path: Path
) -> None:
    environment = {**os.environ, "DATABASE_URL": database_url, **free_addresses()}
    address = environment["HISTORY_ADDRESS"]

    async def next_cause() -> str:
        assert tail.stdout is not None
        return str(json.loads(await tail.stdout.readline())["payload"]["cause"])

    with StoredShop(database_url) as shop:
        async with Deployment(environment, services=HISTORY), asyncio.timeout(100):
            shop.move("MUG", on_hand=1, cause="before")
            tail = await asyncio.create_subprocess_exec(
                *(*SHOPKEEPER, "log", "tail", "--json", "-f", "--address", address),
                cwd=tmp_path,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            assert await next_cause() == "before"
            shop.move("MUG", on_hand=1, cause="followed")
            assert await next_cause() == "followed"
        try:
            assert tail.stderr is not None
            async with asyncio.timeout(60):
                assert await tail.stderr.readline() == b"waiting for the history service\n"
            async with Deployment(environment, services=HISTORY), asyncio.timeout(60):
                shop.move("MUG", on_hand=1, cause="after")
                assert await next_cause() == "after"
        finally:
            tail.kill()
            await tail.communicate()


async def test_any_method_can_be_called_in_json_without_its_package(desk: Desk) -> None:
    desk.shop.move("MUG", on_hand=10)
    ended = await desk.ask("call", "InventoryHistoryService/ExplainStock", '{"skuId": "MUG"}')
    assert json.loads(ended.stdout)["stock"] == {
        "skuId": "MUG",
        "available": 10,
        "levels": [{"locationId": "main", "onHand": 10, "available": 10}],
    }
    stream = await desk.ask("call", "shopkeeper.log.v1.LogService.ReadEvents")
    assert json.loads(stream.stdout)["key"] == "MUG"


async def test_bad_requests_name_their_fields(desk: Desk) -> None:
    wrong = await desk.ask("call", "InventoryHistoryService/ExplainStock", '{"page_size": -1}')
    assert wrong.returncode == REFUSED
    assert wrong.stderr.startswith("error: INVALID_ARGUMENT: ")
    assert "  field sku_id: " in wrong.stderr
    assert "  field page_size: " in wrong.stderr
    unknown = await desk.ask("call", "InventoryHistoryService/ExplainStock", '{"sku": "MUG"}')
    assert unknown.stderr.startswith(
        "error: this is not a shopkeeper.inventory.v1.ExplainStockRequest: "
    )


async def test_services_and_methods_are_listed_and_mistyped_ones_told(desk: Desk) -> None:
    listed = await desk.ask("call")
    assert [desk.address, "shopkeeper.log.v1.LogService", "ReadEvents"] in words(listed.stdout)
    no_method = await desk.ask("call", "LogService/Read")
    assert no_method.stderr == (
        "error: shopkeeper.log.v1.LogService has no method Read; it has ReadEvents\n"
    )
    no_service = await desk.ask("call", "LoggService/Read")
    assert no_service.stderr.startswith("error: there is no service LoggService here")
