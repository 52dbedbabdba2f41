"""Requests from bytes, checked against the rules that stand in the protos."""

from typing import TypeVar

import protovalidate
from google.protobuf.message import DecodeError, Message

from serving.failures import InvalidRequest

MessageT = TypeVar("MessageT", bound=Message)

REQUEST_BYTES_MAX = 4 * 1024 * 1024
"""Largest request: 500 rows of the longest kind fit several times over."""

VIOLATION_COUNT_MAX = 20
"""Wrong fields named in one answer: they travel in HTTP/2 trailers, which are limited."""

_VALIDATOR = protovalidate.Validator()


def parse_request(body: bytes, message_type: type[MessageT]) -> MessageT:
    """The request, valid by its proto.

    Raises:
        InvalidRequest: names each field that is not as it must be.
    """
    if len(body) > REQUEST_BYTES_MAX:
        raise InvalidRequest({"request": f"is {len(body)} bytes, {REQUEST_BYTES_MAX} are allowed"})
    try:
        request = message_type.FromString(body)
    except DecodeError:
        # Wrong wire format, or a string that is not UTF-8 (a lone surrogate, say).
        raise InvalidRequest({"request": f"is not a {message_type.DESCRIPTOR.full_name}"}) from None
    wrong = {_path(v.proto.field): v.proto.message for v in _violations(request)}
    # PostgreSQL cannot store NUL in text. Numbers may hold 0 bytes, so only a second look is exact.
    if b"\0" in body:
        wrong |= dict.fromkeys(_fields_with_nul(request), "must not hold a NUL character")
    if wrong:
        raise InvalidRequest(dict(list(wrong.items())[:VIOLATION_COUNT_MAX]))
    return request


def _violations(request: Message) -> list[protovalidate.Violation]:
    return list(_VALIDATOR.collect_violations(request))


def _path(path: "protovalidate.FieldPathPb | None") -> str:
    """The path of a field as people write it: rows[3].sku_id."""
    parts = []
    for element in path.elements if path is not None else ():
        subscript = element.subscript
        suffix = "" if subscript is None else f"[{subscript.value}]"
        parts.append(f"{element.field_name}{suffix}")
    return ".".join(parts) or "request"


def _fields_with_nul(message: Message, prefix: str = "") -> list[str]:
    found = []
    for field, value in message.ListFields():
        name = f"{prefix}{field.name}"
        is_map = field.message_type is not None and field.message_type.GetOptions().map_entry
        if is_map:
            pairs = [(f"{name}[{key!r}]", part) for key, item in value.items() for part in (key, item)]
        elif field.is_repeated:
            pairs = [(f"{name}[{index}]", item) for index, item in enumerate(value)]
        else:
            pairs = [(name, value)]
        for path, item in pairs:
            if isinstance(item, Message):
                found += _fields_with_nul(item, f"{path}.")
            elif isinstance(item, str) and "\0" in item:
                found.append(path)
    return found
