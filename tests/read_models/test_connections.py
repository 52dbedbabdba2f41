"""Calls to a cluster, and what both kinds of connection tell of their servers."""

import asyncio
import math
from collections.abc import Iterable
from contextlib import closing
from typing import Any

import pytest
import redis
from redis.asyncio.cluster import ClusterNode, NodesManager
from redis.asyncio.connection import AbstractConnection

from ops.embedded import EmbeddedValkey
from read_models.connections import CLUSTER_SCHEME, REDIS_AWAY, Connection, connect
from tests.eventually import eventually


@pytest.mark.parametrize("command_count", [1, 2])
async def test_a_cluster_s_connection_closed_under_a_caller_is_redis_being_away(
    cluster_valkey: EmbeddedValkey, monkeypatch: pytest.MonkeyPatch, command_count: int
) -> None:
    """redis-py looks whether it is connected in one task and writes in another, a moment later."""
    url = CLUSTER_SCHEME + cluster_valkey.url.removeprefix("redis://")
    connection = connect(url, answer_seconds_max=5.0)
    get = ("GET", "{a}key")
    assert await connection.call(*get) is None
    send = AbstractConnection._send_packed_command

    async def send_too_late(self: AbstractConnection, command: Iterable[bytes]) -> None:
        await self.disconnect(nowait=True)
        await send(self, command)

    with monkeypatch.context() as patch:
        patch.setattr(AbstractConnection, "_send_packed_command", send_too_late)
        with pytest.raises(REDIS_AWAY):
            await connection.call_all([get] * command_count)
        with pytest.raises(REDIS_AWAY):
            await connection.call(*get)
    assert await connection.call_all([get] * command_count) == [None] * command_count
    await connection.close()


async def test_a_pipeline_that_finds_a_server_away_has_the_cluster_looked_up_anew_once(
    cluster_valkey: EmbeddedValkey, monkeypatch: pytest.MonkeyPatch
) -> None:
    lookups: list[NodesManager] = []
    failing = {"{a}early": asyncio.Event(), "{a}late": asyncio.Event()}
    waiting: list[str] = []
    look_up, execute = NodesManager.initialize, ClusterNode.execute_pipeline

    async def count_lookups(self: NodesManager, **settings: Any) -> None:
        lookups.append(self)
        await look_up(self, **settings)

    async def fail_when_told(self: ClusterNode, commands: list[Any]) -> bool:
        key = commands[0].args[1]
        if key not in failing:
            return await execute(self, commands)
        waiting.append(key)
        await failing[key].wait()
        commands[0].result = redis.ConnectionError("the server is away")
        return True

    monkeypatch.setattr(NodesManager, "initialize", count_lookups)
    monkeypatch.setattr(ClusterNode, "execute_pipeline", fail_when_told)
    url = CLUSTER_SCHEME + cluster_valkey.url.removeprefix("redis://")
    connection = connect(url, answer_seconds_max=5.0)
    asked = {key: asyncio.create_task(connection.call_all([("GET", key)] * 2)) for key in failing}
    await eventually(lambda: asyncio.sleep(0, len(waiting) == len(failing)))
    for key, is_told in failing.items():
        is_told.set()
        with pytest.raises(redis.ConnectionError):
            await asked[key]
        # Whoever failed later had asked the servers of before: nothing is known of the new ones.
        assert await connection.call_all([("GET", "{a}nothing")] * 2) == [None] * 2
        assert len(lookups) == 2
    await connection.close()


@pytest.mark.parametrize(
    ("url", "silence_seconds_max"), [("redis://h", 15.0), ("redis+cluster://h", math.inf)]
)
async def test_only_a_single_server_is_given_up_by_itself_however_long_it_takes_to_connect(
    url: str, silence_seconds_max: float
) -> None:
    connection = connect(url, answer_seconds_max=5.0)
    assert connection.silence_seconds_max == silence_seconds_max
    await connection.close()


async def test_more_callers_than_connections_to_a_cluster_take_turns(
    cluster_valkey: EmbeddedValkey,
) -> None:
    url = CLUSTER_SCHEME + cluster_valkey.url.removeprefix("redis://")
    connection = connect(url, answer_seconds_max=30.0, connection_count_max=4)
    get = ("GET", "{a}nothing")
    assert await asyncio.gather(*(connection.call(*get) for _ in range(100))) == [None] * 100
    pipelines = [connection.call_all([get, get]) for _ in range(100)]
    assert await asyncio.gather(*pipelines) == [[None, None]] * 100
    await connection.close()


async def test_the_eviction_policy_is_told_by_a_server_whose_configuration_is_not_shown(
    connection: Connection, read_models_server: EmbeddedValkey
) -> None:
    with closing(redis.Redis.from_url(read_models_server.url)) as client:
        client.acl_setuser("default", enabled=True, commands=["-config"])
        try:
            assert await connection.eviction_policies() == {"noeviction"}
        finally:
            client.acl_setuser("default", enabled=True, commands=["+config"])


async def test_a_server_that_hangs_up_during_a_scan_is_redis_being_away(
    connection: Connection, read_models_server: EmbeddedValkey
) -> None:
    await connection.call_all([("SET", f"{{a}}{n}", "x") for n in range(2000)])

    async def scan_cut_off() -> None:
        with closing(redis.Redis.from_url(read_models_server.url)) as client:
            async for _ in connection.scan("{a}*"):
                client.client_kill_filter(_type="normal", skipme=True)

    with pytest.raises(REDIS_AWAY):
        await scan_cut_off()
    assert {key async for key in connection.scan("{a}*")} == {
        b"{a}%d" % number for number in range(2000)
    }
