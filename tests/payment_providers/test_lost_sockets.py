"""A connection that is reset as it is made: its outcome is unknown, and nothing is broken here."""

from collections.abc import Awaitable, Callable

import httpx
import pytest
import stripe

from payment_providers.lost_sockets import answered
from payment_providers.stripe.transport import StripeTransport


async def stumble(_request: httpx.Request) -> httpx.Response:
    """As anyio does when uvloop has lost the socket already."""
    gone: object = None
    return gone.getpeername()  # type: ignore[attr-defined,no-any-return] # that is the point


async def answer(_request: httpx.Request) -> httpx.Response:
    return httpx.Response(204)


Answer = Callable[[httpx.Request], Awaitable[httpx.Response]]


class Network(httpx.AsyncBaseTransport):
    """Answers as it is told."""

    def __init__(self, how: Answer) -> None:
        self._how = how

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return await self._how(request)


async def test_a_socket_that_is_lost_is_a_network_that_failed() -> None:
    async with httpx.AsyncClient(transport=Network(stumble)) as http:
        with pytest.raises(httpx.NetworkError):
            await answered(http.get("https://provider.example"))


async def test_an_answer_is_handed_on() -> None:
    async with httpx.AsyncClient(transport=Network(answer)) as http:
        assert (await answered(http.get("https://provider.example"))).status_code == 204


async def test_stripe_s_sdk_hears_of_a_connection_that_failed() -> None:
    transport = StripeTransport(1.0)
    await transport._http.aclose()
    transport._http = httpx.AsyncClient(transport=Network(stumble))
    with pytest.raises(stripe.APIConnectionError):
        await transport.request_async("GET", "https://api.stripe.com/v1", {})
    await transport.close_async()
