"""Stopped processes, cut connections: what must not be lost, doubled or blocked."""

import asyncio
import sys
from collections import Counter

import grpc
import pytest

from tests.eventually import eventually
from tests.system.client import Client, place_request, reason_of, retry_seconds
from tests.system.conftest import CommandServices, command_services
from tests.system.cutting_proxy import proxied

HOLD_LOG_LOCK_AND_STOP = """
import asyncio, os, signal, sys
from command_service.pipeline import Statement
from command_service.session import Session
from command_service.postgresql import BEGIN
from event_log.appending import LOCK_LOG

async def hold():
    session = Session(sys.argv[1], "stopped")
    await session.connect()
    await session.run([BEGIN, Statement(LOCK_LOG)])
    print("locked", flush=True)
    os.kill(os.getpid(), signal.SIGSTOP)

asyncio.run(hold())
"""


async def test_a_connection_cut_between_commit_and_its_answer_has_one_effect_and_is_told(
    database_url: str,
) -> None:
    async with (
        proxied(database_url) as (proxy, proxied_url),
        command_services(database_url, 1, DATABASE_URL=proxied_url) as services,
    ):
        async with services.client() as client:
            await client.open_shop(["sku"], 10)
            cart = await client.fill_cart({"sku": 1})
            for _ in range(5):
                proxy.is_armed = True
                await client.receive({"sku": 1})
            proxy.is_armed = True
            order = await client.place(cart)
        assert proxy.cut_count == 6
        assert services.fetch("SELECT on_hand, reserved FROM stock_levels") == [(15, 1)]
        assert services.fetch("SELECT order_id FROM orders") == [(order.order_id,)]
        assert services.broken_invariants() == {}


async def test_others_go_on_when_a_process_stops_while_it_holds_the_log_lock(
    two_services: CommandServices,
) -> None:
    async with two_services.client() as client:
        await client.open_shop(["sku"], 10)
        holder = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", HOLD_LOG_LOCK_AND_STOP, two_services.database_url),
            stdout=asyncio.subprocess.PIPE,
        )
        assert holder.stdout is not None
        assert await holder.stdout.readline() == b"locked\n"
        # The client's deadline is 20 s: without the limits of the session it would pass.
        await client.receive({"sku": 1})
        holder.kill()
        await holder.wait()
    assert two_services.fetch("SELECT on_hand FROM stock_levels") == [(11,)]


async def test_a_stopped_service_process_does_not_stop_the_others(
    two_services: CommandServices,
) -> None:
    async with two_services.client(0) as stopped, two_services.client(1) as running:
        await running.open_shop(["sku"], 1000)

        async def receive_until_stopped() -> None:
            while True:
                await stopped.receive({"sku": 1})

        traffic = [asyncio.create_task(receive_until_stopped()) for _ in range(8)]
        await asyncio.sleep(0.5)
        two_services.processes[0].pause()
        for _ in range(20):
            await running.receive({"sku": 1})
        two_services.processes[0].resume()
        for task in traffic:
            task.cancel()
        await asyncio.gather(*traffic, return_exceptions=True)
        await running.receive({"sku": 1})
    assert two_services.broken_invariants() == {}


async def test_a_killed_process_loses_nothing_that_it_acknowledged(
    two_services: CommandServices,
) -> None:
    acknowledged: list[str] = []
    async with two_services.client(0) as killed, two_services.client(1) as survivor:
        await survivor.open_shop(["sku"], 1000)

        async def order_forever(client: Client) -> None:
            while True:
                order = await client.place(await client.fill_cart({"sku": 1}))
                acknowledged.append(order.order_id)

        buyers = [asyncio.create_task(order_forever(killed)) for _ in range(8)]
        await eventually(lambda: asyncio.sleep(0, len(acknowledged) >= 30))
        two_services.processes[0].kill()
        await asyncio.wait(buyers)
        assert all(isinstance(buyer.exception(), grpc.aio.AioRpcError) for buyer in buyers)
        await survivor.place(await survivor.fill_cart({"sku": 1}))
    found = {row[0] for row in two_services.fetch("SELECT order_id FROM orders")}
    assert found.issuperset(acknowledged)
    assert two_services.broken_invariants() == {}


async def test_a_request_sent_again_to_another_process_after_a_kill_has_one_effect(
    two_services: CommandServices,
) -> None:
    async with two_services.client(0) as killed, two_services.client(1) as survivor:
        await survivor.open_shop(["sku"], 1000)
        carts = [await survivor.fill_cart({"sku": 1}) for _ in range(20)]
        requests = [place_request(cart) for cart in carts]
        sent = [
            asyncio.ensure_future(killed.ordering.PlaceOrder(request, timeout=10))
            for request in requests
        ]
        await asyncio.sleep(0.02)
        two_services.processes[0].kill()
        await asyncio.gather(*sent, return_exceptions=True)
        again = await asyncio.gather(
            *(survivor.ordering.PlaceOrder(request, timeout=10) for request in requests)
        )
    assert two_services.fetch("SELECT count(*) FROM orders") == [(20,)]
    for future, response in zip(sent, again, strict=True):
        if future.exception() is None:
            assert future.result() == response
    assert two_services.broken_invariants() == {}


async def test_sigterm_answers_every_call_and_loses_nothing(two_services: CommandServices) -> None:
    """The callers go on until they are told to go elsewhere: calls are under way at every moment."""
    acknowledged_count = 0
    async with two_services.client(0) as client:
        await client.open_shop(["sku"], 1000)

        async def receive_until_refused() -> str:
            nonlocal acknowledged_count
            while True:
                try:
                    await client.receive({"sku": 1})
                except grpc.aio.AioRpcError as error:
                    return f"{error.code().name} {reason_of(error)}, again in {retry_seconds(error)} s"
                acknowledged_count += 1

        callers = [asyncio.create_task(receive_until_refused()) for _ in range(200)]
        await eventually(lambda: asyncio.sleep(0, acknowledged_count >= 200), seconds=60)
        await two_services.processes[0].end(seconds_max=60)
        outcomes = Counter(await asyncio.gather(*callers))
        status = await two_services.processes[0].wait()
    assert status == 0
    assert outcomes == {"UNAVAILABLE DRAINING, again in 1.0 s": 200}
    on_hand = 1000 + acknowledged_count
    assert two_services.fetch("SELECT on_hand FROM stock_levels") == [(on_hand,)]
    assert two_services.broken_invariants() == {}


@pytest.mark.parametrize("process_index", [0, 1])
async def test_each_process_answers_alone(two_services: CommandServices, process_index: int) -> None:
    two_services.processes[1 - process_index].kill()
    async with two_services.client(process_index) as client:
        await client.open_shop(["sku"], 1)
