"""Responses put together from stored bytes: a tag, a length, the bytes. Nothing is parsed."""

from collections.abc import Iterable
from functools import cache, lru_cache

_LENGTH_DELIMITED = 2


def embedded(field_number: int, body: bytes) -> bytes:
    """A message or string as a field of the message around it."""
    return _tag(field_number) + _length(len(body)) + body


def repeated(field_number: int, bodies: Iterable[bytes]) -> bytes:
    """Messages as a repeated field, in their order."""
    tag = _tag(field_number)
    return b"".join([part for body in bodies for part in (tag, _length(len(body)), body)])


def varint(number: int) -> bytes:
    """A number from 0 on, seven bits a byte, the lowest first."""
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


@cache
def _tag(field_number: int) -> bytes:
    return varint(field_number << 3 | _LENGTH_DELIMITED)


# Views of a kind are of much the same length.
_length = lru_cache(maxsize=4096)(varint)
