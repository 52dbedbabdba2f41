"""Callers who give up at any moment, and the process that served them goes on."""

import asyncio
import subprocess
import sys
from collections import Counter
from random import Random
from typing import Any

import grpc

from shopkeeper.cart.v1.cart_command_service_pb2 import CreateCartRequest
from tests.system.client import new_id
from tests.system.conftest import CommandServices

CALL_COUNT = 1_500
AT_ONCE = 8

# In a process of its own, and on uvloop as the services are: it would end the process, not raise.
ABANDON = """
import asyncio, sys, uvloop
from command_service.pipeline import Statement
from command_service.session import Session
from history_service.database import Database

async def give_up(doing, turns):
    task = asyncio.ensure_future(doing)
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

async def recall(database):
    async with database.snapshot(5.0) as snapshot:
        await snapshot.fetch("SELECT pg_sleep(0.01)", {}, object)

async def main():
    session = Session(sys.argv[1], "tests")
    database = Database(sys.argv[1], connection_count_max=4)
    for number in range(150):
        await session.connect()
        await give_up(session.run([Statement("SELECT 1"), Statement("SELECT 2")]), number % 15)
        await give_up(recall(database), number % 30)
    await asyncio.sleep(0.1)
    await session.connect()
    assert await session.run([Statement("SELECT 1")]) == [[(1,)]]
    await session.close()
    await database.drain()

uvloop.run(main())
"""


def test_a_trip_to_the_database_may_be_given_up_at_any_step(database_url: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", ABANDON, database_url],
        capture_output=True,
        check=False,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 0, ended.stderr


async def test_rehearsals_whose_callers_give_up_harm_nobody(one_service: CommandServices) -> None:
    chance = Random(5)
    [process] = one_service.processes
    pid = process.pid
    codes: Counter[str] = Counter()

    async def rehearse(channel: grpc.aio.Channel) -> None:
        path = "/shopkeeper.cart.v1.CartCommandService/CreateCart"
        request = CreateCartRequest(
            request_id=new_id(), cart_id=new_id(), currency_code="GBP", validate_only=True
        )
        ask: Any = channel.unary_unary(path)
        try:
            await ask(request.SerializeToString(), timeout=chance.uniform(0.0003, 0.004))
        except grpc.aio.AioRpcError as error:
            codes[error.code().name] += 1

    async with grpc.aio.insecure_channel(one_service.addresses[0]) as channel:
        for _ in range(CALL_COUNT // AT_ONCE):
            await asyncio.gather(*(rehearse(channel) for _ in range(AT_ONCE)))
    assert codes.keys() == {"DEADLINE_EXCEEDED"}
    assert process.is_running
    assert process.pid == pid
    async with one_service.client() as client:
        await client.open_shop(["sku"], 1)
