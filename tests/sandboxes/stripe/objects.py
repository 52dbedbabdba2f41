"""What every object of the API has: an id, a time of creation, metadata, a place in a list."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import uuid4

from tests.sandboxes.stripe.errors import invalid, missing
from tests.sandboxes.stripe.forms import Params

Json = dict[str, Any]
Clock = Callable[[], int]
"""Unix seconds that `created` is taken from."""

PAGE_SIZE = 10
PAGE_SIZE_MAX = 100
METADATA_KEYS_MAX = 50
METADATA_KEY_CHARS_MAX = 40
METADATA_VALUE_CHARS_MAX = 500


def new_id(prefix: str) -> str:
    """A fresh id. Never from the seed: a second sandbox must not name its objects like the first."""
    return f"{prefix}_{uuid4().hex}"


def clock_from(base_seconds: int | None) -> Clock:
    """A clock that starts at `base_seconds`, or tells the real time."""
    if base_seconds is None:
        return lambda: int(time.time())
    started_seconds = time.monotonic()
    return lambda: base_seconds + int(time.monotonic() - started_seconds)


class StripeObject(Protocol):
    """What can be listed and expanded."""

    @property
    def id(self) -> str:
        """Its name."""
        ...

    @property
    def created(self) -> int:
        """Unix seconds."""
        ...

    def as_json(self) -> Json:
        """As it is on the wire now."""
        ...


# --- metadata ------------------------------------------------------------------------------------


def read_metadata(params: Params) -> dict[str, str]:
    """The metadata of a call; an empty value asks to unset its key."""
    metadata = params.texts("metadata")
    for key, value in metadata.items():
        if len(key) > METADATA_KEY_CHARS_MAX or len(value) > METADATA_VALUE_CHARS_MAX:
            raise invalid(
                f"Metadata keys can have up to {METADATA_KEY_CHARS_MAX} characters,"
                f" values up to {METADATA_VALUE_CHARS_MAX}.",
                param=f"metadata[{key}]",
            )
    if len(metadata) > METADATA_KEYS_MAX:
        raise invalid(f"Metadata can have up to {METADATA_KEYS_MAX} keys.", param="metadata")
    return metadata


def merged(metadata: dict[str, str], changes: dict[str, str]) -> dict[str, str]:
    """Metadata after an update: named keys are set, or unset by an empty value; the others stay."""
    return {key: value for key, value in (metadata | changes).items() if value != ""}


# --- lists ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ListQuery:
    """Which part of a list is wanted."""

    limit: int
    starting_after: str | None
    ending_before: str | None
    created_seconds_min: int | None
    created_seconds_max: int | None

    def includes(self, listed: StripeObject) -> bool:
        """Whether it was created in the wanted time."""
        is_early = self.created_seconds_min is not None and listed.created < self.created_seconds_min
        is_late = self.created_seconds_max is not None and listed.created > self.created_seconds_max
        return not (is_early or is_late)


def read_list_query(params: Params, *, with_created: bool = True) -> ListQuery:
    """The parameters that every list knows."""
    created_seconds_min, created_seconds_max = _read_created(params) if with_created else (None, None)
    return ListQuery(
        limit=params.integer("limit", minimum=1, maximum=PAGE_SIZE_MAX) or PAGE_SIZE,
        starting_after=params.string("starting_after"),
        ending_before=params.string("ending_before"),
        created_seconds_min=created_seconds_min,
        created_seconds_max=created_seconds_max,
    )


def _read_created(params: Params) -> tuple[int | None, int | None]:
    """The inclusive bounds of `created`, given as one second or as gt, gte, lt, lte."""
    if params.is_text("created"):
        second = params.integer("created")
        return second, second
    bounds = params.mapping("created")
    if bounds is None:
        return None, None
    gt, gte = bounds.integer("gt"), bounds.integer("gte")
    lt, lte = bounds.integer("lt"), bounds.integer("lte")
    return gte if gt is None else gt + 1, lte if lt is None else lt - 1


def list_page(oldest_first: Iterable[StripeObject], query: ListQuery, *, url: str) -> Json:
    """One page, newest first."""
    found = [listed for listed in oldest_first if query.includes(listed)][::-1]
    if query.ending_before is not None:
        newer = found[: _position(found, query.ending_before, param="ending_before")]
        page, has_more = newer[-query.limit :], len(newer) > query.limit
    else:
        start = 0
        if query.starting_after is not None:
            start = 1 + _position(found, query.starting_after, param="starting_after")
        page, has_more = found[start : start + query.limit], len(found) > start + query.limit
    return {
        "object": "list",
        "data": [listed.as_json() for listed in page],
        "has_more": has_more,
        "url": url,
    }


def _position(listed: list[StripeObject], cursor: str, *, param: str) -> int:
    for position, candidate in enumerate(listed):
        if candidate.id == cursor:
            return position
    raise missing("object", cursor, param=param)
