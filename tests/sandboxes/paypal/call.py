"""One call of the API as it comes in."""

import secrets
from dataclasses import dataclass
from typing import Self

from starlette.requests import Request

from tests.sandboxes.paypal.errors import unsupported_media_type
from tests.sandboxes.paypal.fields import Fields

DEBUG_ID_BYTES = 7


@dataclass(frozen=True, slots=True)
class Call:
    """What is known of a call before anything of it is checked."""

    request: Request
    body: bytes
    debug_id: str

    @classmethod
    async def read(cls, request: Request) -> Self:
        """Reads all of a request."""
        return cls(request, await request.body(), secrets.token_hex(DEBUG_ID_BYTES)[1:])

    @property
    def method(self) -> str:
        """GET or POST, if it is one that the API knows."""
        return self.request.method

    @property
    def path(self) -> str:
        """Without the query."""
        return self.request.url.path

    @property
    def request_id(self) -> str | None:
        """The idempotency key of a POST."""
        return self.request.headers.get("paypal-request-id") if self.method == "POST" else None

    @property
    def wants_all(self) -> bool:
        """Whether the answer shall be the whole object, and not only its id, status and links."""
        return self.request.headers.get("prefer") == "return=representation" or self.method == "GET"

    def header(self, name: str) -> str:
        """One header, or ""."""
        return self.request.headers.get(name, "")

    def fields(self) -> Fields:
        """The body of a POST, which must be JSON."""
        content_type = self.header("content-type").partition(";")[0]
        if self.method == "POST" and content_type != "application/json":
            raise unsupported_media_type()
        return Fields.parse(self.body)
