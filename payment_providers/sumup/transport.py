"""SumUp's API over httpx: every call in limited time and through the breaker, numbers read exactly.

SumUp's own SDK has no time limit, repeats nothing and reads money as floats.
"""

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import httpx

from payment_providers.calls import Calls
from payment_providers.failures import connection_failure
from payment_providers.lost_sockets import answered
from payment_providers.port import OutcomeUnknown
from payment_providers.sumup.failures import NotFound, failure_of
from payment_providers.sumup.settings import SumUpSettings

Json = Mapping[str, Any]

CONNECT_SECONDS_MAX = 3.0
"""A host that is up answers a connect within a round trip."""


class SumUpTransport:
    """Sends requests."""

    def __init__(self, settings: SumUpSettings, calls: Calls) -> None:
        self._calls = calls
        self._http = httpx.AsyncClient(
            base_url=settings.api_url,
            headers={"Authorization": f"Bearer {settings.api_key}", "Accept": "application/json"},
            timeout=httpx.Timeout(settings.limits.attempt_seconds_max, connect=CONNECT_SECONDS_MAX),
        )

    async def get(self, path: str, params: Mapping[str, Any] | None = None) -> Any:
        """What is there.

        Raises:
            ProviderFailure: it cannot be read.
        """
        return await self._calls.make(lambda: self._send("GET", path, params=params))

    async def find(self, path: str, params: Mapping[str, Any] | None = None) -> Any:
        """What is there, or None.

        Raises:
            ProviderFailure: whether it is there cannot be told.
        """
        try:
            return await self.get(path, params)
        except NotFound:
            return None

    async def post(self, path: str, body: bytes, *, is_repeatable: bool) -> Any:
        """Has something done. is_repeatable: False when a second call could have a second effect.

        Raises:
            ProviderFailure: of the last attempt.
        """
        return await self._calls.make(
            lambda: self._send("POST", path, body=body), is_repeatable=is_repeatable
        )

    async def delete(self, path: str) -> Any:
        """Has something ended.

        Raises:
            ProviderFailure: of the last attempt.
        """
        return await self._calls.make(lambda: self._send("DELETE", path))

    async def close(self) -> None:
        """Closes the connections."""
        await self._http.aclose()

    async def _send(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        body: bytes | None = None,
    ) -> Any:
        headers = {"Content-Type": "application/json"} if body is not None else None
        try:
            response = await answered(
                self._http.request(method, path, params=params, content=body, headers=headers)
            )
        except httpx.HTTPError as error:
            raise connection_failure(error) from error
        if not response.is_success:
            raise failure_of(response)
        return _parsed(response)


def _parsed(response: httpx.Response) -> Any:
    if not response.content:
        return None
    try:
        return json.loads(response.content, parse_float=Decimal)
    except ValueError as error:
        raise OutcomeUnknown("malformed_answer") from error
