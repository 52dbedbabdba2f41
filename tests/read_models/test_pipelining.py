"""One socket for all commands: answers find who asked, and a server that is away is told at once."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import closing

import pytest
import redis
import uvloop

from ops.embedded import EmbeddedValkey
from ops.ports import HOST
from read_models.connections import Connection, connect
from read_models.pipelining import TooManyQuestions

ANSWER_SECONDS_MAX = 0.3

GREETING_COMMANDS = 2
"""CLIENT SETINFO, with the library's name and its version: what redis-py says first."""


@pytest.fixture
async def impatient(valkey: EmbeddedValkey, redis_url: str) -> AsyncIterator[Connection]:
    opened = connect(redis_url, answer_seconds_max=ANSWER_SECONDS_MAX)
    yield opened
    await opened.close()


async def test_everyone_gets_the_answer_to_their_own_question(impatient: Connection) -> None:
    answers = await asyncio.gather(
        *(impatient.call_all([("ECHO", f"{n}-{k}") for k in range(n % 5 + 1)]) for n in range(500))
    )
    assert answers == [[f"{n}-{k}".encode() for k in range(n % 5 + 1)] for n in range(500)]


async def test_a_refused_command_concerns_its_caller_alone(impatient: Connection) -> None:
    wrong, right = await asyncio.gather(
        impatient.call_all([("SET", "key", "value"), ("LPUSH", "key", "value"), ("GET", "key")]),
        impatient.call("ECHO", "right"),
        return_exceptions=True,
    )
    assert isinstance(wrong, redis.ResponseError)
    assert right == b"right"
    assert await impatient.call("GET", "key") == b"value"


async def test_a_question_that_cannot_be_sent_leaves_everyone_else_their_own_answers(
    impatient: Connection,
) -> None:
    unsendable = "\ud800"
    before, wrong, after = await asyncio.gather(
        impatient.call("ECHO", "before"),
        impatient.call_all([("ECHO", "sendable"), ("ECHO", unsendable)]),
        impatient.call("ECHO", "after"),
        return_exceptions=True,
    )
    assert isinstance(wrong, UnicodeEncodeError)
    assert (before, after) == (b"before", b"after")
    assert await impatient.call("ECHO", "later") == b"later"


async def test_who_gives_up_leaves_no_answer_behind_for_the_next(impatient: Connection) -> None:
    asked = asyncio.create_task(impatient.call("ECHO", "nobody"))
    await asyncio.sleep(0)
    asked.cancel()
    assert await impatient.call("ECHO", "somebody") == b"somebody"


async def test_questions_of_those_who_gave_up_count_until_the_server_has_answered_them(
    redis_url: str,
) -> None:
    patient = connect(redis_url, answer_seconds_max=60.0, question_count_max=3)
    assert await patient.call("ECHO", "before") == b"before"
    # The connection waits behind it.
    blocking = asyncio.create_task(patient.call("BLPOP", "nothing", 60))
    hurried = [asyncio.create_task(patient.call("ECHO", "late")) for _ in range(2)]
    await asyncio.sleep(0)
    for asked in hurried:
        asked.cancel()
    with pytest.raises(TooManyQuestions):
        await patient.call("ECHO", "one too many")
    with closing(redis.Redis.from_url(redis_url)) as client:
        client.lpush("nothing", "value")
    await blocking
    assert await patient.call("ECHO", "after") == b"after"
    await patient.close()


async def test_a_server_that_hangs_is_away_and_its_late_answers_are_nobodys(
    impatient: Connection,
) -> None:
    assert await impatient.call("ECHO", "before") == b"before"
    begun = time.monotonic()
    with pytest.raises(redis.TimeoutError):
        # Blocks this connection for longer than anyone waits.
        await impatient.call("BLPOP", "nothing", 2)
    assert time.monotonic() - begun < 2 * ANSWER_SECONDS_MAX
    assert await impatient.call("ECHO", "after") == b"after"


async def test_a_server_that_comes_back_is_found_again(
    impatient: Connection, valkey: EmbeddedValkey
) -> None:
    await impatient.call("ECHO", "before")
    valkey.kill()
    outcomes = await asyncio.gather(
        *(impatient.call("ECHO", "away") for _ in range(50)), return_exceptions=True
    )
    assert all(isinstance(outcome, redis.ConnectionError) for outcome in outcomes)
    valkey.start()
    assert await impatient.call("ECHO", "back") == b"back"


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
@pytest.mark.parametrize("turns_before", [0, 1, 2])
def test_a_process_that_is_busy_does_not_take_a_server_that_answers_for_away(
    redis_url: str, new_loop: Callable[[], asyncio.AbstractEventLoop], turns_before: int
) -> None:
    async def ask_and_be_busy() -> None:
        connection = connect(redis_url, answer_seconds_max=ANSWER_SECONDS_MAX)
        await connection.call("ECHO", "before")
        asked = asyncio.create_task(connection.call("ECHO", "answer"))
        # Busy before the question is sent, or when its answer lies there unread.
        for _ in range(turns_before):
            await asyncio.sleep(0)
        time.sleep(3 * ANSWER_SECONDS_MAX)  # noqa: ASYNC251 busy is what it is
        assert await asked == b"answer"
        await connection.close()

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(ask_and_be_busy())


async def test_a_server_that_became_a_replica_is_looked_for_anew(
    impatient: Connection, valkey: EmbeddedValkey
) -> None:
    id_before = await impatient.call("CLIENT", "ID")
    with closing(redis.Redis.from_url(valkey.url)) as other:
        other.replicaof(valkey.url.rpartition("@")[2].partition(":")[0], 1)
        try:
            with pytest.raises(redis.ReadOnlyError):
                await impatient.call("SET", "key", "value")
        finally:
            other.replicaof("NO", "ONE")
    assert await impatient.call("SET", "key", "value") == b"OK"
    assert await impatient.call("CLIENT", "ID") != id_before


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_server_that_hangs_up_with_its_greeting_is_away_at_once(
    new_loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    async def ask() -> None:
        server = await asyncio.start_server(greet_and_hang_up, HOST, 0)
        port = server.sockets[0].getsockname()[1]
        connection = connect(f"redis://{HOST}:{port}", answer_seconds_max=ANSWER_SECONDS_MAX)
        try:
            with pytest.raises(redis.ConnectionError):
                await connection.call("ECHO", "nobody hears it")
        finally:
            await connection.close()
            server.close()

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(ask())


async def greet_and_hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A server that is being stopped: it answers what clients ask first, and goes in the same moment."""
    for _ in range(GREETING_COMMANDS):
        await reader.readuntil(b"SETINFO\r\n")
        writer.write(b"+OK\r\n")
    writer.close()
