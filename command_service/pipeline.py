"""A connection to PostgreSQL on which statements go out together and their results come in together.

psycopg opens it, reads its rows and names its errors. What lies between is done here, on psycopg's
layer of libpq: a batch is some twenty statements, and cursors that each know one statement took a third
of the time of all commands.
"""

import asyncio
import itertools
import re
import select
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

import psycopg
from psycopg.adapt import Transformer
from psycopg.pq import ExecStatus, Format
from psycopg.pq.abc import PGresult

from command_service.parameters import in_text_form

Row = tuple[Any, ...]

_PLACEHOLDER = re.compile(r"%s|%\((?P<name>\w+)\)s|%%")


class Statement(NamedTuple):
    """One SQL statement and its parameters, for `%s` or `%(name)s`; each is cast to its type there."""

    sql: str
    parameters: Sequence[Any] | Mapping[str, Any] = ()


class _Query:
    """A statement as PostgreSQL reads it; there is one object for each SQL.

    names: of its parameters in order, if they have any.
    """

    def __init__(self, text: bytes, names: Sequence[str]) -> None:
        self.text = text
        self.names = names


class _Asked(NamedTuple):
    query: _Query
    values: Sequence[bytes | None]


@cache
def _query(sql: str) -> _Query:
    """The statement with `$1` for its first parameter, and so on.

    All are kept, as there are no more than the code has.
    """
    names: list[str] = []
    ordinals = itertools.count(1)

    def numbered(found: re.Match[str]) -> str:
        name = found["name"]
        if name is None:
            return "%" if found[0] == "%%" else f"${next(ordinals)}"
        if name not in names:
            names.append(name)
        return f"${names.index(name) + 1}"

    return _Query(_PLACEHOLDER.sub(numbered, sql).encode(), names)


def _values(query: _Query, parameters: Sequence[Any] | Mapping[str, Any]) -> list[bytes | None]:
    if isinstance(parameters, Mapping):
        parameters = [parameters[name] for name in query.names]
    return [in_text_form(value) for value in parameters]


