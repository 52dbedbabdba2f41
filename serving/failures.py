"""The root of the error tree: the categories, each with its gRPC code. Pure.

Failure                      code
|-- Invalid                  INVALID_ARGUMENT     the request could never be right
|-- Refusal                  FAILED_PRECONDITION  the state of things forbids it
|   |-- NotFound             NOT_FOUND
|   |-- AlreadyExists        ALREADY_EXISTS
|   `-- Stale                ABORTED              read again and decide anew
|-- Overloaded               RESOURCE_EXHAUSTED   the same request may succeed later
|-- Unavailable              UNAVAILABLE          likewise
|-- DeadlineMissed           DEADLINE_EXCEEDED
`-- Internal                 INTERNAL

The category fixes the gRPC code, the class name in UPPER_SNAKE is the reason, the first line of the
docstring is the message, the facts are keyword arguments: they fill the message and travel as
metadata. Each service keeps its own errors in one file, errors.py.
"""

import re
from collections.abc import Sequence
from enum import IntEnum
from itertools import accumulate, islice
from typing import ClassVar, NamedTuple


class Code(IntEnum):
    """The gRPC status codes in use, by their numbers on the wire."""

    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    INTERNAL = 13
    UNAVAILABLE = 14


FACT_BYTES_MAX = 500
"""Of UTF-8. Facts travel in HTTP/2 trailers, which proxies and clients limit to 8 KiB in all. A fact is
in there three times: in the message, and base64-encoded in the details, twice; and the message takes
three bytes for each that is not ASCII."""


DESCRIPTIONS_BYTES_MAX = 1_200
"""Of UTF-8, for all wrong fields of a request: they travel as facts do."""


class Violation(NamedTuple):
    """One thing that stands in the way: its id, empty for none in particular, and what is wrong."""

    subject: str
    description: str


_ENDS_OF_NAMES_OF_IDS = ("_id", "coupon_code", "_reference")
"""How facts are called that name a thing; the others are amounts, states and times."""


class Failure(Exception):
    """Something went wrong."""

    code: ClassVar[Code]
    retry_after_seconds: ClassVar[float | None] = None

    def __init__(self, **facts: object) -> None:
        self.facts = {name: _cut(str(value)) for name, value in facts.items()}
        super().__init__(self.message)

    @property
    def reason(self) -> str:
        """The class name in UPPER_SNAKE."""
        return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", type(self).__name__).upper()

    @property
    def message(self) -> str:
        """The docstring's first line, with the facts filled in."""
        sentence = (type(self).__doc__ or "").partition("\n")[0]
        return sentence.format_map(self.facts)


class Invalid(Failure):
    """The request could never be right.

    description_by_field: the path of each wrong field in the request, and what is wrong with it; as many
    as fit, and the first in any case.
    """

    code = Code.INVALID_ARGUMENT

    def __init__(self, description_by_field: dict[str, str], **facts: object) -> None:
        # A path may hold a key of a map, which is the caller's.
        told = {_cut(field): _cut(text) for field, text in description_by_field.items()}
        sizes = accumulate(len(field.encode()) + len(text.encode()) for field, text in told.items())
        count = max(sum(size <= DESCRIPTIONS_BYTES_MAX for size in sizes), 1)
        self.description_by_field = dict(islice(told.items(), count))
        super().__init__(**facts)

    @property
    def message(self) -> str:
        """Each field and what is wrong with it."""
        return "; ".join(f"{field}: {text}" for field, text in self.description_by_field.items())


class Refusal(Failure):
    """The state of things forbids it."""

    code = Code.FAILED_PRECONDITION

    @property
    def violations(self) -> Sequence[Violation]:
        """What stands in the way: the first thing that the facts name; a class may know of several."""
        subjects = (value for name, value in self.facts.items() if name.endswith(_ENDS_OF_NAMES_OF_IDS))
        return [Violation(next(subjects, ""), self.message)]


class NotFound(Refusal):
    """There is no such thing."""

    code = Code.NOT_FOUND


class AlreadyExists(Refusal):
    """It is already there."""

    code = Code.ALREADY_EXISTS


class Stale(Refusal):
    """It was changed since you read it."""

    code = Code.ABORTED


class Overloaded(Failure):
    """Too much is asked at once."""

    code = Code.RESOURCE_EXHAUSTED
    retry_after_seconds = 0.1


class Unavailable(Failure):
    """It cannot be done right now; the same request may be sent again."""

    code = Code.UNAVAILABLE
    retry_after_seconds = 1.0


class DeadlineMissed(Failure):
    """The deadline passed before this attempt was begun; send the same request again."""

    code = Code.DEADLINE_EXCEEDED


class Internal(Failure):
    """Something is broken on our side; it is in our logs as {error_id}."""

    code = Code.INTERNAL


class InvalidRequest(Invalid):
    """The request breaks the rules of its fields."""


class InvalidField(Invalid):
    """One field is not as it must be."""

    def __init__(self, *, field: str, description: str) -> None:
        super().__init__({field: description})


def listed(entries: Sequence[str]) -> str:
    """The entries as one fact: as many as it has room for, each whole, and how many more there are."""
    room = FACT_BYTES_MAX - len(f"and {len(entries)} more")
    sizes = accumulate(len(entry.encode()) + len("; ") for entry in entries)
    kept = [entry for entry, size in zip(entries, sizes, strict=True) if size <= room]
    more_count = len(entries) - len(kept)
    return "; ".join([*kept, f"and {more_count} more"] if more_count else kept)


def _cut(text: str) -> str:
    return text.encode()[:FACT_BYTES_MAX].decode(errors="ignore")
