"""A TCP proxy between two parties of the shop, which passes bytes on, or spoils it.

A link is well when it is made. `cut` resets what is open; `refuse` does so with whatever comes; `hold`
swallows bytes until `release` lets them go, as a network does that loses packets and finds them again;
`slow_seconds` delays each piece; `lose` drops so many answers to what was asked since, each with its
connection. hit_count tells how many connections and pieces any of that has struck.
"""

import asyncio
import contextlib
import socket
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import urlsplit, urlunsplit

from ops.ports import HOST, free_port
from tests.sandboxes.serving import RESET_ON_CLOSE
from tests.system.cutting_proxy import COMMAND_COMPLETE_COMMIT

CHUNK_BYTES = 65536
CONNECT_SECONDS_MAX = 5.0


HTTP2_FRAME_HEADER_BYTES = 9
HTTP2_DATA, HTTP2_HEADERS = 0, 1

Answer = Callable[[bytes], bool]
"""Whether a piece of what a server says is an answer that is worth losing."""


def any_answer(_piece: bytes) -> bool:
    """Whatever comes: of protocols in which a server speaks when it is asked."""
    return True


def answers_commit(piece: bytes) -> bool:
    """PostgreSQL has committed."""
    return COMMAND_COMPLETE_COMMIT in piece


def answers_statement(piece: bytes) -> bool:
    """PostgreSQL answers, and does not ask who is there, or whether to encrypt."""
    return piece[:1] not in b"RSN"


def answers_call(piece: bytes) -> bool:
    """A gRPC server answers a call: frames about the connection itself answer none (RFC 9113, 6)."""
    while len(piece) >= HTTP2_FRAME_HEADER_BYTES:
        if piece[3] in {HTTP2_DATA, HTTP2_HEADERS}:
            return True
        piece = piece[HTTP2_FRAME_HEADER_BYTES + int.from_bytes(piece[:3]) :]
    return False


@dataclass(slots=True)
class _Loss:
    """Answers that are to be lost, and what has been asked since, by connection."""

    count: int
    is_answer: Answer
    asked: defaultdict[object, bytearray] = field(default_factory=lambda: defaultdict(bytearray))


class _Way(NamedTuple):
    """One direction of a connection. is_answer: from the server to who asked."""

    connection: object
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    is_answer: bool


class Link:
    """One listening port in front of one server."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.port = free_port()
        self.slow_seconds = 0.0
        self.hit_count = 0
        self.lost: list[bytes] = []
        """What had been asked on connections whose answers were lost, since `lose`."""
        self._loss = _Loss(0, any_answer)
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
        self.hit_count += len(self._connections)
        for writer in list(self._writers):
            _reset(writer)

    def refuse(self) -> None:
        """Resets every connection, and those to come, until `release`."""
        self._is_refusing = True
        self.cut()

    def hold(self) -> None:
        """Passes nothing on until `release`; nobody is told."""
        self._is_open.clear()

    def lose(self, count: int, is_answer: Answer = any_answer) -> None:
        """Passes on what is asked, and drops the next such answers to it, until `release`."""
        self.lost.clear()
        self._loss = _Loss(count, is_answer)

    def release(self) -> None:
        """Makes it well."""
        self._is_refusing = False
        self.slow_seconds = 0.0
        self._loss = _Loss(0, any_answer)
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
        await self._until_open()
        if self._is_refusing:
            self.hit_count += 1
            return
        async with asyncio.timeout(CONNECT_SECONDS_MAX):
            up_reader, up_writer = await asyncio.open_connection(*self._upstream)
        self._writers.add(up_writer)
        ways = [
            asyncio.create_task(self._pass_on(_Way(writer, reader, up_writer, is_answer=False))),
            asyncio.create_task(self._pass_on(_Way(writer, up_reader, writer, is_answer=True))),
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
                    self.hit_count += 1
                    await asyncio.sleep(self.slow_seconds)
                await self._until_open()
                if self._loses(way, chunk):
                    return
                way.writer.write(chunk)
                await way.writer.drain()

    async def _until_open(self) -> None:
        self.hit_count += not self._is_open.is_set()
        await self._is_open.wait()

    def _loses(self, way: _Way, chunk: bytes) -> bool:
        """Whether this is an answer that is to be lost; what is asked is remembered."""
        loss = self._loss
        if not loss.count:
            return False
        if not way.is_answer:
            loss.asked[way.connection] += chunk
            return False
        asked = loss.asked[way.connection]
        if not asked or not loss.is_answer(chunk):
            return False
        loss.count -= 1
        self.hit_count += 1
        self.lost.append(bytes(asked))
        return True


def _reset(writer: asyncio.StreamWriter) -> None:
    transport = writer.transport
    if transport.is_closing():
        return
    raw = transport.get_extra_info("socket")
    with contextlib.suppress(OSError):
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    transport.abort()
