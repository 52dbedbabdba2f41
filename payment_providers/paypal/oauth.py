"""The access token: one for all calls, renewed by one caller at a time."""

import asyncio
from collections.abc import Callable

import httpx

from payment_providers.lost_sockets import answered
from payment_providers.paypal.failures import failure_of
from payment_providers.port import NotDone, OutcomeUnknown, Unreachable

EARLY_SECONDS_MAX = 60.0
"""A token that is about to end might end on its way."""
EARLY_SHARE = 0.1
"""Of a short life; PayPal's tokens live for nine hours."""


class AccessTokens:
    """Keeps the token of one client. http: speaks to PayPal."""

    def __init__(
        self,
        http: httpx.AsyncClient,
        client_id: str,
        client_secret: str,
        monotonic: Callable[[], float],
    ) -> None:
        self._http = http
        self._credentials = httpx.BasicAuth(client_id, client_secret)
        self._monotonic = monotonic
        self._renewing = asyncio.Lock()
        self._token = ""
        self._fresh_until = 0.0

    async def current(self) -> str:
        """A token that PayPal should accept.

        Raises:
            NotDone: there is none; and nothing else was asked for.
        """
        if self._is_fresh():
            return self._token
        async with self._renewing:
            if not self._is_fresh():
                await self._renew()
            return self._token

    def forget(self, token: str) -> None:
        """Renews next time, unless somebody else has done so since `token` was refused."""
        if token == self._token:
            self._token = ""

    def _is_fresh(self) -> bool:
        return self._token != "" and self._monotonic() < self._fresh_until

    async def _renew(self) -> None:
        asked = self._monotonic()
        try:
            response = await answered(
                self._http.post(
                    "/v1/oauth2/token",
                    data={"grant_type": "client_credentials"},
                    auth=self._credentials,
                )
            )
        except httpx.HTTPError as error:
            raise Unreachable("token_connection") from error
        if not response.is_success:
            raise _without_effect(response)
        self._token, life_seconds = _token_and_life(response)
        early_seconds = min(EARLY_SECONDS_MAX, EARLY_SHARE * life_seconds)
        self._fresh_until = asked + life_seconds - early_seconds


def _token_and_life(response: httpx.Response) -> tuple[str, float]:
    try:
        told = response.json()
        return str(told["access_token"]), float(told["expires_in"])
    except (ValueError, TypeError, KeyError) as error:
        raise Unreachable("token_unreadable") from error


def _without_effect(response: httpx.Response) -> NotDone:
    """Whatever went wrong with the token, nothing has happened to the payment."""
    failure = failure_of(response)
    kind = Unreachable if isinstance(failure, OutcomeUnknown) else NotDone
    return kind(f"token_{failure.code}", retry_after_seconds=failure.retry_after_seconds)
