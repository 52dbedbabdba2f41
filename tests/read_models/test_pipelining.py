"""One socket for all commands: answers find who asked, and a server that is away is told at once."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
import redis

from ops.embedded import EmbeddedValkey
from read_models.connections import Connection, connect

ANSWER_SECONDS_MAX = 0.3


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


async def test_who_gives_up_leaves_no_answer_behind_for_the_next(impatient: Connection) -> None:
    asked = asyncio.create_task(impatient.call("ECHO", "nobody"))
    await asyncio.sleep(0)
    asked.cancel()
    assert await impatient.call("ECHO", "somebody") == b"somebody"


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
