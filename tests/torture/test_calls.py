"""What clients do that makes it hard is done, and counted when it came to that."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from io import StringIO
from random import Random
from typing import Any
from uuid import uuid4

import grpc
import pytest

from ops.ports import HOST, free_port
from shopkeeper.inventory.v1 import inventory_command_service_pb2 as inventory_pb
from tests.torture import calls
from tests.torture.calls import RPCS, Caller, ClientFault, Doors
from tests.torture.history import History

COMMAND_COUNT = 40


def received() -> Any:
    return inventory_pb.ReceiveStockRequest(request_id=str(uuid4()))


@asynccontextmanager
async def process(*, answer_seconds: float = 0.0) -> AsyncIterator[str]:
    """Something that answers every delivery; where it is."""

    async def answer(_request: bytes, _context: object) -> bytes:
        await asyncio.sleep(answer_seconds)
        return b""

    _, service, method = RPCS[received().DESCRIPTOR.full_name].path.split("/")
    handler: Any = grpc.unary_unary_rpc_method_handler(answer)
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {method: handler}),))
    port = server.add_insecure_port(f"{HOST}:0")
    await server.start()
    try:
        yield f"{HOST}:{port}"
    finally:
        await server.stop(None)


def caller_of(*addresses: str, patience_seconds: float = 30.0) -> Caller:
    doors = Doors({f"process {number}": each for number, each in enumerate(addresses)}, {}, {})
    return Caller("buyer 0", doors, History(StringIO()), Random(7), patience_seconds=patience_seconds)


@pytest.fixture(autouse=True)
def nothing_by_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients do only what a test has them do."""
    for name in ("GIVE_UP", "TWICE", "AGAIN", "ABANDON"):
        monkeypatch.setattr(calls, f"{name}_PROBABILITY", 0.0)


async def test_who_asks_once_and_is_answered_makes_nothing_hard() -> None:
    async with process() as address, caller_of(address) as caller:
        await caller.command(received())
    assert caller.faults.total() == 0


async def test_twice_at_once_goes_to_one_process_as_well_as_to_two(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(calls, "TWICE_PROBABILITY", 1.0)
    async with AsyncExitStack() as stack:
        addresses = [await stack.enter_async_context(process()) for _ in range(2)]
        caller = await stack.enter_async_context(caller_of(*addresses))
        for _ in range(COMMAND_COUNT):
            await caller.command(received())
    counts = caller.faults
    assert counts.total() == COMMAND_COUNT
    assert min(counts[ClientFault.TWICE_HERE], counts[ClientFault.TWICE_ELSEWHERE]) > COMMAND_COUNT / 4


async def test_whom_one_process_does_not_answer_asks_another() -> None:
    nowhere = f"{HOST}:{free_port()}"
    async with process() as address, caller_of(nowhere, address) as caller:
        for _ in range(COMMAND_COUNT):
            operation, _ = await caller.command(received())
            assert operation.is_decided
    assert 0 < caller.faults[ClientFault.ELSEWHERE] < COMMAND_COUNT
    assert set(+caller.faults) == {ClientFault.ELSEWHERE}


async def test_who_gives_up_early_is_not_who_waited_long(monkeypatch: pytest.MonkeyPatch) -> None:
    async with (
        process(answer_seconds=10.0) as address,
        caller_of(address, patience_seconds=0.5) as caller,
    ):
        await caller.command(received(), attempts_max=1)
        assert caller.faults[ClientFault.GIVE_UP] == 0
        monkeypatch.setattr(calls, "GIVE_UP_PROBABILITY", 1.0)
        await caller.command(received(), attempts_max=1)
        assert caller.faults[ClientFault.GIVE_UP] == 1


async def test_who_was_answered_may_ask_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "AGAIN_PROBABILITY", 1.0)
    async with process() as address, caller_of(address) as caller:
        await caller.command(received())
    assert +caller.faults == Counter({ClientFault.AGAIN: 1})
