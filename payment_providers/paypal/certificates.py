"""The certificates that PayPal signs its webhooks with: fetched once, checked each time."""

import asyncio
import re
import warnings
from contextlib import suppress
from datetime import datetime
from functools import cached_property
from pathlib import Path

import certifi
import httpx
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from payment_providers.lost_sockets import answered
from payment_providers.paypal.settings import PayPalSettings
from payment_providers.port import CallbackRefused, NotDone, Unreachable

CERTIFICATES_KEPT_MAX = 16
"""PayPal signs with one at a time. Bounded, as callers name them."""
_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_CLIENT_ERROR_MIN, _SERVER_ERROR_MIN, _TOO_MANY = 400, 500, 429


class Certificates:
    """Fetches by addresses that were found to be PayPal's.

    Apart from the payments' calls and their breaker: whoever calls us may name what does not exist.
    """

    def __init__(self, settings: PayPalSettings, http: httpx.AsyncClient) -> None:
        self._authorities_pem = settings.certificate_authorities_pem
        self._name = x509.DNSName(settings.certificate_name)
        self._seconds_max = settings.limits.attempt_seconds_max
        self._http = http
        self._fetching = asyncio.Lock()
        self._chain_by_url: dict[str, list[x509.Certificate]] = {}

    async def key_at(self, url: str, now: datetime) -> RSAPublicKey:
        """The key of the certificate at this address.

        Raises:
            CallbackRefused: it is not a certificate of PayPal's, or not one for now.
            NotDone: it cannot be fetched at present.
        """
        leaf, *intermediates = await self._chain(url)
        verifier = PolicyBuilder().store(self._store).time(now).build_server_verifier(self._name)
        try:
            verifier.verify(leaf, intermediates)
        except VerificationError as error:
            raise CallbackRefused("unsigned") from error
        key = leaf.public_key()
        if not isinstance(key, RSAPublicKey):
            raise CallbackRefused("unsigned")
        return key

    @cached_property
    def _store(self) -> Store:
        """Made when the first webhook comes: who only pays needs no authorities."""
        return Store(_authorities(self._authorities_pem or Path(certifi.where()).read_bytes()))

    async def _chain(self, url: str) -> list[x509.Certificate]:
        if url not in self._chain_by_url:
            async with self._fetching:
                if url not in self._chain_by_url:
                    self._keep(url, await self._fetch(url))
        return self._chain_by_url[url]

    def _keep(self, url: str, chain: list[x509.Certificate]) -> None:
        if len(self._chain_by_url) >= CERTIFICATES_KEPT_MAX:
            self._chain_by_url.clear()
        self._chain_by_url[url] = chain

    async def _fetch(self, url: str) -> list[x509.Certificate]:
        try:
            async with asyncio.timeout(self._seconds_max):
                response = await answered(self._http.get(url))
        except (httpx.HTTPError, TimeoutError) as error:
            raise Unreachable("certificate_connection") from error
        status = response.status_code
        if status == _TOO_MANY or status >= _SERVER_ERROR_MIN:
            raise NotDone(f"certificate_http_{status}")
        if status >= _CLIENT_ERROR_MIN:
            raise CallbackRefused("unsigned")
        try:
            return x509.load_pem_x509_certificates(response.content)
        except ValueError as error:
            raise CallbackRefused("unsigned") from error


def _authorities(pem: bytes) -> list[x509.Certificate]:
    """Those that are well formed: one odd root among the public ones must not cost us the others."""
    authorities = []
    with warnings.catch_warnings():
        warnings.simplefilter("error", CryptographyDeprecationWarning)
        for block in _PEM.findall(pem):
            with suppress(ValueError, CryptographyDeprecationWarning):
                authorities.append(x509.load_pem_x509_certificate(block))
    return authorities
