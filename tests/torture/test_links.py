"""A link passes everything on, until it is told to spoil it, and again when it is well."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from ops.ports import HOST
from tests.system.cutting_proxy import COMMAND_COMPLETE_COMMIT
from tests.torture.links import Link


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
    link.commits_to_lose = 1
    async with client_of(link) as client:
        with pytest.raises(GONE):
            await client.say(COMMAND_COMPLETE_COMMIT)
    async with client_of(link) as client:
        assert await client.say(COMMAND_COMPLETE_COMMIT) == COMMAND_COMPLETE_COMMIT
    assert link.lost_commit_count == 1
