"""The shape of a fact before it is written: what every domain event has in common."""

from typing import ClassVar


class Event:
    """A domain event: subclasses are frozen dataclasses named by a past participle.

    `context` names the part of the shop that it belongs to; `key` the aggregate. Each subclass has a
    protobuf twin of the same name and fields in shopkeeper.<context>.v1, joined by event_log.codec.
    """

    __slots__ = ()
    context: ClassVar[str]

    @property
    def key(self) -> str:
        """The id of the aggregate that the event belongs to."""
        raise NotImplementedError
