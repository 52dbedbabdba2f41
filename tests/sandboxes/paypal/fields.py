"""A JSON body read field by field. Stricter than PayPal may be: what nobody reads is refused."""

import json
import re
from typing import Any, Self

from tests.sandboxes.paypal.errors import invalid
from tests.sandboxes.paypal.money import Money

URL = re.compile(r"https?://\S+")


class Fields:
    """One object of a body. Reading takes its fields."""

    def __init__(self, fields: dict[str, Any], path: str = "") -> None:
        self._fields = dict(fields)
        self._path = path
        self._read: list[Self] = []

    @classmethod
    def parse(cls, body: bytes) -> Self:
        """The body of a call; an empty one is an empty object."""
        try:
            parsed = json.loads(body or b"{}")
        except ValueError as error:
            raise invalid("MALFORMED_REQUEST_JSON", field="/") from error
        if not isinstance(parsed, dict):
            raise invalid("MALFORMED_REQUEST_JSON", field="/")
        return cls(parsed)

    def text(self, name: str, *, chars_max: int, pattern: str = "") -> str | None:
        """A text of at least one character, or None if it is not given."""
        value = self._fields.pop(name, None)
        if value is None:
            return None
        if not isinstance(value, str):
            raise invalid("INVALID_PARAMETER_SYNTAX", field=self._name(name), value=value)
        if not 1 <= len(value) <= chars_max:
            raise invalid("INVALID_STRING_LENGTH", field=self._name(name), value=value)
        if pattern and not re.fullmatch(pattern, value):
            raise invalid("INVALID_PARAMETER_SYNTAX", field=self._name(name), value=value)
        return value

    def choice(self, name: str, *options: str) -> str | None:
        """One of a few words."""
        value = self.text(name, chars_max=255)
        if value is not None and value not in options:
            raise invalid("INVALID_PARAMETER_VALUE", field=self._name(name), value=value)
        return value

    def url(self, name: str) -> str | None:
        """A web address."""
        value = self.text(name, chars_max=4_000)
        if value is not None and not URL.fullmatch(value):
            raise invalid("INVALID_PARAMETER_SYNTAX", field=self._name(name), value=value)
        return value

    def boolean(self, name: str, *, default: bool) -> bool:
        """True or false."""
        value = self._fields.pop(name, default)
        if not isinstance(value, bool):
            raise invalid("INVALID_PARAMETER_SYNTAX", field=self._name(name), value=value)
        return value

    def object(self, name: str) -> Self | None:
        """An object, or None if it is not given."""
        value = self._fields.pop(name, None)
        return None if value is None else self._child(value, self._name(name))

    def objects(self, name: str, *, count_max: int) -> list[Self]:
        """A list of objects, at least one."""
        value = self.required(name, self._fields.pop(name, None))
        if not isinstance(value, list) or not 1 <= len(value) <= count_max:
            raise invalid("INVALID_ARRAY_MAX_ITEMS", field=self._name(name))
        return [self._child(each, f"{self._name(name)}/{number}") for number, each in enumerate(value)]

    def money(self, name: str) -> Money | None:
        """An amount with its currency."""
        found = self.object(name)
        if found is None:
            return None
        currency_code = found.required("currency_code", found.text("currency_code", chars_max=3))
        value = found.required("value", found.text("value", chars_max=32))
        return Money.parse(value, currency_code, field=self._name(name))

    def required(self, name: str, value: Any) -> Any:
        """The value, if it is given."""
        if value is None:
            raise invalid("MISSING_REQUIRED_PARAMETER", field=self._name(name))
        return value

    def refuse_unknown(self) -> None:
        """Call it last."""
        for name in self._fields:
            raise invalid("MALFORMED_REQUEST_JSON", field=self._name(name), description="Unknown field.")
        for each in self._read:
            each.refuse_unknown()

    def _name(self, name: str) -> str:
        return f"{self._path}/{name}"

    def _child(self, value: Any, path: str) -> Self:
        if not isinstance(value, dict):
            raise invalid("INVALID_PARAMETER_SYNTAX", field=path, value=value)
        child = type(self)(value, path)
        self._read.append(child)
        return child
