"""What a projection is, and how a batch of events is retold: pure.

A retelling says for one type of event which view it touches and what the view becomes. Everything
that is derived from a document (entries of indexes, values beside it) is told by the document itself
and lies in its partition, so that it changes with it, atomically.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from google.protobuf.message import Message

from event_log.reader import StoredEvent
from read_models.entries import to_entry, to_member
from read_models.partitions import Address, EntryAddress
from read_models.writing import Change, What

Fold = Callable[[Any, Any], Message | None]
"""(view or None, event) -> view or None. The view is the fold's own: it may change and return it.

The event is not: it is told to other views and generations as well. What a fold returns of it is only to
be replaced by those after it, never changed.
"""

Derive = Callable[[Any], Mapping[Address, bytes]]
"""What else stands in a document's partition because of it: values by address, entries included."""


class ViewMissing(Exception):
    """An event changes a view that does not exist: the log is not whole, or a projection is wrong."""


class UnknownEvent(Exception):
    """An event of a type that this version does not know: a newer version must retell it."""


@dataclass(frozen=True, slots=True)
class Retelling:
    """How one view retells one type of event.

    address_of: the view that the event touches; None when it touches none. derive: None where nothing
    is derived.
    """

    view_type: type[Message]
    address_of: Callable[[Any], Address | None]
    fold: Fold
    derive: Derive | None = None


@dataclass(frozen=True, slots=True)
class EventProjection:
    """Everything that one type of event touches."""

    event_type: type[Message]
    retellings: tuple[Retelling, ...]


Projections = Mapping[str, EventProjection | None]
"""By the full protobuf name of the event; None for one that no view shows."""


class Step(NamedTuple):
    """One event at one view."""

    position: int
    event: Message
    retelling: Retelling


Steps = dict[Address, list[Step]]


def steps_of(events: Sequence[StoredEvent], projections: Projections) -> Steps:
    """What a batch does to each view, in the order of the log.

    Raises:
        UnknownEvent: the batch holds a type without a projection.
    """
    steps: Steps = {}
    for stored in events:
        if stored.type not in projections:
            raise UnknownEvent(f"{stored.type} at position {stored.position}")
        projection = projections[stored.type]
        if projection is None:
            continue
        event = projection.event_type.FromString(stored.payload)
        for retelling in projection.retellings:
            address = retelling.address_of(event)
            if address is not None:
                steps.setdefault(address, []).append(Step(stored.position, event, retelling))
    return steps


def retell(address: Address, stored: bytes | None, steps: Sequence[Step]) -> list[Change]:
    """The changes that the steps make to what stands at an address.

    stored: the document's bytes, or the entry's member. The same steps over the same bytes give the
    same changes, byte for byte.
    """
    retelling = steps[0].retelling
    before = None if stored is None else retelling.view_type.FromString(_view_bytes(address, stored))
    after = _copy(before)
    for step in steps:
        after = step.retelling.fold(after, step.event)
    if before is None and after is None:
        return []
    changes = list(_changes(address, stored, after))
    if retelling.derive is not None:
        old = retelling.derive(before) if before is not None else {}
        new = retelling.derive(after) if after is not None else {}
        changes += _derived_changes(old, new)
    return changes


def _view_bytes(address: Address, stored: bytes) -> bytes:
    return to_entry(stored).summary if isinstance(address, EntryAddress) else stored


def _copy(view: Message | None) -> Message | None:
    if view is None:
        return None
    copy = type(view)()
    copy.CopyFrom(view)
    return copy


def _changes(address: Address, stored: bytes | None, after: Message | None) -> Iterator[Change]:
    new = None if after is None else after.SerializeToString(deterministic=True)
    if isinstance(address, EntryAddress):
        member = None if new is None else to_member(address.sort_key, new)
        yield from _member_changes(address, stored, member)
    else:
        yield from _document_changes(address.name, stored, new)


def _derived_changes(old: Mapping[Address, bytes], new: Mapping[Address, bytes]) -> Iterator[Change]:
    for address in old.keys() | new.keys():
        before, after = old.get(address), new.get(address)
        if isinstance(address, EntryAddress):
            key = address.sort_key
            before = None if before is None else to_member(key, before)
            after = None if after is None else to_member(key, after)
            yield from _member_changes(address, before, after)
        else:
            yield from _document_changes(address.name, before, after)


def _document_changes(name: str, before: bytes | None, after: bytes | None) -> Iterator[Change]:
    if after is None and before is not None:
        yield Change(name, What.DELETE)
    elif after is not None and after != before:
        yield Change(name, What.SET, after)


def _member_changes(
    address: EntryAddress, before: bytes | None, after: bytes | None
) -> Iterator[Change]:
    if before == after:
        return
    if before is not None:
        # By its sort key: what is derived is not read, and another version may have written it.
        yield Change(address.name, What.REMOVE, address.sort_key)
    if after is not None:
        yield Change(address.name, What.ADD, after)
