"""The light client against a real gRPC server: it counts what was answered, and nothing else."""

import asyncio
import selectors
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from functools import partial
from typing import Any

import grpc
import pytest

from benchmarks.http2 import Answered, CallFailed, Connection

PATH = "/test.Service/Method"
ANSWER_SECONDS_MAX = 20


@asynccontextmanager
async def server(answer: Any) -> AsyncIterator[str]:
    running = grpc.aio.server()
    handlers: Any = {"Method": grpc.unary_unary_rpc_method_handler(answer)}
    running.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Service", handlers),))
    port = running.add_insecure_port("127.0.0.1:0")
    await running.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await running.stop(None)


def answers(address: str, messages: list[bytes]) -> Iterator[Answered]:
    """Sends all at once and waits for each."""
    with closing(Connection(address, PATH, (("x-actor", "tester"),))) as connection:
        for message in messages:
            connection.call(message, 0.0)
        with selectors.DefaultSelector() as selector:
            selector.register(connection, selectors.EVENT_READ)
            while connection.in_flight_count:
                connection.flush()
                # What cannot be sent yet is tried again soon.
                selector.select(0.01 if connection.has_unsent else ANSWER_SECONDS_MAX)
                yield from connection.read(1.0)


async def asked(address: str, messages: list[bytes]) -> list[Answered]:
    return await asyncio.to_thread(lambda: list(answers(address, messages)))


async def test_each_call_is_answered_with_its_size() -> None:
    heard: list[tuple[bytes, dict[str, Any]]] = []

    async def answer(request: bytes, context: grpc.aio.ServicerContext[Any, Any]) -> bytes:
        heard.append((request, dict(context.invocation_metadata() or ())))
        return request * 2

    async with server(answer) as address:
        found = await asked(address, [b"a", b"bb", b"ccc"])

    assert sorted(each.answer_bytes for each in found) == [2, 4, 6]
    assert {each.seconds for each in found} == {1.0}
    # The server begins what arrived together in any order.
    assert sorted(request for request, _ in heard) == [b"a", b"bb", b"ccc"]
    # The second call names the headers of the first by their places.
    assert [metadata["x-actor"] for _, metadata in heard] == ["tester"] * 3


async def test_more_than_the_servers_window_is_sent_as_it_opens() -> None:
    async def answer(request: bytes, _context: Any) -> bytes:
        return request

    messages = [bytes(16_000)] * 50
    async with server(answer) as address:
        found = await asked(address, messages)

    assert [each.answer_bytes for each in found] == [16_000] * 50


async def test_a_refused_call_fails() -> None:
    async def answer(_request: bytes, context: grpc.aio.ServicerContext[Any, Any]) -> bytes:
        await context.abort(grpc.StatusCode.NOT_FOUND, "no such thing")

    async with server(answer) as address:
        with pytest.raises(CallFailed, match="5: no such thing"):
            await asyncio.to_thread(partial(list, answers(address, [b"a"])))
