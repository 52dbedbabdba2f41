"""Page tokens: opaque to clients, bound to the request whose pages they number.

They carry no authority: a forged one reads what its request could read anyway.
"""

import base64
import binascii
import hashlib
import json
from collections.abc import Sequence

from google.protobuf.message import Message

from serving.failures import InvalidField

_DIGEST_BYTES = 8
_INTEGER_BITS_MAX = 63
"""Cursors are made of bigint columns: what is larger was never made here."""


def page_token(request: Message, cursor: Sequence[int | str]) -> str:
    """A token for the page after `cursor` of what `request` asks for."""
    text = json.dumps(list(cursor), separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(_filter_digest(request) + text).decode().rstrip("=")


def read_page_token(request: Message, token: str, kinds: Sequence[type]) -> list[int | str]:
    """The cursor of a token of the same request; its values are of `kinds`, one each.

    Raises:
        InvalidField: it is no such token, or one of another request.
    """
    cursor = _decode(request, token)
    if not isinstance(cursor, list) or [type(value) for value in cursor] != list(kinds):
        raise InvalidField(field="page_token", description="is not a page token of this method")
    if not all(_fits_a_column(value) for value in cursor):
        raise InvalidField(field="page_token", description="was changed on its way")
    return cursor


def _fits_a_column(value: int | str) -> bool:
    if isinstance(value, str):
        return "\0" not in value and value.isprintable()
    return value.bit_length() <= _INTEGER_BITS_MAX


def _decode(request: Message, token: str) -> object:
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        cursor: object = json.loads(raw[_DIGEST_BYTES:])
    except (binascii.Error, ValueError) as error:
        raise InvalidField(field="page_token", description="is not a page token") from error
    if raw[:_DIGEST_BYTES] != _filter_digest(request):
        raise InvalidField(field="page_token", description="belongs to a request with another filter")
    return cursor


def _filter_digest(request: Message) -> bytes:
    """What of a request must stay the same from page to page: all but the paging itself."""
    same = type(request)()
    same.CopyFrom(request)
    same.ClearField("page_size")
    same.ClearField("page_token")
    name = request.DESCRIPTOR.full_name.encode()
    digest = hashlib.sha256(name + b"\0" + same.SerializeToString(deterministic=True))
    return digest.digest()[:_DIGEST_BYTES]
