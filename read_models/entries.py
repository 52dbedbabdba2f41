"""Entries of an index: members of a sorted set, newest first, that carry their summary themselves.

A member is 16 hexadecimal digits of inverted time, the id, NUL, and the serialized summary. All scores
are 0, so the set is sorted by bytes: by time backwards, then by id. A listing needs no second read and
can never list what is not yet visible. No id holds NUL: PostgreSQL cannot store one.
"""

from typing import NamedTuple

TIME_DIGITS = 16
MICROSECONDS_MAX = 2**62
"""Later than any time in the log; times before 1970 still sort as they should."""

_SEPARATOR = b"\0"


class Place(NamedTuple):
    """Where an entry stands in its index: what a page token remembers."""

    time_microseconds: int
    id: str

    @property
    def sort_key(self) -> bytes:
        """The start of the member, up to and without the separator."""
        return f"{MICROSECONDS_MAX - self.time_microseconds:0{TIME_DIGITS}x}{self.id}".encode()


class Entry(NamedTuple):
    """One entry as it was read."""

    sort_key: bytes
    summary: bytes

    @property
    def place(self) -> Place:
        """Its place in the index."""
        inverted = int(self.sort_key[:TIME_DIGITS], 16)
        return Place(MICROSECONDS_MAX - inverted, self.sort_key[TIME_DIGITS:].decode())


def to_member(sort_key: bytes, summary: bytes) -> bytes:
    """The member of the sorted set."""
    return sort_key + _SEPARATOR + summary


def to_entry(member: bytes) -> Entry:
    """The entry that a member stands for."""
    sort_key, _, summary = member.partition(_SEPARATOR)
    return Entry(sort_key, summary)


def range_of(sort_key: bytes) -> tuple[bytes, bytes]:
    """The limits of the one entry with this sort key, for ZRANGEBYLEX."""
    return b"[" + sort_key + _SEPARATOR, b"(" + sort_key + b"\x01"


def range_after(place: Place | None) -> bytes:
    """The lower limit of what follows a place, for ZRANGEBYLEX; None is the start."""
    # What follows begins behind every member of the place itself, whatever its summary is now.
    return b"-" if place is None else b"[" + place.sort_key + b"\x01"
