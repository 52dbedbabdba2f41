"""Reading a JSON body strictly: types as documented, nothing missing, nothing unknown."""

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

from tests.sandboxes.sumup.errors import ApiError, invalid, invalid_many

CURRENCIES = frozenset("BGN BRL CHF CLP COP CZK DKK EUR GBP HRK HUF NOK PLN RON SEK USD".split())
WITHOUT_DECIMALS = frozenset(("CLP", "COP", "HUF"))
REFERENCE_CHARS_MAX = 64
"""The published description says 90, the SDK 64: who is strict takes the smaller."""

LOOPBACK = "127.0.0.1"
"""Callbacks of readers must go to https; a receiver in a test cannot offer it."""


def decimals_of(currency: str) -> int:
    """How many decimals SumUp gives the currency."""
    return 0 if currency in WITHOUT_DECIMALS else 2


def read_object(body: bytes, *, allowed: set[str], required: tuple[str, ...] = ()) -> dict[str, Any]:
    """The body's fields, numbers exact."""
    try:
        told = json.loads(body, parse_float=Decimal) if body else {}
    except ValueError:
        raise invalid("body", "INVALID_JSON") from None
    if not isinstance(told, dict):
        raise invalid("body", "INVALID_JSON")
    missing = [name for name in required if told.get(name) is None]
    if missing:
        raise invalid_many(missing, "MISSING")
    unknown = [name for name in told if name not in allowed]
    if unknown:
        raise invalid_many(unknown, "UNKNOWN")
    return told


def text(
    told: Mapping[str, Any], name: str, *, error: Callable[[str], ApiError] = invalid
) -> str | None:
    """A text, if it is given."""
    value = told.get(name)
    if value is not None and (not isinstance(value, str) or not value):
        raise error(name)
    return value


def currency(told: Mapping[str, Any]) -> str:
    """One that SumUp takes."""
    code = text(told, "currency")
    if code not in CURRENCIES:
        raise invalid("currency")
    return str(code)


def units(told: Mapping[str, Any], currency_code: str) -> int:
    """An amount in major units, as a number, with no more decimals than the currency has."""
    amount = told.get("amount")
    if isinstance(amount, bool) or not isinstance(amount, Decimal | int):
        raise invalid("amount")
    scaled = Decimal(amount).scaleb(decimals_of(currency_code))
    if scaled <= 0 or scaled != scaled.to_integral_value():
        raise invalid("amount")
    return int(scaled)


def major(units_: int, currency_code: str) -> float:
    """An amount as SumUp writes it: a JSON number, as short as can be."""
    return float(Decimal(units_).scaleb(-decimals_of(currency_code)))


def url(told: Mapping[str, Any], name: str, *, https: bool = False) -> str | None:
    """An address, if it is given."""
    given = text(told, name)
    if given is None:
        return None
    parts = urlsplit(given)
    is_secure = parts.scheme == "https" or parts.hostname == LOOPBACK
    if parts.scheme not in ("http", "https") or not parts.hostname or (https and not is_secure):
        raise invalid(name)
    return given


def moment(value: str, name: str) -> datetime:
    """A time by ISO 8601."""
    if not re.match(r"\d{4}-\d{2}-\d{2}T", value):
        raise invalid(name)
    try:
        told = datetime.fromisoformat(value)
    except ValueError:
        raise invalid(name) from None
    return told if told.tzinfo else told.replace(tzinfo=UTC)


def iso(told: datetime) -> str:
    """As SumUp writes it."""
    return told.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
