"""Fixtures and builders of the tests of the read side, which its conftest files share.

Events are written into the log directly: the read side must not care who wrote them.
"""

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
import redis
from google.protobuf.message import Message

from event_log.appending import LAST_POSITION, LOCK_LOG, NOTIFY_CHANNEL
from event_log.reader import LogReader, StoredEvent
from event_log.tokens import next_incarnation
from ops.embedded import EmbeddedValkey
from projections.contexts import PROJECTIONS
from projections.feeding import Feeder
from projections.projector import Projector
from read_models.connections import CLUSTER_SCHEME, Connection, connect
from read_models.partitions import PARTITIONS
from read_models.reading import read_checkpoints
from read_models.registry import load_registry
from shopkeeper.inventory.v1.inventory_events_pb2 import StockMoved
from shopkeeper.inventory.v1.inventory_pb2 import StockLevel

ROUNDS_MAX = 200


class Log:
    """Writes events as the command service would: in one transaction, under the log's lock."""

    def __init__(self, url: str) -> None:
        self._connection = psycopg.connect(url)

    def record(self, *events: Message) -> int:
        """Appends the events and returns the last position."""
        return self._append([(each.DESCRIPTOR.full_name, each.SerializeToString()) for each in events])

    def record_unknown(self) -> int:
        """Appends an event of a version that is yet to come."""
        return self._append([("shopkeeper.future.v1.Unheard", b"")])

    def _append(self, events: list[tuple[str, bytes]]) -> int:
        with self._connection.transaction():
            cursor = self._connection.cursor()
            cursor.execute(LOCK_LOG)
            position = int(cursor.execute(LAST_POSITION).fetchone()[0])  # type: ignore[index]
            rows = []
            for name, payload in events:
                position += 1
                context = name.split(".")[1]
                rows.append((position, datetime.now(UTC), context, name, "key", payload))
            cursor.executemany(
                "INSERT INTO events VALUES (%s, %s, %s, %s, %s, %s, 'test', gen_random_uuid())", rows
            )
            cursor.execute(f"NOTIFY {NOTIFY_CHANNEL}".encode())
        return position

    def incarnation(self) -> str:
        """The incarnation of the log."""
        with self._connection.transaction():
            row = self._connection.execute("SELECT incarnation FROM log_incarnation").fetchone()
        assert row is not None
        return str(row[0])

    def token(self, position: int) -> str:
        """The consistency token of a position."""
        return f"{self.incarnation()}.{position}"

    def restore(self, through_position: int) -> str:
        """As after a restored backup: later events never were, and the incarnation is new."""
        incarnation = next_incarnation(self.incarnation(), datetime.now(UTC))
        self.cut_off(through_position)
        self.rename(incarnation)
        return incarnation

    def cut_off(self, through_position: int) -> None:
        """As after a restored backup whose operator forgot to renew the incarnation."""
        with self._connection.transaction():
            self._connection.execute("ALTER TABLE events DISABLE TRIGGER USER")
            self._connection.execute("DELETE FROM events WHERE position > %s", [through_position])
            self._connection.execute("ALTER TABLE events ENABLE TRIGGER USER")

    def rename(self, incarnation: str) -> None:
        """As if this were the log of another incarnation."""
        with self._connection.transaction():
            self._connection.execute("UPDATE log_incarnation SET incarnation = %s", [incarnation])

    def close(self) -> None:
        """Closes the connection."""
        self._connection.close()


def stock_moved(sku_id: str, available: int, location_id: str = "main") -> StockMoved:
    """A movement that leaves that many units."""
    level = StockLevel(location_id=location_id, on_hand=available, available=available)
    return StockMoved(sku_id=sku_id, level=level)


def stored(events: Sequence[Message]) -> list[StoredEvent]:
    """The events as they are read from a log that begins with them."""
    return [
        StoredEvent(
            position=position,
            recorded_time=datetime.now(UTC),
            context="",
            type=event.DESCRIPTOR.full_name,
            key="",
            payload=event.SerializeToString(),
            actor="test",
            request_id="",
        )
        for position, event in enumerate(events, start=1)
    ]


async def settle(projector: Projector) -> None:
    """Lets the projector do all that there is to do."""
    for _ in range(ROUNDS_MAX):
        if not await projector.round():
            return
    raise AssertionError("the projector never comes to rest")


async def has_arrived(connection: Connection, position: int) -> bool:
    """Whether every partition of the generation that serves has come to this position."""
    number = (await load_registry(connection)).serving
    if number is None:
        return False
    found = await read_checkpoints(connection, number, PARTITIONS)
    return all(each is not None and each.position == position for each in found)


async def all_values(connection: Connection, generation: int) -> dict[str, object]:
    """Everything that a generation holds, by key without the generation; checkpoints left out."""
    values: dict[str, object] = {}
    async for key in connection.scan(f"g{generation}:*"):
        name = key.decode().partition(":")[2]
        if name.endswith(":checkpoint"):
            continue
        if "orders" in name:
            values[name] = await connection.call("ZRANGE", key, 0, -1)
        else:
            values[name] = await connection.call("GET", key)
    return values


async def serving(connection: Connection) -> int:
    """The number of the generation that serves."""
    number = (await load_registry(connection)).serving
    assert number is not None
    return number


@pytest.fixture(scope="session")
def cluster_valkey(servers_dir: Path) -> Iterator[EmbeddedValkey]:
    """A Valkey that refuses commands over several slots."""
    with EmbeddedValkey(servers_dir / "cluster_valkey", cluster_enabled=True) as server:
        yield server


@pytest.fixture(params=["single", "cluster"])
def read_models_server(request: pytest.FixtureRequest) -> EmbeddedValkey:
    """A clean Valkey: a single server, and one that is cluster-enabled."""
    name = {"single": "valkey", "cluster": "cluster_valkey"}[request.param]
    server: EmbeddedValkey = request.getfixturevalue(name)
    with closing(redis.Redis.from_url(server.url)) as client:
        client.flushall()
        client.script_flush()
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", 0)
    return server


@pytest.fixture
def read_models_url(read_models_server: EmbeddedValkey, request: pytest.FixtureRequest) -> str:
    """The address of the clean server, in the form that says what it is."""
    if read_models_server._cluster_enabled:
        return CLUSTER_SCHEME + read_models_server.url.removeprefix("redis://")
    return read_models_server.url


@pytest.fixture
async def connection(read_models_url: str) -> AsyncIterator[Connection]:
    """A connection to the clean server."""
    opened = connect(read_models_url, answer_seconds_max=5.0)
    yield opened
    await opened.close()


@pytest.fixture
def log(database_url: str) -> Iterator[Log]:
    """An empty log to write to."""
    with closing(Log(database_url)) as opened:
        yield opened


@pytest.fixture
async def new_projector(
    connection: Connection, database_url: str
) -> AsyncIterator[Callable[..., Projector]]:
    """Makes projectors; each has a connection to the log of its own."""
    readers: list[LogReader] = []

    def make(*, batch_events_max: int = 1000, **timeouts: float) -> Projector:
        reader = LogReader(database_url, application_name="test projector")
        readers.append(reader)
        feeder = Feeder(connection, reader, PROJECTIONS, batch_events_max=batch_events_max)
        return Projector(connection, reader, feeder, None, **timeouts)

    yield make
    for reader in readers:
        await reader.close()


@pytest.fixture
def projector(new_projector: Callable[..., Projector]) -> Projector:
    """One projector, driven by `settle`."""
    return new_projector()
