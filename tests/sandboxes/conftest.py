"""A calm sandbox for each test that does not need a wilder one."""

from collections.abc import AsyncIterator

import pytest

from tests.sandboxes.stripe_connection import Connection, connected


@pytest.fixture
async def stripe_api() -> AsyncIterator[Connection]:
    async with connected() as connection:
        yield connection
