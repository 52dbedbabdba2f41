"""Requests from bytes, checked against the rules that stand in the protos."""

from collections.abc import Container, Iterator
from functools import cache
from itertools import islice
from typing import Any, TypeVar

import protovalidate
from google.protobuf.descriptor import Descriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError, Message
from google.protobuf.timestamp_pb2 import Timestamp

from serving.failures import InvalidRequest

MessageT = TypeVar("MessageT", bound=Message)

REQUEST_BYTES_MAX = 4 * 1024 * 1024
"""Largest request: 500 rows of the longest kind fit several times over."""

VIOLATION_COUNT_MAX = 20
"""Wrong fields named in one answer: they travel in HTTP/2 trailers, which are limited."""

TIMESTAMP_SECONDS = range(-62_135_596_800, 253_402_300_800)
"""The years 1 to 9999, as timestamp.proto has it."""

DURATION_SECONDS_MAX = 315_576_000_000
"""10,000 years, forward or back, as duration.proto has it."""

NANOS_A_SECOND = 1_000_000_000

ITEM_COUNT_MAX = 1_000
"""Values of a request that are looked at for all that is wrong with them, at 50 us a mistake. A request
of more is told its first mistake only: a million empty rows took two minutes."""

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
    if wrong and not _is_small(request):
        raise InvalidRequest(wrong)
    # PostgreSQL cannot store NUL in text. Numbers may hold 0 bytes, so only a second look is exact.
    if b"\0" in body:
        wrong |= dict.fromkeys(_fields_with_nul(request), "must not hold a NUL character")
    # The rules compare times, but take any for one: 2^31 nanoseconds would be a second and more.
    if _time_fields(request.DESCRIPTOR):
        wrong |= _wrong_times(request)
    if wrong:
        raise InvalidRequest(dict(list(wrong.items())[:VIOLATION_COUNT_MAX]))
    return request


def _violations(request: Message) -> list[protovalidate.Violation]:
    first = list(_VALIDATOR.collect_violations(request, fail_fast=True))
    return list(_VALIDATOR.collect_violations(request)) if first and _is_small(request) else first


def _is_small(request: Message) -> bool:
    return next(islice(_values(request), ITEM_COUNT_MAX, None), None) is None


def _values(message: Message) -> Iterator[Any]:
    """Everything that stands in the message, at any depth."""
    for _, item in _items(message, ""):
        yield item
        if isinstance(item, Message):
            yield from _values(item)


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
    for path, item in _items(message, prefix):
        if isinstance(item, Message):
            found += _fields_with_nul(item, f"{path}.")
        elif isinstance(item, str) and "\0" in item:
            found.append(path)
    return found


def _wrong_times(message: Message, prefix: str = "") -> dict[str, str]:
    """What is wrong with each Timestamp and Duration, by its path."""
    found = {}
    for path, item in _items(message, prefix, of=_time_fields(message.DESCRIPTOR)):
        if isinstance(item, Timestamp):
            if not _is_timestamp(item):
                found[path] = "must be a time of the years 1 to 9999, its nanos from 0 to 999999999"
        elif isinstance(item, Duration):
            if not _is_duration(item):
                found[path] = (
                    "must be a duration, its nanos below a second and of the sign of its seconds"
                )
        elif isinstance(item, Message):
            found |= _wrong_times(item, f"{path}.")
    return found


def _is_timestamp(time: Timestamp) -> bool:
    return time.seconds in TIMESTAMP_SECONDS and 0 <= time.nanos < NANOS_A_SECOND


def _is_duration(span: Duration) -> bool:
    is_in_range = abs(span.seconds) <= DURATION_SECONDS_MAX and abs(span.nanos) < NANOS_A_SECOND
    return is_in_range and span.seconds * span.nanos >= 0


@cache
def _holds_times(descriptor: Descriptor) -> bool:
    """Whether a message of the type may hold a Timestamp or a Duration, at any depth."""
    known = {descriptor.full_name: descriptor}
    new = [descriptor]
    while new:
        fields = new.pop().fields
        inner = {
            field.message_type.full_name: field.message_type for field in fields if field.message_type
        }
        new += [inner[name] for name in inner.keys() - known.keys()]
        known |= inner
    return not known.keys().isdisjoint({Timestamp.DESCRIPTOR.full_name, Duration.DESCRIPTOR.full_name})


@cache
def _time_fields(descriptor: Descriptor) -> frozenset[str]:
    """The fields of a message that hold a Timestamp or a Duration, at any depth."""
    return frozenset(
        field.name
        for field in descriptor.fields
        if field.message_type is not None and _holds_times(field.message_type)
    )


def _items(
    message: Message, prefix: str, *, of: Container[str] | None = None
) -> Iterator[tuple[str, Any]]:
    """Each value that stands in the message, with its path: of a list each item, of a map keys too.

    of: the names of the fields to look at; all if it is None.
    """
    for field, value in message.ListFields():
        if of is not None and field.name not in of:
            continue
        name = f"{prefix}{field.name}"
        is_map = field.message_type is not None and field.message_type.GetOptions().map_entry
        if is_map:
            for key, item in value.items():
                yield f"{name}[{key!r}]", key
                yield f"{name}[{key!r}]", item
        elif field.is_repeated:
            yield from ((f"{name}[{index}]", item) for index, item in enumerate(value))
        else:
            yield name, value
