"""Trips to PostgreSQL: what comes back, in which order, and what is left when one goes wrong."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime

import psycopg
import pytest
import uvloop
from psycopg.conninfo import make_conninfo

from command_service.database_failures import (
    ConnectionLost,
    DatabaseFailure,
    FellSilent,
    Interrupted,
    TookTooLong,
    Unacceptable,
)
from command_service.pipeline import Pipeline, Statement
from command_service.session import Session, Timeouts

PID = Statement("SELECT pg_backend_pid()")


@pytest.fixture
async def session(database_url: str) -> AsyncIterator[Session]:
    opened = Session(database_url, "tests")
    await opened.connect()
    yield opened
    await opened.close()


async def one(session: Session, sql: str, *parameters: object) -> object:
    """The only value that a statement gives."""
    [[(value,)]] = await session.run([Statement(sql, parameters)])
    return value


async def opened(database_url: str) -> Pipeline:
    """A connection without the limits of a session."""
    return Pipeline(await psycopg.AsyncConnection.connect(database_url, autocommit=True))


def terminate(database_url: str, pid: object) -> None:
    """Has the server end a session; returns once it did."""
    with psycopg.connect(database_url, autocommit=True) as operator:
        operator.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])


async def test_each_statement_has_its_own_rows(session: Session) -> None:
    rows = await session.run(
        [
            Statement("SELECT n, -n FROM generate_series(1, %s::int) AS n", (2,)),
            Statement("SELECT 1 WHERE %s::boolean", (False,)),
            Statement("SET LOCAL jit = off"),
            Statement("SELECT %s::text || %s::text", ("a", "b")),
        ]
    )
    assert rows == [[(1, -1), (2, -2)], [], [], [("ab",)]]


async def test_parameters_are_found_by_their_place_or_name(session: Session) -> None:
    by_name = Statement("SELECT %(a)s::int8, %(b)s::int8, %(a)s::int8 %% 4", {"b": 2, "a": 7})
    by_place = Statement("SELECT %s::int8, %s::int8", (1, 2))
    assert await session.run([by_name, by_place]) == [[(7, 2, 3)], [(1, 2)]]


async def test_a_failure_spares_the_statements_before_it_and_stops_those_after(session: Session) -> None:
    await session.run([Statement("CREATE TEMPORARY TABLE done (n int8)")])
    insert = Statement("INSERT INTO done VALUES (%s::int8)", (1,))
    with pytest.raises(Unacceptable) as raised:
        await session.run([Statement("SELECT 1 / %s::int8", (0,)), insert])
    assert isinstance(raised.value.__cause__, psycopg.errors.DivisionByZero)
    assert await one(session, "SELECT count(*) FROM done") == 0
    # Neither what failed nor what was never reached is taken for prepared wrongly.
    await session.run([insert])
    assert await one(session, "SELECT 1 / %s::int8", 1) == 1
    assert await one(session, "SELECT count(*) FROM done") == 1


async def test_a_statement_that_could_not_be_prepared_is_prepared_again(
    session: Session,
) -> None:
    read = Statement("SELECT n FROM pg_temp.not_yet")
    with pytest.raises(DatabaseFailure):
        await session.run([read])
    await session.run([Statement("CREATE TEMPORARY TABLE not_yet (n int8)")])
    assert await session.run([read]) == [[]]


async def test_rows_that_cannot_be_read_are_to_blame_and_not_the_connection(session: Session) -> None:
    endless, second, third = (Statement(f"SELECT {x}") for x in ("'infinity'::timestamptz", "2", "3"))
    with pytest.raises(Unacceptable):
        await session.run([endless, second])
    # The second one was prepared behind it, and is in nobody's way.
    assert await session.run([third, second]) == [[(3,)], [(2,)]]


async def test_what_is_set_for_a_database_changes_no_value(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as operator:
        for setting in ("timezone = 'Asia/Tokyo'", "client_encoding = 'LATIN1'"):
            operator.execute(f"ALTER DATABASE {operator.info.dbname} SET {setting}".encode())
    session = Session(database_url, "tests")
    await session.connect()
    end_time = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
    assert await one(session, "SELECT %s::timestamptz", end_time) == end_time
    assert await one(session, "SELECT length(%s::text)", "é") == 1
    await session.close()


async def test_a_rollback_ends_a_transaction_that_failed(session: Session) -> None:
    pid = await one(session, PID.sql)
    with pytest.raises(Unacceptable):
        await session.run([Statement("BEGIN"), Statement("SELECT 1 / 0")])
    with pytest.raises(Interrupted):
        await session.run([PID])
    await session.roll_back()
    assert await session.run([PID]) == [[(pid,)]]


async def test_more_goes_both_ways_than_any_socket_holds(session: Session) -> None:
    texts = [f"{number:09}" * 1000 for number in range(1000)]
    echo = Statement("SELECT text FROM unnest(%s::text[]) AS text", (texts,))
    rows = await session.run([echo] * 3)
    assert rows == [[(text,) for text in texts]] * 3


async def test_a_table_that_changed_under_its_statements_costs_one_trip(
    session: Session, database_url: str
) -> None:
    read = Statement("SELECT n FROM changing")
    with psycopg.connect(database_url, autocommit=True) as operator:
        operator.execute("CREATE TABLE changing (n int8)")
        try:
            await session.run([read])
            operator.execute("ALTER TABLE changing ALTER COLUMN n TYPE text")
            with pytest.raises(Interrupted, match="cached plan"):
                await session.run([read])
            await session.connect()
            assert await session.run([read]) == [[]]
        finally:
            operator.execute("DROP TABLE changing")


async def test_a_server_that_goes_away_is_noticed_before_anything_is_asked(
    session: Session, database_url: str
) -> None:
    pid = await one(session, PID.sql)
    await asyncio.to_thread(terminate, database_url, pid)
    async with asyncio.timeout(5):
        # A trip fails, or `connect` has noticed already: which of the two is a matter of the network.
        while True:
            await session.connect()
            try:
                new_pid = await one(session, PID.sql)
            except (ConnectionLost, Interrupted):
                continue
            if new_pid != pid:
                return


async def test_a_closed_connection_leaves_alone_who_has_its_descriptor_now(database_url: str) -> None:
    closed = await opened(database_url)
    closed.close()
    # The system gives it the lowest number that is free: the one that has just become so.
    new = await opened(database_url)
    closed.close()
    with pytest.raises(psycopg.OperationalError):
        await closed.run([PID])
    async with asyncio.timeout(5):
        await new.run([PID])
    new.close()


async def test_a_server_that_goes_away_in_a_trip_says_so(session: Session, database_url: str) -> None:
    pid = await one(session, PID.sql)
    trip = asyncio.create_task(session.run([Statement("SELECT pg_sleep(60)")]))
    await asyncio.sleep(0)
    await asyncio.to_thread(terminate, database_url, pid)
    with pytest.raises(Interrupted, match="administrator"):
        await trip
    await session.connect()
    assert await one(session, PID.sql) != pid


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_trip_to_a_server_that_has_just_left_does_not_wait_for_it(
    database_url: str, new_loop: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    async def ask() -> None:
        session = Session(database_url, "tests")
        await session.connect()
        # Not in a thread: the loop must not hear of it before it sends what nobody will read.
        terminate(database_url, await one(session, PID.sql))
        async with asyncio.timeout(5):
            with pytest.raises(Interrupted, match="administrator"):
                await session.run([PID])

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(ask())


async def test_a_server_that_is_not_understood_is_left_at_once(database_url: str) -> None:
    noise: list[bytes] = []

    links: list[asyncio.Future[tuple[None, None]]] = []

    async def pass_on(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, noise: Sequence[bytes] = ()
    ) -> None:
        while told := await reader.read(2**16):
            writer.write(b"".join(noise) + told)
        writer.close()
        await writer.wait_closed()

    async def serve(client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        with psycopg.connect(database_url) as known:
            server, to_server = await asyncio.open_connection(known.info.host, known.info.port)
        links.append(asyncio.gather(pass_on(client, to_server), pass_on(server, to_client, noise)))

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as proxy:
        port = proxy.sockets[0].getsockname()[1]
        session = Session(make_conninfo(database_url, port=port), "tests")
        await session.connect()
        # A row of a negative length.
        noise.append(b"D" + b"\xff" * 40)
        async with asyncio.timeout(5):
            with pytest.raises(ConnectionLost, match="synchronization"):
                await session.run([PID])
        noise.clear()
        await session.connect()
        await session.run([PID])
        await session.close()
        await asyncio.gather(*links, return_exceptions=True)


async def test_what_the_server_says_as_it_leaves_is_heard(database_url: str) -> None:
    session = Session(database_url, "tests", Timeouts(transaction_seconds_max=0.05))
    await session.connect()
    with pytest.raises(TookTooLong, match="transaction timeout"):
        await session.run([Statement("BEGIN"), Statement("SELECT pg_sleep(60)")])
    await session.close()


async def test_a_server_that_says_nothing_is_left(database_url: str) -> None:
    session = Session(database_url, "tests", Timeouts(trip_seconds_max=0.05))
    await session.connect()
    with pytest.raises(FellSilent):
        await session.run([Statement("SELECT pg_sleep(60)")])
    await session.connect()
    assert await one(session, "SELECT 1") == 1
    await session.close()


async def test_a_trip_that_is_given_up_leaves_no_lock_behind(session: Session) -> None:
    await session.run([Statement("BEGIN"), Statement("SELECT pg_advisory_xact_lock(4711)")])
    trip = asyncio.create_task(session.run([Statement("SELECT pg_sleep(60)")]))
    await asyncio.sleep(0)
    trip.cancel()
    with pytest.raises(asyncio.CancelledError):
        await trip
    await session.connect()
    async with asyncio.timeout(5):
        await session.run([Statement("SELECT pg_advisory_lock(4711)")])


async def test_a_session_that_is_not_connected_cannot_be_asked(session: Session) -> None:
    session.drop()
    session.drop()
    with pytest.raises(AssertionError):
        await session.run([PID])
