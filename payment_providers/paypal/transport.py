"""Requests to PayPal's REST API."""

from collections.abc import Callable, Mapping
from typing import Any

import httpx

from payment_providers.failures import connection_failure
from payment_providers.lost_sockets import answered
from payment_providers.paypal.failures import failure_of
from payment_providers.paypal.oauth import AccessTokens
from payment_providers.paypal.settings import PayPalSettings
from payment_providers.port import OutcomeUnknown

CONNECT_SECONDS_MAX = 3.0
"""A host that is up answers a connect within a round trip."""
UNAUTHORIZED = 401


class PayPalTransport:
    """One request at a time, without repetition but for a token that ended early."""

    def __init__(self, settings: PayPalSettings, monotonic: Callable[[], float]) -> None:
        self.http = httpx.AsyncClient(
            base_url=settings.api_url,
            timeout=httpx.Timeout(settings.limits.attempt_seconds_max, connect=CONNECT_SECONDS_MAX),
        )
        self._tokens = AccessTokens(self.http, settings.client_id, settings.client_secret, monotonic)

    async def get(self, path: str, query: Mapping[str, str] | None = None) -> dict[str, Any]:
        """What there is."""
        return await self._send(self.http.build_request("GET", path, params=query))

    async def post(self, path: str, body: Mapping[str, Any], *, key: str) -> dict[str, Any]:
        """What came to be; {} if PayPal says no more than that."""
        # Otherwise PayPal tells id and status only.
        headers = {"PayPal-Request-Id": key, "Prefer": "return=representation"}
        return await self._send(self.http.build_request("POST", path, json=body, headers=headers))

    async def close(self) -> None:
        """Closes the connections."""
        await self.http.aclose()

    async def _send(self, request: httpx.Request) -> dict[str, Any]:
        token = await self._tokens.current()
        response = await self._answer(request, token)
        if response.status_code == UNAUTHORIZED:
            self._tokens.forget(token)
            response = await self._answer(request, await self._tokens.current())
        if not response.is_success:
            raise failure_of(response)
        return _object(response)

    async def _answer(self, request: httpx.Request, token: str) -> httpx.Response:
        request.headers["Authorization"] = f"Bearer {token}"
        try:
            return await answered(self.http.send(request))
        except httpx.HTTPError as error:
            raise connection_failure(error) from error


def _object(response: httpx.Response) -> dict[str, Any]:
    if not response.content:
        return {}
    try:
        told = response.json()
    except ValueError as error:
        raise OutcomeUnknown("unreadable") from error
    if not isinstance(told, dict):
        raise OutcomeUnknown("unreadable")
    return told
