"""Stripe's SDK over an httpx client of ours.

The SDK's own httpx client passes the body by a deprecated argument and takes no limits.
"""

from collections.abc import Mapping
from typing import Any

import httpx
import stripe

from payment_providers.lost_sockets import answered

CONNECT_SECONDS_MAX = 3.0
"""A host that is up answers a connect within a round trip."""


class StripeTransport(stripe.HTTPXClient):
    """Sends the SDK's requests. attempt_seconds_max: bound of each wait for the network."""

    def __init__(self, attempt_seconds_max: float) -> None:
        super().__init__()
        self._http = httpx.AsyncClient(
            timeout=httpx.Timeout(attempt_seconds_max, connect=CONNECT_SECONDS_MAX)
        )

    async def request_async(
        self, method: str, url: str, headers: Mapping[str, str], post_data: Any = None
    ) -> tuple[bytes, int, Mapping[str, str]]:
        """One request, without repetition.

        Raises:
            stripe.APIConnectionError: there was no answer; its cause is httpx's error.
        """
        try:
            response = await answered(
                self._http.request(method, url, headers=headers, content=post_data or None)
            )
        except httpx.HTTPError as error:
            raise stripe.APIConnectionError(  # type: ignore[no-untyped-call] # the SDK's omission
                type(error).__name__
            ) from error
        return response.content, response.status_code, response.headers

    async def close_async(self) -> None:
        """Closes the connections."""
        await self._http.aclose()
        await super().close_async()  # type: ignore[no-untyped-call] # the SDK's omission
