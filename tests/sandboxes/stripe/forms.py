"""Form encoding with brackets: `a[b][0][c]=1`, parsed strictly and read field by field."""

import re
from typing import Self, Union
from urllib.parse import parse_qsl

from tests.sandboxes.stripe.errors import ApiError, invalid, required, unknown

Tree = dict[str, Union[str, "Tree"]]

KEY = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")
WHOLE_NUMBER = re.compile(r"-?[0-9]{1,18}")
FIELDS_MAX = 5_000
"""A session with 100 lines of 10 fields each has room four times over."""


def parse(encoded: str) -> Tree:
    """The tree that a form or a query string spells out. Lists are trees with keys 0, 1, 2."""
    tree: Tree = {}
    for name, value in _pairs(encoded):
        found = KEY.fullmatch(name)
        if found is None:
            raise invalid(f"Invalid parameter name: {name}", param=name)
        _put(tree, [found[1], *re.findall(r"\[([^\[\]]*)\]", found[2])], value, param=name)
    return tree


def _pairs(encoded: str) -> list[tuple[str, str]]:
    try:
        return parse_qsl(
            encoded,
            keep_blank_values=True,
            strict_parsing=bool(encoded),
            errors="strict",
            max_num_fields=FIELDS_MAX,
        )
    except ValueError as error:
        raise ApiError(400, f"Invalid form encoding: {error}") from error


def _put(tree: Tree, keys: list[str], value: str, *, param: str) -> None:
    *parents, last = keys
    for key in parents:
        branch = tree.setdefault(key or str(len(tree)), {})
        if isinstance(branch, str):
            raise invalid(f"{key} is both a value and an object.", param=param)
        tree = branch
    if (last or str(len(tree))) in tree:
        raise invalid(f"{param} is given twice.", param=param)
    tree[last or str(len(tree))] = value


class Params:
    """The parameters of one call. Reading takes them; what nobody took is unknown."""

    def __init__(self, tree: Tree, path: str = "") -> None:
        self._tree = dict(tree)
        self._path = path
        self._read: list[Params] = []

    def name(self, key: str) -> str:
        """A field as the caller spelled it."""
        return f"{self._path}[{key}]" if self._path else key

    def is_text(self, key: str) -> bool:
        """Whether a field is given as a value, not as an object."""
        return isinstance(self._tree.get(key), str)

    def string(self, key: str, *, chars_max: int = 5_000) -> str | None:
        """A text of at least one character, or None if it is not given."""
        value = self._tree.pop(key, None)
        if value is None:
            return None
        if isinstance(value, dict):
            raise invalid(f"Invalid string: {self.name(key)}", param=self.name(key))
        if value == "":
            raise invalid(
                f"You passed an empty string for '{self.name(key)}'.",
                param=self.name(key),
                code="parameter_invalid_empty",
            )
        if len(value) > chars_max:
            raise invalid(
                f"Invalid string: {self.name(key)} must be at most {chars_max} characters.",
                param=self.name(key),
                code="parameter_invalid_string",
            )
        return value

    def required_string(self, key: str) -> str:
        """A text that must be given."""
        value = self.string(key)
        if value is None:
            raise required(self.name(key))
        return value

    def choice(self, key: str, *allowed: str) -> str | None:
        """One of a few words, or None if it is not given."""
        value = self.string(key)
        if value is not None and value not in allowed:
            raise invalid(
                f"Invalid {self.name(key)}: must be one of {', '.join(allowed)}", param=self.name(key)
            )
        return value

    def boolean(self, key: str) -> bool | None:
        """True, false, or None if it is not given."""
        value = self.string(key)
        if value not in (None, "true", "false"):
            raise invalid(f"Invalid boolean: {value}", param=self.name(key))
        return None if value is None else value == "true"

    def integer(self, key: str, *, minimum: int | None = None, maximum: int | None = None) -> int | None:
        """A whole number within bounds, or None if it is not given."""
        text = self.string(key)
        if text is None:
            return None
        if not WHOLE_NUMBER.fullmatch(text):
            raise self._invalid_integer(key, f"Invalid integer: {text}")
        value = int(text)
        if minimum is not None and value < minimum:
            raise self._invalid_integer(key, f"This value must be greater than or equal to {minimum}.")
        if maximum is not None and value > maximum:
            raise self._invalid_integer(key, f"This value must be less than or equal to {maximum}.")
        return value

    def required_integer(self, key: str, *, minimum: int) -> int:
        """A whole number that must be given."""
        value = self.integer(key, minimum=minimum)
        if value is None:
            raise required(self.name(key))
        return value

    def mapping(self, key: str) -> Self | None:
        """An object with fields of its own, or None if it is not given."""
        branch = self._tree.pop(key, None)
        if branch is None:
            return None
        if isinstance(branch, str):
            raise invalid(f"Invalid object: {self.name(key)}", param=self.name(key))
        child = type(self)(branch, self.name(key))
        self._read.append(child)
        return child

    def required_mapping(self, key: str) -> Self:
        """An object that must be given."""
        child = self.mapping(key)
        if child is None:
            raise required(self.name(key))
        return child

    def items(self, key: str, *, count_max: int) -> list[Self]:
        """A list of objects; empty if it is not given."""
        entries = self.mapping(key)
        if entries is None:
            return []
        positions = entries._positions(count_max)
        return [entries.required_mapping(position) for position in positions]

    def strings(self, key: str, *, count_max: int = 20) -> list[str]:
        """A list of texts; empty if it is not given."""
        entries = self.mapping(key)
        if entries is None:
            return []
        return [entries.required_string(position) for position in entries._positions(count_max)]

    def texts(self, key: str) -> dict[str, str]:
        """An object whose fields the caller names; their values may be empty."""
        entries = self.mapping(key)
        if entries is None:
            return {}
        found, entries._tree = entries._tree, {}
        for name, value in found.items():
            if isinstance(value, dict):
                raise invalid(f"Invalid string: {entries.name(name)}", param=entries.name(name))
        return {name: str(value) for name, value in found.items()}

    def whole(self, key: str) -> Tree | None:
        """An object that is kept as it is."""
        child = self.mapping(key)
        if child is None:
            return None
        found, child._tree = child._tree, {}
        return found

    def refuse_unknown(self) -> None:
        """Raises if the caller sent what nobody asked for."""
        if left := self._unread():
            raise unknown(left)

    def _unread(self) -> list[str]:
        own = [self.name(key) for key in self._tree]
        return own + [name for child in self._read for name in child._unread()]

    def _positions(self, count_max: int) -> list[str]:
        positions = [str(position) for position in range(len(self._tree))]
        if set(self._tree) != set(positions):
            raise invalid(f"Invalid array: {self._path}", param=self._path)
        if len(positions) > count_max:
            raise invalid(f"{self._path} can have up to {count_max} entries.", param=self._path)
        return positions

    def _invalid_integer(self, key: str, message: str) -> ApiError:
        return invalid(message, param=self.name(key), code="parameter_invalid_integer")
