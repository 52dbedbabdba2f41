"""What a sandbox makes of clients that do not behave."""

import asyncio

import pytest

from tests.sandboxes.stripe.server import StripeSandbox


async def test_a_client_that_dies_in_its_call_is_no_mistake_of_the_sandbox(
    caplog: pytest.LogCaptureFixture,
) -> None:
    sandbox = StripeSandbox()
    async with sandbox.running() as url:
        host, _, port = url.removeprefix("http://").partition(":")
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"POST /v1/refunds HTTP/1.1\r\nhost: sandbox\r\ncontent-length: 100\r\n\r\namount=")
        await writer.drain()
        writer.close()
        await writer.wait_closed()
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []
