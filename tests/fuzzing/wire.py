"""Messages as they go over the wire, right or wrong, made from a descriptor.

They are put together byte by byte: no library would let us write a string that is no UTF-8, a field
under another wire type, a varint of eleven bytes, or the same field twice.
"""

import struct
from collections.abc import Iterable, Sequence
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from hypothesis import strategies as st

VARINT, FIXED64, LENGTH, GROUP, FIXED32 = 0, 1, 2, 3, 5
WIRE_TYPES = (VARINT, FIXED64, LENGTH, GROUP, 4, FIXED32, 6, 7)

DEPTH_MAX = 5
ITEM_COUNTS = (0, 1, 1, 2, 3)
PRESENCE = {True: (True,) * 7 + (False,), False: (True,) * 3 + (False,)}
"""Of a field, of a gentle message and of others."""
GENTLE_ITEM_COUNTS = (1, 1, 1, 2)
MANY_ITEMS = 1_500
"""More than any list may have."""

WORD_BYTES_MAX = 70_000

FLOATS = (0.0, -0.0, 1.5, float("nan"), float("inf"), float("-inf"), 5e-324, 1.8e308)
INTEGERS = tuple(
    sorted(
        {0, 1, 2, 3, 5, 10, 99, 100, 500, 1000, 1_000_000, 1_000_001, 1_000_000_000_000}
        | {
            sign * (2**bits + off)
            for sign in (1, -1)
            for bits in (31, 32, 53, 62, 63)
            for off in (-1, 0, 1)
        }
        | {-1, -2, -(2**63), 253_402_300_799, 253_402_300_800, -62_135_596_800, -62_135_596_801}
    )
)
"""Bounds of columns, of int32 and int64, of what a float holds, and of the years 1 to 9999."""

ODD_BYTES = (
    b"",
    b" ",
    b"\0",
    b"a\0b",
    b"\xff\xfe",
    b"\xed\xa0\x80",  # a lone surrogate
    b"\xf4\x90\x80\x80",  # beyond Unicode
    b"\xc0\xaf",  # a slash in two bytes
    "\u202eevil\u202c".encode(),
    "\u05d0\u05d1\u0660".encode(),
    "\ufeff\u200b\u2028".encode(),
    "e\u0301\u0301\u0301".encode(),
    "\U0001f4a5".encode() * 70,
    b"'; DROP TABLE events; --",
    b"%s%n{0}{x}${jndi}",
    b"../../etc/passwd",
    b"{hash}tag:*",
    b"line\nbreak\r\n\x1b[31m",
    b"GBP",
    b"JPY",
    b"ZZZ",
    b"00000000-0000-0000-0000-000000000000",
    b"x" * 64,
    b"x" * 65,
    b"x" * 201,
    b"x" * WORD_BYTES_MAX,
)


GENTLE_INTEGERS = (1, 1, 1, 2, 2, 3, 5, 60, 100, 250, 0)
"""What most fields may be."""


WILD_ONE_IN = 10
"""A gentle message has such a field in a while: among wrong ones it would not be looked at."""

TIMES = ("google.protobuf.Timestamp", "google.protobuf.Duration")
TIME_SECONDS = (
    *(0, 1, 60, 3_600, 1_700_000_000, 1_900_000_000, 253_402_300_799, -62_135_596_800),
    *(-1, 253_402_300_800, -62_135_596_801, 315_576_000_000, 315_576_000_001, 2**63 - 1, -(2**63)),
)
TIME_NANOS = (0, 0, 0, 1, 999_999_999, 1_000_000_000, -1, -999_999_999, 2**31 - 1)


class Names:
    """Names of things that there are, by the fields that bear them."""

    def __init__(self, pairs: Iterable[tuple[str, bytes]]) -> None:
        self._by_field: dict[str, list[bytes]] = {}
        for field_name, name in dict.fromkeys(pairs):
            self._by_field.setdefault(field_name, []).append(name)
        self.all = [name for names in self._by_field.values() for name in names]

    def of(self, field_name: str) -> list[bytes]:
        """Those that stood in fields of that name; any, if none did."""
        return self._by_field.get(field_name, self.all)


def varint(value: int) -> bytes:
    """As protobuf writes it: negative numbers in ten bytes."""
    value &= 2**64 - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def tagged(number: int, wire_type: int, value: bytes) -> bytes:
    """A field: its tag, for bytes their length, and the value."""
    length = varint(len(value)) if wire_type == LENGTH else b""
    return varint(number << 3 | wire_type) + length + value


def integers(*, gentle: bool) -> st.SearchStrategy[int]:
    if gentle:
        return st.sampled_from(GENTLE_INTEGERS)
    return st.one_of(st.sampled_from(INTEGERS), st.integers(0, 20), st.integers(-(2**63), 2**63 - 1))


def texts(field_name: str, names: Names, *, gentle: bool) -> st.SearchStrategy[bytes]:
    """Names of things that there are; the same a little changed, odd ones and any others."""
    fitting = st.sampled_from(names.of(field_name))
    if gentle:
        return st.one_of(fitting, fitting, fitting, st.sampled_from(names.all))
    return st.one_of(
        fitting,
        altered(fitting),
        st.sampled_from(names.all),
        st.sampled_from(ODD_BYTES),
        st.text(max_size=20).map(lambda text: text.encode("utf-8", "surrogatepass")),
    )


@st.composite
def altered(draw: st.DrawFn, originals: st.SearchStrategy[bytes]) -> bytes:
    """Bytes of which some were lost, doubled, changed or put in."""
    value = draw(originals)
    start = draw(st.integers(0, len(value)))
    end = draw(st.integers(start, min(len(value), start + draw(st.sampled_from((0, 1, 2, 8))))))
    return value[:start] + draw(st.binary(max_size=4)) + value[end:]


def scalars(
    field: FieldDescriptor, names: Names, *, gentle: bool
) -> st.SearchStrategy[tuple[int, bytes]]:
    """Values of a field that is no message: wire type and bytes."""
    kind = field.type
    if kind in (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES):
        return texts(field.name, names, gentle=gentle).map(lambda value: (LENGTH, value))
    if kind == FieldDescriptor.TYPE_ENUM:
        assert field.enum_type is not None
        defined = st.sampled_from([value.number for value in field.enum_type.values if value.number])
        odd = st.sampled_from((0, 99, -7, 2**31 - 1, -(2**31)))
        return (defined if gentle else defined | odd).map(lambda value: (VARINT, varint(value)))
    if kind == FieldDescriptor.TYPE_DOUBLE:
        return st.sampled_from(FLOATS).map(lambda value: (FIXED64, struct.pack("<d", value)))
    if kind == FieldDescriptor.TYPE_FLOAT:
        return st.sampled_from(FLOATS[:6]).map(lambda value: (FIXED32, struct.pack("<f", value)))
    if kind == FieldDescriptor.TYPE_BOOL:
        # A rehearsal has no effect, and so is less of a test.
        values = (0, 0, 0, 1) if gentle else (0, 1, 2, -1)
        return st.sampled_from(values).map(lambda value: (VARINT, varint(value)))
    return integers(gentle=gentle).map(lambda value: (VARINT, varint(value)))


@st.composite
def messages(
    draw: st.DrawFn, descriptor: Descriptor, names: Names, *, gentle: bool, depth: int = 0
) -> bytes:
    """A message of that type with any values, some of its fields absent.

    gentle: most values are such as a client means them; else anything that the type can hold.
    """
    out = [
        draw(entries(field, names, gentle=gentle, depth=depth))
        for field in descriptor.fields
        if field.name == "request_id" or draw(st.sampled_from(PRESENCE[gentle]))
    ]
    return b"".join(out)


@st.composite
def entries(draw: st.DrawFn, field: FieldDescriptor, names: Names, *, gentle: bool, depth: int) -> bytes:
    """A field as often as it is to occur."""
    counts = GENTLE_ITEM_COUNTS if gentle else ITEM_COUNTS
    count = draw(st.sampled_from(counts)) if field.is_repeated else 1
    drawn = entry(field, names, gentle=gentle, depth=depth)
    return b"".join(draw(drawn) for _ in range(count))


