"""gRPC calls over HTTP/2 for clients that must not be what is measured: little but system calls.

grpc's own Python client costs as much processor time per call as the servers do: on a machine of two
cores it would be half of each figure. Here requests are framed ahead and answers are only counted: their
status and their length. Server and client agree on everything else as with any other gRPC client.
"""

import socket
import struct
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import hpack

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM, END_HEADERS, ACK = 0x1, 0x4, 0x1
INITIAL_WINDOW_SIZE = 4
WINDOW_BYTES_MAX = 2**31 - 1
WINDOW_BYTES_AT_FIRST = 65_535
MESSAGE_BYTES_MAX = 16_384 - 5
"""What a frame may hold if nobody agreed on more, less the prefix of a message."""
READ_BYTES = 1 << 18

_FRAME = struct.Struct(">HBBBI")
"""Length in two parts, type, flags, stream."""

_INDEXED_HEADERS = 62
"""Where the dynamic table begins: the header added last stands there."""


class CallFailed(Exception):
    """The server did not answer a call with status OK."""


class Answered(NamedTuple):
    """A call that ended well. seconds: from when its request was handed over until its trailers came."""

    seconds: float
    answer_bytes: int


@dataclass(slots=True)
class _Call:
    begun: float
    answer_bytes: int = 0


