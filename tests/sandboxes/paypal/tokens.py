"""OAuth with client credentials: tokens that end, and can be taken back."""

import base64
import binascii
import secrets
import time
from urllib.parse import parse_qs

from tests.sandboxes.paypal.errors import TokenError
from tests.sandboxes.paypal.objects import Json
from tests.sandboxes.paypal.settings import PayPalSettings

FORM = "application/x-www-form-urlencoded"


class Tokens:
    """The tokens of one account."""

    def __init__(self, settings: PayPalSettings) -> None:
        self._credentials = f"{settings.client_id}:{settings.client_secret}"
        self._life_seconds = settings.token_seconds
        self._end_by_token: dict[str, float] = {}

    def issue(self, *, authorization: str, content_type: str, body: bytes) -> Json:
        """POST /v1/oauth2/token."""
        if _basic(authorization) != self._credentials:
            raise TokenError("invalid_client", "Client Authentication failed")
        form = parse_qs(body.decode("utf-8", errors="replace"))
        if content_type.partition(";")[0] != FORM or form.get("grant_type") != ["client_credentials"]:
            raise TokenError("unsupported_grant_type", "Grant Type is NULL")
        token = f"A21AA{secrets.token_urlsafe(48)}"
        self._end_by_token[token] = time.monotonic() + self._life_seconds
        return {
            "scope": "https://uri.paypal.com/services/payments/payment",
            "access_token": token,
            "token_type": "Bearer",
            "app_id": "APP-80W284485P519543T",
            "expires_in": self._life_seconds,
            "nonce": secrets.token_hex(16),
        }

    def check(self, authorization: str) -> None:
        """Refuses a caller without a token that is valid now."""
        scheme, _, token = authorization.partition(" ")
        if scheme != "Bearer" or self._end_by_token.get(token, 0.0) <= time.monotonic():
            raise TokenError("invalid_token", "Token signature verification failed")

    def revoke_all(self) -> None:
        """Takes back all that were issued."""
        self._end_by_token.clear()


def _basic(authorization: str) -> str | None:
    scheme, _, credentials = authorization.partition(" ")
    if scheme != "Basic":
        return None
    try:
        return base64.b64decode(credentials, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
