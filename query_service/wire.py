"""Responses put together from stored bytes: a tag, a length, the bytes. Nothing is parsed."""

from collections.abc import Iterable

_LENGTH_DELIMITED = 2


def embedded(field_number: int, body: bytes) -> bytes:
    """A message or string as a field of the message around it."""
    return varint(field_number << 3 | _LENGTH_DELIMITED) + varint(len(body)) + body


def repeated(field_number: int, bodies: Iterable[bytes]) -> bytes:
    """Messages as a repeated field, in their order."""
    return b"".join(embedded(field_number, body) for body in bodies)


def varint(number: int) -> bytes:
    """A number from 0 on, seven bits a byte, the lowest first."""
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)
