"""A TCP proxy before PostgreSQL that loses the answer to a COMMIT: the classic unknown outcome."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit, urlunsplit

COMMAND_COMPLETE_COMMIT = b"C\x00\x00\x00\x0bCOMMIT\x00"
"""What the server says once a commit is durable (protocol 3.0, message CommandComplete)."""


class CuttingProxy:
    """Passes everything on; when armed, drops the next answer to a COMMIT and its connection."""

    def __init__(self, host: str, port: int) -> None:
        self._upstream = (host, port)
        self.is_armed = False
        self.cut_count = 0
        self._connections: set[asyncio.Task[None]] = set()

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serves one client until either side goes away or it is cut off."""
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        up_reader, up_writer = await asyncio.open_connection(*self._upstream)
        ways = [
            asyncio.create_task(_pass_on(reader, up_writer)),
            asyncio.create_task(self._answer(up_reader, writer)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            for stream in (writer, up_writer):
                stream.close()
                with contextlib.suppress(ConnectionError):
                    await stream.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(65536):
            if self.is_armed and COMMAND_COMPLETE_COMMIT in chunk:
                self.is_armed = False
                self.cut_count += 1
                return
            writer.write(chunk)
            await writer.drain()

    async def close(self) -> None:
        """Cuts everybody off."""
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while chunk := await reader.read(65536):
        writer.write(chunk)
        await writer.drain()


@asynccontextmanager
async def proxied(database_url: str) -> AsyncIterator[tuple[CuttingProxy, str]]:
    """The proxy, and a URL of the database that leads through it."""
    parts = urlsplit(database_url)
    assert parts.hostname is not None
    assert parts.port is not None
    proxy = CuttingProxy(parts.hostname, parts.port)
    server = await asyncio.start_server(proxy.accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    credentials = parts.netloc.rpartition("@")[0]
    yield proxy, urlunsplit(parts._replace(netloc=f"{credentials}@127.0.0.1:{port}"))
    server.close()
    await proxy.close()
    await server.wait_closed()
