"""One Redis server over one socket: questions go out together, answers come in their order.

redis-py lends each caller a connection and reads each answer in a coroutine of its own, which took as
long as all the rest of a lookup. It still opens the connection: addresses, TLS and passwords are its.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import hiredis
from redis import exceptions
from redis._parsers import BaseParser
from redis.asyncio import ConnectionPool
from redis.asyncio.connection import AbstractConnection

LOOKS = 10
"""A server is away when so many looks in a row find that it said nothing. Time alone would not tell:
while this process is busy, answers lie unread in the socket; between two looks it was read."""

Argument = str | bytes | int
Command = tuple[Argument, ...]


class TooManyQuestions(Exception):
    """As many questions as are allowed wait for the server; whoever asked some of them may be gone."""


class Server:
    """Any number of tasks may ask at once. Opened when first used, and anew after it was lost."""

    def __init__(self, pool: ConnectionPool, answer_seconds_max: float, question_count_max: int) -> None:
        self._pool = pool
        self._answer_seconds_max = answer_seconds_max
        self._question_count_max = question_count_max
        self._line: _Line | None = None
        self._connecting: asyncio.Task[_Line] | None = None

    async def call_all(self, commands: Sequence[Command]) -> list[Any]:
        """The answers to commands sent together; others may act between them.

        Raises:
            redis.ConnectionError, redis.TimeoutError: the server is away.
            redis.ResponseError: it refused a command.
            TooManyQuestions: it has yet to answer those before, also to those who gave up since.
        """
        line = self._line
        # Again and again: a line may be lost before whoever waited for it has its turn.
        while line is None or line.is_lost:
            line = await self._connected()
        if line.question_count >= self._question_count_max:
            raise TooManyQuestions
        answers = await line.ask(commands)
        for answer in answers:
            if isinstance(answer, exceptions.ReadOnlyError):
                # It was demoted: the address may lead elsewhere by now.
                line.lose(exceptions.ConnectionError("the server has become a replica"))
            if isinstance(answer, Exception):
                raise answer
        return answers

    async def close(self) -> None:
        """Hangs up."""
        if self._connecting is not None:
            self._connecting.cancel()
        if self._line is not None:
            self._line.lose(exceptions.ConnectionError("closed"))

    async def _connected(self) -> "_Line":
        # All who wait share one attempt, and its failure: in a row they would wait for each other.
        if self._connecting is None:
            self._connecting = asyncio.create_task(self._connect())
            self._connecting.add_done_callback(self._has_connected)
        return await asyncio.shield(self._connecting)

    async def _connect(self) -> "_Line":
        opening = asyncio.create_task(self._open())
        try:
            for _ in range(LOOKS):
                done, _ = await asyncio.wait({opening}, timeout=self._answer_seconds_max / LOOKS)
                if done:
                    return _Line(opening.result(), self._answer_seconds_max)
        finally:
            opening.cancel()
        raise exceptions.TimeoutError("the server could not be connected to")

    async def _open(self) -> AbstractConnection:
        # redis-py leaves these without types.
        connection: AbstractConnection = self._pool.make_connection()  # type: ignore[no-untyped-call]
        # Its limits are of time alone, which passes while this process is busy.
        connection.socket_connect_timeout = connection.socket_timeout = None
        try:
            await connection.connect()  # type: ignore[no-untyped-call]
        except asyncio.CancelledError:
            await connection.disconnect(nowait=True)
            raise
        return connection

    def _has_connected(self, task: "asyncio.Task[_Line]") -> None:
        self._connecting = None
        # Asking for the exception also tells asyncio that it is known, when nobody waits any more.
        if not task.cancelled() and task.exception() is None:
            self._line = task.result()


@dataclass(slots=True)
class _Question:
    """Commands sent together, and the answers so far."""

    count: int
    future: "asyncio.Future[list[Any]]"
    answers: list[Any] = field(default_factory=list)


class _Line(asyncio.Protocol):
    """The socket of an open connection, taken over from redis-py."""

    def __init__(self, connection: AbstractConnection, answer_seconds_max: float) -> None:
        self.is_lost = False
        self._look_seconds = answer_seconds_max / LOOKS
        self._silent_looks = 0
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader(
            protocolError=exceptions.InvalidResponse, replyError=BaseParser.parse_error
        )
        self._questions: deque[_Question] = deque()
        self._outgoing: list[bytes] = []
        self._watch: asyncio.TimerHandle | None = None
        self._writer = _socket_of(connection)
        self._transport = cast("asyncio.Transport", self._writer.transport)
        self._streams = self._transport.get_protocol()
        self._transport.set_protocol(self)

    @property
    def question_count(self) -> int:
        """Questions without an answer; nobody can take one back that was sent."""
        return len(self._questions)

    def ask(self, commands: Sequence[Command]) -> "asyncio.Future[list[Any]]":
        """Sends the commands; errors that the server answers are among the answers."""
        # First: a question that cannot be sent would be given the answer to the one behind it.
        packed = [_pack(command) for command in commands]
        question = _Question(len(commands), self._loop.create_future())
        self._questions.append(question)
        if self._watch is None:
            self._silent_looks = 0
            self._watch = self._loop.call_later(self._look_seconds, self._look)
        if not self._outgoing:
            # Whoever else asks in this turn of the loop shares the write.
            self._loop.call_soon(self._send)
        self._outgoing.extend(packed)
        return question.future

    def lose(self, error: Exception) -> None:
        """Hangs up at once: an answer that is late would be taken for that to the next question."""
        self.is_lost = True
        self._transport.abort()
        while self._questions:
            future = self._questions.popleft().future
            if not future.done():
                future.set_exception(error)
        if self._watch is not None:
            self._watch.cancel()

    def data_received(self, data: bytes) -> None:
        """Hands each whole answer to whoever waits for it."""
        self._silent_looks = 0
        self._reader.feed(data)
        try:
            while (answer := self._reader.gets()) is not False and self._questions:
                self._answer(answer)
        except exceptions.InvalidResponse as error:
            self.lose(exceptions.ConnectionError(str(error)))

    def connection_lost(self, exc: Exception | None) -> None:
        """The server hung up, or we did."""
        self.lose(exceptions.ConnectionError(f"connection lost: {exc}"))
        self._streams.connection_lost(exc)

    def _answer(self, answer: Any) -> None:
        question = self._questions[0]
        question.answers.append(answer)
        if len(question.answers) == question.count:
            self._questions.popleft()
            if not question.future.done():
                question.future.set_result(question.answers)

    def _send(self) -> None:
        outgoing, self._outgoing = self._outgoing, []
        if not self.is_lost:
            self._transport.write(b"".join(outgoing))

    def _look(self) -> None:
        """Hangs up when the server said nothing for long; one timer for all questions."""
        self._watch = None
        if not self._questions:
            return
        self._silent_looks += 1
        if self._silent_looks > LOOKS:
            self.lose(exceptions.TimeoutError("the server did not answer"))
        else:
            self._watch = self._loop.call_later(self._look_seconds, self._look)


def _pack(command: Command) -> bytes:
    # The stub means a tuple of any length and says one of length 1.
    return cast("bytes", hiredis.pack_command(command))  # type: ignore[arg-type]


def _socket_of(connection: AbstractConnection) -> asyncio.StreamWriter:
    """Takes the socket from an open connection, which else would close it with itself.

    Raises:
        ConnectionError: the server has hung up by now; redis-py was told so, and we would never be.
    """
    # redis-py has no public way to it.
    writer, reader = connection._writer, connection._reader  # noqa: SLF001
    connection._writer = connection._reader = None  # noqa: SLF001
    assert writer is not None, "it was opened a moment ago"
    assert reader is not None, "likewise"
    if reader.at_eof() or reader.exception() is not None or writer.transport.is_closing():
        writer.transport.abort()
        raise exceptions.ConnectionError("the server hung up as soon as it was connected to")
    return writer
