"""One call of the API as it comes in: who asks, what for, under which key."""

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Self

from starlette.requests import Request

from tests.sandboxes.stripe.errors import ApiError, unauthorized, wrong_content_type
from tests.sandboxes.stripe.forms import Tree, parse
from tests.sandboxes.stripe.objects import new_id

FORM = "application/x-www-form-urlencoded"
API_VERSION = re.compile(r"\d{4}-\d{2}-\d{2}(\.[a-z]+)?")


@dataclass(frozen=True, slots=True)
class Call:
    """What is known of a call before anything of it is checked."""

    request: Request
    encoded: str
    request_id: str

    @classmethod
    async def read(cls, request: Request) -> Self:
        """Reads all of a request."""
        body = (await request.body()).decode("utf-8", errors="replace")
        encoded = body if request.method == "POST" else request.url.query
        return cls(request, encoded, new_id("req"))

    @property
    def method(self) -> str:
        """GET or POST, if it is one that the API knows."""
        return self.request.method

    @property
    def path(self) -> str:
        """Without the query."""
        return self.request.url.path

    @property
    def idempotency_key(self) -> str | None:
        """Of a POST; on other methods the header has no effect."""
        return self.request.headers.get("idempotency-key") if self.method == "POST" else None

    @property
    def api_version(self) -> str | None:
        """The version that the caller speaks."""
        return self.request.headers.get("stripe-version")

    def check_credentials(self, secret_key: str) -> None:
        """Refuses a caller without the account's secret key, as bearer token or as user name."""
        given = self._given_key()
        if given is None:
            raise unauthorized(
                "You did not provide an API key. You need to provide your API key in the Authorization"
                " header, using Bearer auth."
            )
        if given != secret_key:
            raise unauthorized(f"Invalid API Key provided: {given[:8]}****")

    def parameters(self) -> Tree:
        """The form or the query as a tree; a body that is no form, or an odd version, is refused."""
        if self.api_version is not None and not API_VERSION.fullmatch(self.api_version):
            raise ApiError(400, f"Invalid Stripe API version: {self.api_version}")
        content_type = self.request.headers.get("content-type", "").partition(";")[0]
        if self.method == "POST" and self.encoded and content_type != FORM:
            raise wrong_content_type()
        return parse(self.encoded)

    def _given_key(self) -> str | None:
        scheme, _, credentials = self.request.headers.get("authorization", "").partition(" ")
        if scheme == "Bearer":
            return credentials
        if scheme == "Basic":
            try:
                return base64.b64decode(credentials, validate=True).decode().partition(":")[0]
            except (binascii.Error, UnicodeDecodeError):
                return None
        return None