class Connection:
    """One connection that calls one method; it never waits, whoever owns it does, by its fileno().

    headers: metadata of each call.
    """

    def __init__(self, address: str, path: str, headers: Sequence[tuple[str, str]] = ()) -> None:
        host, _, port = address.rpartition(":")
        self._socket = socket.create_connection((host, int(port)))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.setblocking(False)  # noqa: FBT003 the standard library has no other way
        named = [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", path),
            (":authority", address),
            ("te", "trailers"),
            ("content-type", "application/grpc"),
            ("user-agent", "shopkeeper-benchmarks"),
            ("grpc-timeout", "20S"),
            *headers,
        ]
        self._block, self._next_block = _header_blocks(named)
        self._decoder = hpack.Decoder()
        self._decoded: dict[bytes, str | None] = {}
        self._calls: dict[int, _Call] = {}
        self._stream = 1
        self._waiting: deque[tuple[bytes, float]] = deque()
        self._send_window_bytes = WINDOW_BYTES_AT_FIRST
        self._unread = b""
        settings = struct.pack(">HI", INITIAL_WINDOW_SIZE, WINDOW_BYTES_MAX)
        self._unsent = bytearray(PREFACE + _frame(SETTINGS, 0, 0, settings))
        self._open_window(WINDOW_BYTES_MAX - WINDOW_BYTES_AT_FIRST)
        self._received_bytes = 0

    def fileno(self) -> int:
        """For a selector."""
        return self._socket.fileno()

    @property
    def in_flight_count(self) -> int:
        """Calls begun and not answered."""
        return len(self._calls) + len(self._waiting)

    @property
    def has_unsent(self) -> bool:
        """Whether flush() has something to send."""
        return bool(self._unsent)

    def call(self, message: bytes, now: float) -> None:
        """Begins a call; flush() sends it."""
        assert len(message) < MESSAGE_BYTES_MAX, "a request of a benchmark fits into one frame"
        if self._waiting or len(message) + 5 > self._send_window_bytes:
            self._waiting.append((message, now))
        else:
            self._frame_call(message, now)

    def flush(self) -> None:
        """Sends what can be sent now."""
        if self._unsent:
            try:
                del self._unsent[: self._socket.send(self._unsent)]
            except BlockingIOError:
                return

    def read(self, now: float) -> list[Answered]:
        """Takes what has come; the calls that it answers.

        Raises:
            CallFailed: a call, or the connection, ended otherwise.
        """
        try:
            chunk = self._socket.recv(READ_BYTES)
        except BlockingIOError:
            return []
        if not chunk:
            raise CallFailed("the server closed the connection")
        self._count_received(len(chunk))
        answered: list[Answered] = []
        self._unread = self._take_frames(self._unread + chunk, now, answered)
        return answered

    def close(self) -> None:
        """Cuts the connection."""
        self._socket.close()

    def _frame_call(self, message: bytes, now: float) -> None:
        stream, block, size = self._stream, self._block, len(message) + 5
        self._unsent += (
            _FRAME.pack(0, len(block), HEADERS, END_HEADERS, stream)
            + block
            + _FRAME.pack(size >> 8, size & 0xFF, DATA, END_STREAM, stream)
            + b"\0"
            + (size - 5).to_bytes(4, "big")
            + message
        )
        self._block = self._next_block
        self._calls[stream] = _Call(now)
        self._stream = stream + 2
        self._send_window_bytes -= size

    def _take_frames(self, buffer: bytes, now: float, answered: list[Answered]) -> bytes:
        """Works through the whole frames of the buffer; what is left of it."""
        at, end = 0, len(buffer)
        while end - at >= 9:
            high, low, kind, flags, stream = _FRAME.unpack_from(buffer, at)
            begin = at + 9
            after = begin + (high << 8 | low)
            if after > end:
                break
            at = after
            if kind == DATA:
                self._calls[stream].answer_bytes += after - begin
            elif kind == HEADERS:
                self._take_headers(buffer[begin:after], flags, stream, now, answered)
            else:
                self._take_control(kind, flags, stream, buffer[begin:after])
        return buffer[at:]

    def _take_headers(
        self, block: bytes, flags: int, stream: int, now: float, answered: list[Answered]
    ) -> None:
        if not flags & END_HEADERS:
            raise CallFailed("headers came in several frames")
        status = self._status(block)
        if flags & END_STREAM:
            call = self._calls.pop(stream)
            if status != "0":
                raise CallFailed(f"a call was answered with {status}")
            answered.append(Answered(now - call.begun, max(call.answer_bytes - 5, 0)))

    def _status(self, block: bytes) -> str | None:
        """The grpc-status among the headers and its message; None if there is none."""
        if block in self._decoded:
            return self._decoded[block]
        table = self._decoder.header_table.dynamic_entries
        before = len(table), table[0] if table else None
        headers = {_plain(name): _plain(value) for name, value in self._decoder.decode(block)}
        status = headers.get("grpc-status")
        if status not in (None, "0"):
            status = f"{status}: {headers.get('grpc-message')}"
        after = len(table), table[0] if table else None
        if before[0] == after[0] and before[1] is after[1]:
            # The table that blocks refer to is as it was: the same block means the same again.
            self._decoded[block] = status
        else:
            self._decoded.clear()
        return status

    def _take_control(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == SETTINGS and not flags & ACK:
            self._unsent += _frame(SETTINGS, ACK, 0, b"")
        elif kind == PING and not flags & ACK:
            self._unsent += _frame(PING, ACK, 0, payload)
        elif kind == WINDOW_UPDATE and stream == 0:
            # Those of single streams do not matter: no request fills the window of its own.
            self._send_window_bytes += int.from_bytes(payload, "big")
            self._send_waiting()
        elif kind in (RST_STREAM, GOAWAY):
            raise CallFailed(f"the server ended a call or all of them: frame {kind}, {payload!r}")

    def _send_waiting(self) -> None:
        while self._waiting and len(self._waiting[0][0]) + 5 <= self._send_window_bytes:
            self._frame_call(*self._waiting.popleft())

    def _count_received(self, count_bytes: int) -> None:
        self._received_bytes += count_bytes
        if self._received_bytes > WINDOW_BYTES_MAX // 4:
            self._open_window(self._received_bytes)
            self._received_bytes = 0

    def _open_window(self, count_bytes: int) -> None:
        self._unsent += _frame(WINDOW_UPDATE, 0, 0, count_bytes.to_bytes(4, "big"))


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return _FRAME.pack(len(payload) >> 8, len(payload) & 0xFF, kind, flags, stream) + payload


def _header_blocks(headers: Sequence[tuple[str, str]]) -> tuple[bytes, bytes]:
    """The headers as the first call of a connection sends them, and as all later ones do.

    The first puts each into the server's table, the later ones only name their places there.
    """
    first = b"".join(b"\x40" + _text(name) + _text(value) for name, value in headers)
    last = _INDEXED_HEADERS + len(headers) - 1
    return first, bytes(0x80 | last - number for number in range(len(headers)))


def _text(text: str) -> bytes:
    raw = text.encode()
    if len(raw) > 126:
        raise ValueError(f"too long for a header of a benchmark: {text}")
    return bytes([len(raw)]) + raw


def _plain(text: str | bytes) -> str:
    return text.decode() if isinstance(text, bytes) else text
