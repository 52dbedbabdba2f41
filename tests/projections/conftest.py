"""The fixtures of the read side."""

from collections.abc import AsyncIterator

import pytest

from event_log.reader import LogReader
from projections.rebuild import Rebuild
from read_models.connections import Connection
from tests.read_side import (
    cluster_valkey,
    connection,
    log,
    new_projector,
    projector,
    read_models_server,
    read_models_url,
)

__all__ = [
    "cluster_valkey",
    "connection",
    "log",
    "new_projector",
    "projector",
    "read_models_server",
    "read_models_url",
]


@pytest.fixture
async def rebuild(connection: Connection, database_url: str) -> AsyncIterator[Rebuild]:
    """The steps of a rebuild, which the projector of the test carries out."""
    reader = LogReader(database_url, application_name="test rebuild")
    yield Rebuild(connection, reader)
    await reader.close()
