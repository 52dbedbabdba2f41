"""A link passes everything on, until it is told to spoil it, and again when it is well."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from ops.ports import HOST
from tests.system.cutting_proxy import COMMAND_COMPLETE_COMMIT
from tests.torture.links import Answer, Link, answers_call, answers_commit, answers_statement


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(1000):
        writer.write(chunk)
        await writer.drain()
    writer.close()


@pytest.fixture
async def link() -> AsyncIterator[Link]:
    """In front of somebody who says what he hears."""
    server = await asyncio.start_server(echo, HOST, 0)
    made = Link("test")
    await made.start(HOST, server.sockets[0].getsockname()[1])
    yield made
    await made.close()
    server.close()


class Client:
    """One connection through a link."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def say(self, what: bytes, *, seconds_max: float = 10.0) -> bytes:
        """What comes back."""
        self._writer.write(what)
        async with asyncio.timeout(seconds_max):
            return await self._reader.readexactly(len(what))


@asynccontextmanager
async def client_of(link: Link) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_connection(HOST, link.port)
    yield Client(reader, writer)
    writer.close()


GONE = (ConnectionError, asyncio.IncompleteReadError)


async def test_what_is_said_comes_back(link: Link) -> None:
    async with client_of(link) as client:
        assert await client.say(b"hello") == b"hello"


async def test_a_cut_ends_what_is_open_and_nothing_else(link: Link) -> None:
    async with client_of(link) as client:
        await client.say(b"hello")
        link.cut()
        with pytest.raises(GONE):
            await client.say(b"still there?")
    async with client_of(link) as another:
        assert await another.say(b"hello") == b"hello"


async def test_who_is_refused_is_let_in_again_afterwards(link: Link) -> None:
    link.refuse()
    async with client_of(link) as client:
        with pytest.raises(GONE):
            await client.say(b"hello")
    link.release()
    async with client_of(link) as client:
        assert await client.say(b"hello") == b"hello"


async def test_what_fell_into_a_black_hole_comes_out_when_it_is_gone(link: Link) -> None:
    async with client_of(link) as client:
        await client.say(b"hello")
        link.hold()
        saying = asyncio.create_task(client.say(b"anybody?"))
        done, _ = await asyncio.wait({saying}, timeout=0.2)
        assert not done
        link.release()
        assert await saying == b"anybody?"


async def test_a_slow_link_takes_its_time(link: Link) -> None:
    link.slow_seconds = 0.1
    async with client_of(link) as client:
        begun = asyncio.get_running_loop().time()
        assert await client.say(b"hello") == b"hello"
        assert asyncio.get_running_loop().time() - begun >= 0.2


async def test_as_many_answers_to_a_commit_are_lost_as_was_asked_for(link: Link) -> None:
    link.lose(1, answers_commit)
    async with client_of(link) as client:
        with pytest.raises(GONE):
            await client.say(COMMAND_COMPLETE_COMMIT)
    async with client_of(link) as client:
        assert await client.say(COMMAND_COMPLETE_COMMIT) == COMMAND_COMPLETE_COMMIT
    assert link.lost == [COMMAND_COMPLETE_COMMIT]


async def test_what_was_asked_reaches_the_server_whose_answer_is_lost() -> None:
    heard: list[bytes] = []

    async def note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read(1000))
        writer.write(b"done")
        await reader.read()

    server = await asyncio.start_server(note, HOST, 0)
    link = Link("test")
    await link.start(HOST, server.sockets[0].getsockname()[1])
    link.lose(1)
    async with client_of(link) as client:
        with pytest.raises(GONE):
            await client.say(b"do it")
    assert (heard, link.lost, link.hit_count) == ([b"do it"], [b"do it"], 1)
    await link.close()
    server.close()


async def test_nothing_more_is_lost_once_the_link_is_well(link: Link) -> None:
    link.lose(3)
    link.release()
    async with client_of(link) as client:
        assert await client.say(b"hello") == b"hello"
    assert link.hit_count == 0


def cut(link: Link) -> None:
    link.cut()


def refuse(link: Link) -> None:
    link.refuse()


def hold(link: Link) -> None:
    link.hold()


def slow_down(link: Link) -> None:
    link.slow_seconds = 0.01


@pytest.mark.parametrize("spoil", [cut, refuse, hold, slow_down])
async def test_who_is_hit_is_counted_and_where_nobody_is_nobody(
    link: Link, spoil: Callable[[Link], None]
) -> None:
    spoil(link)
    link.release()
    assert link.hit_count == 0
    async with client_of(link) as client:
        await client.say(b"hello")
        spoil(link)
        saying = asyncio.create_task(client.say(b"still there?"))
        await asyncio.wait({saying}, timeout=0.1)
        link.release()
        await asyncio.gather(saying, return_exceptions=True)
    assert link.hit_count > 0


def frame(kind: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3) + bytes([kind, 0, 0, 0, 0, 1]) + payload


WINDOW_UPDATE, PING = frame(8, bytes(4)), frame(6, bytes(8))


@pytest.mark.parametrize(
    ("is_answer", "piece", "expected"),
    [
        (answers_call, WINDOW_UPDATE + PING, False),
        (answers_call, WINDOW_UPDATE + frame(1, b"headers") + frame(0, b"body"), True),
        (answers_call, PING + frame(0, b"body"), True),
        (answers_statement, b"R\x00\x00\x00\x08\x00\x00\x00\x00", False),
        (answers_statement, b"2\x00\x00\x00\x04", True),
        (answers_commit, b"Z\x00\x00\x00\x05I", False),
    ],
)
def test_what_answers_is_told_from_what_only_keeps_a_connection(
    is_answer: Answer, piece: bytes, expected: bool
) -> None:
    assert is_answer(piece) is expected
