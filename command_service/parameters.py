"""Parameters of statements in PostgreSQL's text form.

The form does not tell a type: every statement casts each parameter that it takes (`%s::text[]`). So
it is prepared once, whatever its values are, also when an array is empty or a value is None.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from command_service.database_failures import Unacceptable


def in_text_form(value: object) -> bytes | None:
    """A value, or a flat list of values, of the types below; any other is a mistake of ours, a KeyError.

    Raises:
        Unacceptable: a NUL is in it, which PostgreSQL keeps in no text.
    """
    if value is None:
        return None
    text = _array(value) if isinstance(value, list) else _SCALAR_BY_TYPE[type(value)](value)
    # What is sent as text ends at the first NUL: the rest would be lost without a word.
    if "\0" in text:
        raise Unacceptable("a parameter has a NUL in it", code="22")
    return text.encode()


def _array(elements: Sequence[Any]) -> str:
    """As `array_in` reads it. Joins all elements at once: these are most of what is ever sent."""
    types = set(map(type, elements))
    if types == {str}:
        text = _quoted(elements)
    elif types == {int}:
        text = ",".join(map(str, elements))
    else:
        text = ",".join([_ELEMENT_BY_TYPE[type(element)](element) for element in elements])
    return f"{{{text}}}"


def _quoted(texts: Sequence[str]) -> str:
    joined = '","'.join(texts)
    # Nothing but the separators' own quotes: nearly always no text has to be escaped.
    if "\\" in joined or joined.count('"') != 2 * (len(texts) - 1):
        return ",".join(map(_text, texts))
    return f'"{joined}"'


def _text(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _span(span: timedelta) -> str:
    return f"{span.total_seconds():.6f}s"


_SCALAR_BY_TYPE: dict[type, Callable[[Any], str]] = {
    str: str,
    int: str,
    bool: str,
    bytes: lambda octets: f"\\x{octets.hex()}",
    datetime: datetime.isoformat,
    timedelta: _span,
    UUID: str,
}

_ELEMENT_BY_TYPE: dict[type, Callable[[Any], str]] = {
    type(None): lambda _: "NULL",
    str: _text,
    int: str,
    bool: str,
    bytes: lambda octets: f'"\\\\x{octets.hex()}"',
    datetime: lambda moment: f'"{moment.isoformat()}"',
    timedelta: _span,
    UUID: str,
}
