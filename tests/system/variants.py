"""Copies of a request that differ from it in one place, at any depth."""

from collections.abc import Callable, Iterator

from google.protobuf.message import Message

Steps = tuple[tuple[str, int | None], ...]
"""The way to a message inside another: names of fields, and in lists an index."""


def places(message: Message, steps: Steps = ()) -> Iterator[Steps]:
    """The way to each message that stands in this one, itself first; of a list to its first item."""
    yield steps
    for field, value in message.ListFields():
        if field.message_type is None or field.message_type.GetOptions().map_entry:
            continue
        index = 0 if field.is_repeated else None
        inner = value[0] if field.is_repeated else value
        yield from places(inner, (*steps, (field.name, index)))


def follow(message: Message, steps: Steps) -> Message:
    for name, index in steps:
        value = getattr(message, name)
        message = value if index is None else value[index]
    return message


def varied(request: Message, steps: Steps, change: Callable[[Message], object]) -> Message:
    """A copy of the request, with the change made to the message at that place."""
    copy = type(request).FromString(request.SerializeToString())
    change(follow(copy, steps))
    return copy


def path_of(steps: Steps, name: str) -> str:
    """As BadRequest tells a field: rows[0].sku_id."""
    parts = [step if index is None else f"{step}[{index}]" for step, index in steps]
    return ".".join([*parts, name])
