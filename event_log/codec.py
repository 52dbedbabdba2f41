"""From dataclasses to their protobuf twins: one generic codec, compiled once per message type.

A domain value and its twin have the same field names; the twin leads: each of its fields is read from
the value as an attribute, so a value may carry more than it tells. datetime becomes Timestamp,
timedelta Duration, an IntEnum its number, a nested dataclass its nested message, None stays absent.
An event's bytes are the same in whatever process it is told: sets and maps go in sorted.
"""

import importlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from operator import attrgetter
from typing import Any, TypeVar

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from event_log.events import Event

MessageT = TypeVar("MessageT", bound=Message)
Convert = Callable[[Any], Any]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def to_message(value: object, message_type: type[MessageT]) -> MessageT:
    """The value as a message of its twin type.

    Raises:
        AttributeError: the value lacks one of the twin's fields.
    """
    return message_type(**_encoder(message_type.DESCRIPTOR)(value))


def encode_event(event: Event) -> tuple[str, bytes]:
    """The event's full protobuf name and its serialized payload."""
    twin = event_twin(event.context, type(event).__name__)
    return twin.DESCRIPTOR.full_name, to_message(event, twin).SerializeToString(deterministic=True)


@cache
def event_twin(context: str, name: str) -> type[Message]:
    """The message that stands for an event type: the same name in its context's events file."""
    module = importlib.import_module(f"shopkeeper.{context}.v1.{context}_events_pb2")
    twin: type[Message] = getattr(module, name)
    return twin


def timestamp(moment: datetime) -> Timestamp:
    """A moment as a Timestamp, exact to the microsecond."""
    return Timestamp(**_timestamp_fields(moment))


def duration(span: timedelta) -> Duration:
    """A span of time as a Duration, exact to the microsecond."""
    message = Duration()
    message.FromTimedelta(span)
    return message


@cache
def _encoder(descriptor: Descriptor) -> Convert:
    """From a value to its twin's fields by name: protobuf builds nested messages from these in place.

    A nested message made by itself would be copied, which takes longer than all the rest.
    """
    names = [field.name for field in descriptor.fields]
    converters = [(field.name, convert) for field in descriptor.fields if (convert := _converter(field))]
    values_of = (
        attrgetter(*names) if len(names) > 1 else lambda value: [getattr(value, n) for n in names]
    )

    def encode(value: Any) -> dict[str, Any]:
        fields = dict(zip(names, values_of(value), strict=True))
        for name, convert in converters:
            part = fields[name]
            if part is not None:
                fields[name] = convert(part)
        return fields

    return encode


def _converter(field: FieldDescriptor) -> Convert | None:
    """How one field is converted; None where the value goes in as it is."""
    if field.message_type is None:
        return _listed if field.is_repeated else None
    if _is_map(field):
        return None
    descriptor = field.message_type
    known = _WELL_KNOWN.get(descriptor.full_name)
    # Twins may nest themselves, so the encoder is looked up late: once for all parts of a list.
    if field.is_repeated:
        return lambda parts: list(map(known or _encoder(descriptor), parts)) if parts else ()
    return known or (lambda value: _encoder(descriptor)(value))


def _listed(parts: Any) -> Any:
    """A set sorted, since its own order differs from process to process; a list as it is."""
    return sorted(parts) if isinstance(parts, frozenset) else parts


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and bool(field.message_type.GetOptions().map_entry)


def _timestamp_fields(moment: datetime) -> dict[str, int]:
    since = moment - _EPOCH
    return {"seconds": since.days * 86_400 + since.seconds, "nanos": since.microseconds * 1_000}


_WELL_KNOWN: dict[str, Convert] = {
    "google.protobuf.Timestamp": _timestamp_fields,
    "google.protobuf.Duration": duration,
}
