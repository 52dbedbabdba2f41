"""The connection to Redis: one server, or a cluster with `redis+cluster://` in front of its address.

No retries and short waits: a query has 200 ms to live, and its caller knows best whether to ask again.
"""

import asyncio
import math
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from redis import exceptions
from redis.asyncio import ConnectionPool, Redis, RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from read_models.pipelining import Argument, Command, Server, TooManyQuestions

CLUSTER_SCHEME = "redis+cluster://"

SCAN_COUNT = 500
"""Keys a step of SCAN: well below a millisecond of the server's time."""

QUESTION_COUNT_MAX = 10_000
"""As many as the most patient asker has: far more than a projector or a command line asks at once."""

REDIS_FULL = exceptions.OutOfMemoryError
"""Raised when Redis has no memory left to write to; it still answers, and deletes."""

REDIS_AWAY = (
    exceptions.ConnectionError,
    exceptions.TimeoutError,
    exceptions.ClusterError,
    exceptions.RedisClusterException,
    exceptions.ReadOnlyError,
    exceptions.TryAgainError,
    REDIS_FULL,
    TooManyQuestions,
)
"""What is raised while Redis cannot be reached, or cannot serve just now."""

_SERVERS_MAY_HAVE_CHANGED = (
    exceptions.ConnectionError,
    exceptions.TimeoutError,
    exceptions.ClusterDownError,
    exceptions.SlotNotCoveredError,
)
"""After these a cluster may have failed over: another server has what we asked this one for."""


class Connection:
    """Commands to Redis, one by one or as a pipeline. Any number of tasks may use it at once."""

    silence_seconds_max = math.inf
    """A command raises by itself when the server says nothing for longer."""

    spans_partitions = False
    """Whether one command may read of several partitions: not in a cluster, whose servers share them."""

    def __init__(
        self,
        client: Redis | RedisCluster,
        server: Server | None,
        *,
        answer_seconds_max: float,
        connection_count_max: int = 1,
    ) -> None:
        """server: None in a cluster, where the client knows whom to ask.

        connection_count_max: to each server of the cluster.
        """
        self._client = client
        self._server = server
        self.spans_partitions = server is not None
        if server is not None:
            # It is connected to, and asked, and found silent a little later than it has become so. A
            # cluster may be looked up besides, server by server, which takes as long as it takes.
            self.silence_seconds_max = 3 * answer_seconds_max
        self._lookup_number = 0
        self._turns = asyncio.Semaphore(connection_count_max)

    async def call(self, *command: Argument) -> Any:
        """The answer to one command.

        Raises:
            one of REDIS_AWAY, or redis.ResponseError when the server refuses the command.
        """
        if self._server is None:
            async with self._turn():
                return await self._client.execute_command(*command)
        [answer] = await self._server.call_all([command])
        return answer

    async def call_all(self, commands: Sequence[Command]) -> list[Any]:
        """The answers to several commands sent together; others may act between them.

        Raises:
            as `call`.
        """
        if not commands:
            return []
        if self._server is not None:
            return await self._server.call_all(commands)
        if len(commands) == 1:
            return [await self.call(*commands[0])]
        pipeline: Any = self._client.pipeline()
        for command in commands:
            pipeline.execute_command(*command)
        async with self._turn():
            lookup_number = self._lookup_number
            try:
                return list(await pipeline.execute())
            except _SERVERS_MAY_HAVE_CHANGED:
                await self._look_up_anew(lookup_number)
                raise

    async def scan(self, pattern: str) -> AsyncIterator[bytes]:
        """Keys that match, some perhaps twice; keys that stay during the scan are all found.

        Raises:
            as `call`.
        """
        if self._server is None:
            async for key in self._client.scan_iter(match=pattern, count=SCAN_COUNT):
                yield key
            return
        cursor = b"0"
        while True:
            # Not redis-py's: on uvloop it raises RuntimeError when the server has hung up.
            cursor, keys = await self.call("SCAN", cursor, "MATCH", pattern, "COUNT", SCAN_COUNT)
            for key in keys:
                yield key
            if cursor == b"0":
                return

    async def eviction_policies(self) -> set[str]:
        """The maxmemory-policy of each server."""
        if isinstance(self._client, RedisCluster):
            await self._client.initialize()
            answers = [await node.execute_command(*_ASK_POLICY) for node in self._client.get_primaries()]
        else:
            answers = [await self.call(*_ASK_POLICY)]
        return {_policy(answer) for answer in answers}

    async def close(self) -> None:
        """Closes all connections."""
        if self._server is not None:
            await self._server.close()
        await self._client.aclose()

    async def _look_up_anew(self, lookup_number: int) -> None:
        """Has the next caller ask the cluster who its servers are, unless that was done meanwhile.

        redis-py does so by itself after a single command; after a pipeline only if it may try again.
        """
        if self._lookup_number == lookup_number:
            self._lookup_number += 1
            await self._client.aclose()

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """A turn in a cluster, where redis-py refuses whoever finds all connections taken.

        After a timeout it closes connections under whoever is about to write to one: it looks whether it
        is connected in one task and writes in another, a moment later: to None.
        """
        async with self._turns:
            try:
                yield
            except AttributeError as error:
                raise exceptions.ConnectionError("the connection was closed meanwhile") from error


# Not CONFIG GET, which those who rent out servers forbid.
_ASK_POLICY: Command = ("INFO", "memory")


def _policy(answer: Any) -> str:
    """From what INFO answers: lines, which redis-py makes a mapping of."""
    if isinstance(answer, bytes):
        answer = dict(line.split(":", 1) for line in answer.decode().split() if ":" in line)
    return str(answer["maxmemory_policy"])


def connect(
    url: str,
    *,
    answer_seconds_max: float,
    connection_count_max: int = 64,
    question_count_max: int = QUESTION_COUNT_MAX,
) -> Connection:
    """A connection, opened when first used.

    answer_seconds_max: a server that says nothing for longer is considered away. connection_count_max:
    to each server of a cluster, beyond which callers take turns; a single server needs one for all.
    question_count_max: that a single server has yet to answer, beyond which callers are refused.
    """
    settings: dict[str, Any] = {
        "socket_timeout": answer_seconds_max,
        "socket_connect_timeout": answer_seconds_max,
        # By default a dead server is asked again and again for half a minute.
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
    }
    if url.startswith(CLUSTER_SCHEME):
        address = "redis://" + url.removeprefix(CLUSTER_SCHEME)
        cluster = RedisCluster.from_url(address, max_connections=connection_count_max, **settings)
        return Connection(
            cluster,
            None,
            answer_seconds_max=answer_seconds_max,
            connection_count_max=connection_count_max,
        )
    pool: ConnectionPool = ConnectionPool.from_url(url, **settings)
    # from_pool: closing the client closes the pool with it.
    server = Server(pool, answer_seconds_max, question_count_max)
    return Connection(Redis.from_pool(pool), server, answer_seconds_max=answer_seconds_max)
