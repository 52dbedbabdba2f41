"""Page tokens: opaque to clients, bound to the listing whose pages they number.

A token holds the place of the last entry (time, id) and the generation that it was read from. It
carries no authority: a forged one lists what its request could list anyway.
"""

import base64
import binascii
import hashlib
import struct
from typing import NamedTuple

from read_models.entries import Entry, Place
from serving.failures import InvalidField

PAGE_SIZE_DEFAULT = 50

_DIGEST_BYTES = 8
_NUMBERS = struct.Struct(">Qq")


class PageStart(NamedTuple):
    """Where a page begins. after: None for the first page."""

    generation: int | None
    after: Place | None


class Pager(NamedTuple):
    """The pages of one listing. listing: what is listed, the filter included."""

    listing: str
    page_size: int

    @classmethod
    def of(cls, listing: str, page_size: int) -> "Pager":
        """page_size: as in the request; 0 means PAGE_SIZE_DEFAULT."""
        return cls(listing, page_size or PAGE_SIZE_DEFAULT)

    @property
    def limit(self) -> int:
        """How many entries to read: one more than a page, to know whether there is another."""
        return self.page_size + 1

    def start(self, page_token: str) -> PageStart:
        """Where the page of a token begins.

        Raises:
            InvalidField: it is no page token of this listing.
        """
        if not page_token:
            return PageStart(None, None)
        try:
            return self._read(base64.b64decode(page_token.encode(), altchars=b"-_", validate=True))
        except (binascii.Error, struct.error, ValueError):
            raise InvalidField(
                field="page_token", description="is not a page token of this listing"
            ) from None

    def next_page_token(self, entries: list[Entry], generation: int) -> str:
        """The token of the page after these entries; empty when they are the last."""
        if len(entries) <= self.page_size:
            return ""
        place = entries[self.page_size - 1].place
        numbers = _NUMBERS.pack(generation, place.time_microseconds)
        content = numbers + place.id.encode()
        return base64.urlsafe_b64encode(self._digest(content) + content).decode()

    def _read(self, raw: bytes) -> PageStart:
        digest, content = raw[:_DIGEST_BYTES], raw[_DIGEST_BYTES:]
        if digest != self._digest(content):
            raise ValueError
        generation, time_microseconds = _NUMBERS.unpack_from(content)
        return PageStart(generation, Place(time_microseconds, content[_NUMBERS.size :].decode()))

    def _digest(self, content: bytes) -> bytes:
        """Tells a token of this listing from any other, and from one that was damaged."""
        text = self.listing.encode() + b"\0" + content
        return hashlib.blake2b(text, digest_size=_DIGEST_BYTES).digest()
