"""What callers are told when the client hangs up on them."""

from collections.abc import Iterable

import pytest
from redis.asyncio.connection import AbstractConnection

from ops.embedded import EmbeddedValkey
from read_models.connections import CLUSTER_SCHEME, REDIS_AWAY, connect


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
