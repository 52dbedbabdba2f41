"""From dataclasses to their protobuf twins: one generic codec, compiled once per message type.

A domain value and its twin have the same field names; the twin leads: each of its fields is read from
the value as an attribute, so a value may carry more than it tells. datetime becomes Timestamp,
timedelta Duration, an IntEnum its number, a nested dataclass its nested message, None stays absent.
"""

import importlib
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import cache
from typing import Any, TypeVar

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.protobuf.timestamp_pb2 import Timestamp

from event_log.events import Event

MessageT = TypeVar("MessageT", bound=Message)
Convert = Callable[[Any], Any]


def to_message(value: object, message_type: type[MessageT]) -> MessageT:
    """The value as a message of its twin type.

    Raises:
        AttributeError: the value lacks one of the twin's fields.
    """
    message: MessageT = _encoder(message_type.DESCRIPTOR)(value)
    return message


def encode_event(event: Event) -> tuple[str, bytes]:
    """The event's full protobuf name and its serialized payload."""
    twin = event_twin(event.context, type(event).__name__)
    return twin.DESCRIPTOR.full_name, to_message(event, twin).SerializeToString()


@cache
def event_twin(context: str, name: str) -> type[Message]:
    """The message that stands for an event type: the same name in its context's events file."""
    module = importlib.import_module(f"shopkeeper.{context}.v1.{context}_events_pb2")
    twin: type[Message] = getattr(module, name)
    return twin


def timestamp(moment: datetime) -> Timestamp:
    """A moment as a Timestamp, exact to the microsecond."""
    message = Timestamp()
    message.FromDatetime(moment)
    return message


def duration(span: timedelta) -> Duration:
    """A span of time as a Duration, exact to the microsecond."""
    message = Duration()
    message.FromTimedelta(span)
    return message


@cache
def _encoder(descriptor: Descriptor) -> Convert:
    message_type = GetMessageClass(descriptor)
    fields = [(field.name, _converter(field)) for field in descriptor.fields]

    def encode(value: Any) -> Message:
        parts = {}
        for name, convert in fields:
            part = getattr(value, name)
            if part is not None:
                parts[name] = part if convert is None else convert(part)
        return message_type(**parts)

    return encode


def _converter(field: FieldDescriptor) -> Convert | None:
    """How one field is converted; None where the value goes in as it is."""
    if field.message_type is None or _is_map(field):
        return None
    # Twins may nest themselves, so the encoder is looked up late.
    convert = _WELL_KNOWN.get(field.message_type.full_name) or _late(field.message_type)
    if field.is_repeated:
        return lambda parts: [convert(part) for part in parts]
    return convert


def _late(descriptor: Descriptor) -> Convert:
    return lambda value: _encoder(descriptor)(value)


def _is_map(field: FieldDescriptor) -> bool:
    return field.message_type is not None and bool(field.message_type.GetOptions().map_entry)


_WELL_KNOWN: dict[str, Convert] = {
    "google.protobuf.Timestamp": timestamp,
    "google.protobuf.Duration": duration,
}
