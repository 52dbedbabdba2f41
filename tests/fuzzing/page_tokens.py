"""Page tokens as somebody may send them back: right, of another listing, damaged, or forged well.

Nothing in a token is secret. So who forges one gives it the right digest, and whatever a service reads
behind that came from a stranger.
"""

import base64
import binascii
import json
import struct
from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from history_service.paging import page_token
from query_service.paging import Pager
from tests.fuzzing.wire import LENGTH, altered, tagged

DIGEST_BYTES = 8

LISTINGS = {
    "ListOrdersByStateRequest": lambda request: f"orders-by-state:{request.state}",
    "ListCustomerOrdersRequest": lambda request: f"customer-orders:{request.customer_id}",
}
"""Listings of the query service, by the type of their request; others are of the history service."""

NO_CURSORS = (b"7", b"", b"[]", b"{}", b"[1,", b"[NaN,1]", b"[true,false]", b"[null]", b"\xff" * 24)
CURSORS = ([7], [9, 7], [7, "o1"])
"""One of each form that there is."""

INTEGERS_OF_COLUMNS = (2**31, 2**62, 2**63 - 1, -(2**63) + 1)
INTEGERS_BEYOND = (2**63, -(2**63), 2**64, 10**26)
TEXTS = ("", "\0", "o1\0", "\u202e", "\ud800", "x" * 100)
GENERATIONS = (0, 1, 2**64 - 1)
MICROSECONDS = (0, 2**62, 2**63 - 1, -(2**63))
IDS = (b"", b"o1", b"\0", b"\xff", b"x" * 100)


def forged(request: Any, content: bytes) -> bytes:
    """A token of this request's, by its digest, with any content."""
    listing = LISTINGS.get(type(request).__name__)
    if listing is None:
        digest = _raw(page_token(request, []).encode())[:DIGEST_BYTES]
    else:
        digest = Pager.of(listing(request), 0)._digest(content)
    return _text(digest + content)


@st.composite
def contents(draw: st.DrawFn, request: Any, own: bytes | None) -> bytes:
    """What may stand behind a digest: like what stands there in its own token, or nothing like it."""
    if draw(st.integers(0, 3)) == 0:
        return draw(st.sampled_from(NO_CURSORS))
    if type(request).__name__ in LISTINGS:
        numbers = draw(st.tuples(st.sampled_from(GENERATIONS), st.sampled_from(MICROSECONDS)))
        place = struct.pack(">Qq", *numbers) + draw(st.sampled_from(IDS))
        return place[: draw(st.sampled_from((len(place), len(place), 15)))]
    cursor = list(
        draw(st.sampled_from(CURSORS)) if own is None else json.loads(_raw(own)[DIGEST_BYTES:])
    )
    # One value that is wrong says more than several, of which only the first is looked at.
    index = draw(st.integers(0, len(cursor) - 1))
    cursor[index] = draw(_value(type(cursor[index])))
    return json.dumps(cursor).encode()


def _value(kind: type) -> st.SearchStrategy[Any]:
    if kind is str:
        return st.sampled_from(TEXTS)
    return st.one_of(
        st.integers(-1, 9), st.sampled_from(INTEGERS_OF_COLUMNS), st.sampled_from(INTEGERS_BEYOND)
    )


KINDS = ("right", "of another", "flipped", "cut", "longer", "altered", *("forged",) * 6)


@st.composite
def tokens(draw: st.DrawFn, request: Any, own: bytes | None, others: Sequence[bytes]) -> bytes:
    """A token for that request. own: one that it was given, if any. others: those of other requests."""
    kind = draw(st.sampled_from(KINDS))
    if kind == "of another" and others:
        return draw(st.sampled_from(others))
    if kind == "forged" or own is None:
        return forged(request, draw(contents(request, own)))
    raw = _raw(own)
    match kind:
        case "flipped":
            bit = draw(st.integers(0, 8 * len(raw) - 1))
            return _text(bytes(b ^ (1 << bit % 8 if i == bit // 8 else 0) for i, b in enumerate(raw)))
        case "cut":
            return _text(raw[: draw(st.integers(0, len(raw) - 1))])
        case "longer":
            return _text(raw + draw(st.binary(min_size=1, max_size=8)))
        case "altered":
            return draw(altered(st.just(own)))
    return own


@st.composite
def next_pages(draw: st.DrawFn, request: Any, others: Sequence[bytes] = ()) -> bytes:
    """A right request for a listing, with any token instead of its own."""
    first = type(request)()
    first.CopyFrom(request)
    first.ClearField("page_token")
    token = draw(tokens(first, request.page_token.encode() or None, others))
    number = first.DESCRIPTOR.fields_by_name["page_token"].number
    return bytes(first.SerializeToString()) + tagged(number, LENGTH, token)


def _raw(token: bytes) -> bytes:
    try:
        return base64.urlsafe_b64decode(token + b"=" * (-len(token) % 4))
    except binascii.Error:
        return token


def _text(raw: bytes) -> bytes:
    return base64.urlsafe_b64encode(raw)