class Pipeline:
    """One connection; one trip at a time. It is of no more use after `close`, or once it broke."""

    def __init__(self, connection: psycopg.AsyncConnection[Any]) -> None:
        """connection: open, in autocommit mode and from now on this pipeline's own."""
        self._connection = connection
        self._pgconn = connection.pgconn
        self._transformer = Transformer(connection)
        self._loop = asyncio.get_running_loop()
        self._socket = self._pgconn.socket
        self._is_listening = True
        self._hangups = select.poll()
        self._hangups.register(self._socket, 0)
        self._names: dict[_Query, bytes] = {}
        # None is used again: of a trip whose rows could not be read, some may be prepared all the same.
        self._ordinals = itertools.count()
        self._results: list[PGresult] = []
        self._all_there: asyncio.Future[None] | None = None
        self._pgconn.nonblocking = 1
        self._pgconn.enter_pipeline_mode()
        # It listens all the time, so that a trip need not begin and stop to, and a server that goes away
        # is noticed before anything is asked of it.
        self._loop.add_reader(self._socket, self._receive)

    @property
    def is_closed(self) -> bool:
        """Whether it was closed, by either side."""
        return self._connection.closed

    async def run(self, statements: Sequence[Statement]) -> list[list[Row]]:
        """Sends the statements in one round trip; returns the rows of each, [] where there are none.

        The server prepares each statement the first time. A statement has a snapshot of its own. Who
        stops waiting for a trip closes the pipeline with it.

        Raises:
            psycopg.Error: of the first statement that failed; those after it were not carried out.
            Unacceptable: a parameter cannot be sent; nothing was.
        """
        assert self._all_there is None, "one trip at a time"
        asked = [_Asked(_query(sql), _values(_query(sql), parameters)) for sql, parameters in statements]
        try:
            new = self._send(asked)
            await self._answered()
        except BaseException:
            # Half of it may be on its way, and in the middle of a transaction.
            self.close()
            raise
        results, self._results = self._results, []
        return self._rows_of_each(asked, new, iter(results))

    def close(self) -> None:
        """Lets go of the connection without waiting for the server, which may not be listening.

        Closing the socket at once is what frees a half-done transaction's locks on the server.
        """
        # Once: the next connection of the process may have got the same descriptor.
        if self._is_listening:
            self._is_listening = False
            # Before the descriptor is closed: uvloop ends the whole process when it watches one that is.
            self._loop.remove_reader(self._socket)
            self._loop.remove_writer(self._socket)
            self._pgconn.finish()

    def _send(self, asked: Sequence[_Asked]) -> Mapping[_Query, bytes]:
        """Puts the statements on their way; returns the names of those that are prepared with it."""
        new: dict[_Query, bytes] = {}
        for query, values in asked:
            name = self._names.get(query) or new.get(query)
            if name is None:
                name = new[query] = b"s%d" % next(self._ordinals)
                self._pgconn.send_prepare(name, query.text)
            self._pgconn.send_query_prepared(name, values, result_format=Format.BINARY)
        self._pgconn.pipeline_sync()
        return new

    async def _answered(self) -> None:
        self._all_there = self._loop.create_future()
        try:
            self._flush()
            await self._all_there
        finally:
            self._all_there = None

    def _flush(self) -> None:
        """Sends what the socket takes, and the rest once it takes more."""
        if self._pgconn.flush():
            self._loop.add_writer(self._socket, self._flush_more)

    def _flush_more(self) -> None:
        try:
            is_more = self._pgconn.flush()
        except psycopg.OperationalError as error:
            self._break(error)
            return
        if not is_more:
            self._loop.remove_writer(self._socket)

    def _receive(self) -> None:
        try:
            self._pgconn.consume_input()
            # uvloop calls once for a socket that has failed and never again; libpq reads a part of it.
            while self._hangups.poll(0):
                self._pgconn.consume_input()
        except psycopg.OperationalError as error:
            # The server may have said why before it left.
            self._take_results()
            self._break(error)
        else:
            self._take_results()

    def _take_results(self) -> None:
        """Takes the results that have come. The last of a trip is that of its sync."""
        is_between = False
        while self._all_there is not None and not self._pgconn.is_busy():
            result = self._pgconn.get_result()
            if result is None:
                # It stands once behind the results of each statement; twice where libpq has given up.
                if is_between:
                    self._break(psycopg.OperationalError("the server is not understood"))
                    return
                is_between = True
                continue
            is_between = False
            if result.status == ExecStatus.PIPELINE_SYNC:
                _tell(self._all_there)
                return
            self._results.append(result)

    def _break(self, error: psycopg.OperationalError) -> None:
        self.close()
        if self._all_there is None:
            return
        if any(result.status == ExecStatus.FATAL_ERROR for result in self._results):
            _tell(self._all_there)
        elif not self._all_there.done():
            self._all_there.set_exception(error)

    def _rows_of_each(
        self, asked: Sequence[_Asked], new: Mapping[_Query, bytes], results: Iterator[PGresult]
    ) -> list[list[Row]]:
        unprepared = dict(new)
        rows: list[list[Row]] = []
        for query, _ in asked:
            name = unprepared.pop(query, None)
            if name is not None:
                self._raise_if_failed(next(results))
                self._names[query] = name
            rows.append(self._rows(next(results)))
        return rows

    def _rows(self, result: PGresult) -> list[Row]:
        if result.status != ExecStatus.TUPLES_OK:
            self._raise_if_failed(result)
            return []
        if not result.ntuples:
            return []
        self._transformer.set_pgresult(result)
        return self._transformer.load_rows(0, result.ntuples, tuple)

    def _raise_if_failed(self, result: PGresult) -> None:
        if result.status == ExecStatus.FATAL_ERROR:
            raise psycopg.errors.error_from_result(result, encoding="utf-8")


def _tell(all_there: asyncio.Future[None]) -> None:
    # Who waited may have stopped to, and not yet have had its turn.
    if not all_there.done():
        all_there.set_result(None)
