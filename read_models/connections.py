"""The connection to Redis: one server, or a cluster with `redis+cluster://` in front of its address.

No retries and short waits: a query has 200 ms to live, and its caller knows best whether to ask again.
"""

from collections.abc import AsyncIterator, Sequence
from typing import Any

from redis import exceptions
from redis.asyncio import BlockingConnectionPool, Redis, RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

CLUSTER_SCHEME = "redis+cluster://"

POOL_WAIT_SECONDS_MAX = 0.1
SCAN_COUNT = 500
"""Keys a step of SCAN: well below a millisecond of the server's time."""

Argument = str | bytes | int
Command = tuple[Argument, ...]

REDIS_AWAY = (
    exceptions.ConnectionError,
    exceptions.TimeoutError,
    exceptions.ClusterError,
    exceptions.RedisClusterException,
    exceptions.ReadOnlyError,
    exceptions.TryAgainError,
    exceptions.OutOfMemoryError,
)
"""What is raised while Redis cannot be reached, or cannot serve just now."""


class Connection:
    """Commands to Redis, one by one or as a pipeline. Any number of tasks may use it at once."""

    def __init__(self, client: "Redis | RedisCluster") -> None:
        self._client = client

    async def call(self, *command: Argument) -> Any:
        """The answer to one command.

        Raises:
            one of REDIS_AWAY, or redis.ResponseError when the server refuses the command.
        """
        return await self._client.execute_command(*command)

    async def call_all(self, commands: Sequence[Command]) -> list[Any]:
        """The answers to several commands sent together; others may act between them.

        Raises:
            as `call`.
        """
        if len(commands) <= 1:
            return [await self.call(*command) for command in commands]
        if isinstance(self._client, RedisCluster):
            pipeline: Any = self._client.pipeline()
        else:
            pipeline = self._client.pipeline(transaction=False)
        for command in commands:
            pipeline.execute_command(*command)
        return list(await pipeline.execute())

    async def scan(self, pattern: str) -> AsyncIterator[bytes]:
        """Keys that match, some perhaps twice; keys that stay during the scan are all found."""
        async for key in self._client.scan_iter(match=pattern, count=SCAN_COUNT):
            yield key

    async def eviction_policies(self) -> set[str]:
        """The maxmemory-policy of each server."""
        if isinstance(self._client, RedisCluster):
            await self._client.initialize()
            answers = [
                await node.execute_command("CONFIG", "GET", "maxmemory-policy")
                for node in self._client.get_primaries()
            ]
        else:
            answers = [await self.call("CONFIG", "GET", "maxmemory-policy")]
        return {_policy(answer) for answer in answers}

    async def close(self) -> None:
        """Closes all connections."""
        await self._client.aclose()


def _policy(answer: Any) -> str:
    """From what CONFIG GET answers: a mapping, or pairs in a row."""
    pairs = answer if isinstance(answer, dict) else dict(zip(answer[::2], answer[1::2], strict=True))
    (value,) = pairs.values()
    return value.decode() if isinstance(value, bytes) else str(value)


def connect(url: str, *, answer_seconds_max: float, connection_count_max: int = 64) -> Connection:
    """A connection, opened when first used.

    answer_seconds_max: a server that takes longer is considered away.
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
        return Connection(
            RedisCluster.from_url(address, max_connections=connection_count_max, **settings)
        )
    pool: Any = BlockingConnectionPool.from_url(
        url, max_connections=connection_count_max, timeout=POOL_WAIT_SECONDS_MAX, **settings
    )
    # from_pool: closing the client closes the pool with it.
    return Connection(Redis.from_pool(pool))