@st.composite
def entry(
    draw: st.DrawFn, field: FieldDescriptor, names: Names, *, gentle: bool, depth: int = 0
) -> bytes:
    """A field once."""
    if field.name == "request_id" and depth == 0:
        # Anything else would be refused before it is looked at: see `wrong`.
        return tagged(field.number, LENGTH, str(draw(st.uuids(version=4))).encode())
    if field.message_type is None:
        is_tame = gentle and draw(st.integers(1, WILD_ONE_IN)) > 1
        return tagged(field.number, *draw(scalars(field, names, gentle=is_tame)))
    if field.message_type.full_name in TIMES:
        return tagged(field.number, LENGTH, draw(times()))
    if depth >= DEPTH_MAX:
        return tagged(field.number, LENGTH, b"")
    inner = messages(field.message_type, names, gentle=gentle, depth=depth + 1)
    return tagged(field.number, LENGTH, draw(inner))


def times() -> st.SearchStrategy[bytes]:
    """Moments and spans, the likely, the last that there are, and those beyond."""
    return st.builds(
        lambda seconds, nanos: tagged(1, VARINT, varint(seconds)) + tagged(2, VARINT, varint(nanos)),
        st.sampled_from(TIME_SECONDS),
        st.sampled_from(TIME_NANOS),
    )


@st.composite
def wrong(draw: st.DrawFn, descriptor: Descriptor, names: Names) -> bytes:
    """What makes a message wrong wherever it is added: unknown, mistyped, doubled or endless fields."""
    known = [field.number for field in descriptor.fields] or [1]
    number = draw(st.one_of(st.sampled_from(known), st.sampled_from((15, 999, 18_999, 2**29 - 1, 0))))
    kind = draw(st.sampled_from(("mistyped", "long", "deep", "many", "overlong", "cut")))
    if kind == "mistyped":
        value = draw(st.one_of(st.binary(max_size=12), st.sampled_from(ODD_BYTES)))
        return tagged(number, draw(st.sampled_from(WIRE_TYPES)), value)
    if kind == "long":
        length = draw(st.sampled_from((2**31 - 1, 2**31, 2**32, 2**63, 2**64 - 1)))
        return varint(number << 3 | LENGTH) + varint(length) + b"x"
    if kind == "deep":
        return _nested(number, draw(st.sampled_from((20, 99, 101, 1_000))))
    if kind == "many":
        return tagged(number, *draw(st.sampled_from([(VARINT, b"\1"), (LENGTH, b"")]))) * MANY_ITEMS
    if kind == "overlong":
        return varint(number << 3) + b"\xff" * draw(st.sampled_from((9, 10, 11))) + b"\1"
    return varint(number << 3 | LENGTH) + b"\x05abc"


def _nested(number: int, depth: int) -> bytes:
    value = b""
    for _ in range(depth):
        value = tagged(number, LENGTH, value)
    return value


BODIES = (*("gentle",) * 5, *("made",) * 2, *("varied",) * 8, "wrong", "cut", "any")


@st.composite
def bodies(draw: st.DrawFn, descriptor: Descriptor, names: Names, samples: Sequence[Any]) -> bytes:
    """What a client may send to a method: good, nearly good, bad, or nothing that anybody would read.

    samples: messages of this type that are right, if there are any.
    """
    kind = draw(st.sampled_from(BODIES))
    if kind == "any":
        return draw(st.binary(max_size=200))
    if kind == "varied" and samples and descriptor.fields:
        return draw(varied(descriptor, names, samples))
    made = draw(messages(descriptor, names, gentle=kind in ("gentle", "varied")))
    if kind == "wrong":
        return made + draw(wrong(descriptor, names))
    return draw(altered(st.just(made))) if kind == "cut" else made


@st.composite
def varied(draw: st.DrawFn, descriptor: Descriptor, names: Names, samples: Sequence[Any]) -> bytes:
    """A right message, of which one to three fields are other ones."""
    sample = type(samples[0])()
    sample.CopyFrom(draw(st.sampled_from(samples)))
    gentle = draw(st.sampled_from((True, True, False)))
    out = b""
    for field in draw(st.lists(st.sampled_from(list(descriptor.fields)), min_size=1, max_size=3)):
        if draw(st.booleans()):
            sample.ClearField(field.name)
        # Of a list this is one item more, of anything else it takes the place of what was there.
        out += draw(entry(field, names, gentle=gentle))
    request_id = descriptor.fields_by_name.get("request_id")
    fresh = draw(entry(request_id, names, gentle=True)) if request_id is not None else b""
    return bytes(sample.SerializeToString()) + fresh + out
