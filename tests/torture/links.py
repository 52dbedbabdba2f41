"""A TCP proxy between two parties of the shop, which passes bytes on, or spoils it.

A link is well when it is made. `cut` resets what is open; `refuse` does so with whatever comes; `hold`
swallows bytes until `release` lets them go, as a network does that loses packets and finds them again;
`slow_seconds` delays each piece; `lose_commits` drops that many answers to COMMIT, and the connection.
"""

import asyncio
import contextlib
import socket
from typing import NamedTuple
from urllib.parse import urlsplit, urlunsplit

from ops.ports import HOST, free_port
from tests.sandboxes.serving import RESET_ON_CLOSE
from tests.system.cutting_proxy import COMMAND_COMPLETE_COMMIT

CHUNK_BYTES = 65536
CONNECT_SECONDS_MAX = 5.0


class _Way(NamedTuple):
    """One direction of a connection. is_answer: from the server to who asked."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    is_answer: bool


class Link:
    """One listening port in front of one server."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.port = free_port()
        self.slow_seconds = 0.0
        self.commits_to_lose = 0
        self.lost_commit_count = 0
        self._upstream: tuple[str, int] = (HOST, 0)
        self._is_refusing = False
        self._is_open = asyncio.Event()
        self._is_open.set()
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._connections: set[asyncio.Task[None]] = set()

    @property
    def address(self) -> str:
        """Where clients connect, host:port."""
        return f"{HOST}:{self.port}"

    async def start(self, host: str, port: int) -> None:
        """Listens; whoever connects is led to that server."""
        self._upstream = (host, port)
        self._server = await asyncio.start_server(self._accept, HOST, self.port)

    def leading_to(self, url: str) -> str:
        """The URL of a server, changed to lead through this link."""
        parts = urlsplit(url)
        credentials, at, _ = parts.netloc.rpartition("@")
        return urlunsplit(parts._replace(netloc=f"{credentials}{at}{self.address}"))

    def cut(self) -> None:
        """Resets every open connection."""
        for writer in list(self._writers):
            _reset(writer)

    def refuse(self) -> None:
        """Resets every connection, and those to come, until `release`."""
        self._is_refusing = True
        self.cut()

    def hold(self) -> None:
        """Passes nothing on until `release`; nobody is told."""
        self._is_open.clear()

    def release(self) -> None:
        """Makes it well."""
        self._is_refusing = False
        self.slow_seconds = 0.0
        self.commits_to_lose = 0
        self._is_open.set()

    async def close(self) -> None:
        """Cuts everybody off and listens no more."""
        if self._server is not None:
            self._server.close()
        self.cut()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        self._writers.add(writer)
        try:
            await self._serve(reader, writer)
        except (OSError, TimeoutError, asyncio.CancelledError):
            # The server is away, or either side has gone, or we close: so do both sides. asyncio.Server
            # looks at how this ends, and would complain of a cancellation.
            pass
        finally:
            _reset(writer)
            self._writers.discard(writer)
            self._connections.discard(task)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._is_open.wait()
        if self._is_refusing:
            return
        async with asyncio.timeout(CONNECT_SECONDS_MAX):
            up_reader, up_writer = await asyncio.open_connection(*self._upstream)
        self._writers.add(up_writer)
        ways = [
            asyncio.create_task(self._pass_on(_Way(reader, up_writer, is_answer=False))),
            asyncio.create_task(self._pass_on(_Way(up_reader, writer, is_answer=True))),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            _reset(up_writer)
            self._writers.discard(up_writer)

    async def _pass_on(self, way: _Way) -> None:
        with contextlib.suppress(OSError):
            while chunk := await way.reader.read(CHUNK_BYTES):
                if self.slow_seconds:
                    await asyncio.sleep(self.slow_seconds)
                await self._is_open.wait()
                if way.is_answer and self.commits_to_lose and COMMAND_COMPLETE_COMMIT in chunk:
                    self.commits_to_lose -= 1
                    self.lost_commit_count += 1
                    return
                way.writer.write(chunk)
                await way.writer.drain()


def _reset(writer: asyncio.StreamWriter) -> None:
    transport = writer.transport
    if transport.is_closing():
        return
    raw = transport.get_extra_info("socket")
    with contextlib.suppress(OSError):
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    transport.abort()
