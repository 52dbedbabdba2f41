"""How far a partition has come, and the token that a reader compares it with."""

import re
from dataclasses import dataclass, replace
from functools import lru_cache

_TOKEN = re.compile(r"([0-9a-f]{8})\.([0-9]{1,18})")


class MalformedTokenError(ValueError):
    """The text was never a consistency token."""


@dataclass(frozen=True, slots=True)
class Token:
    """A position in one incarnation of the log: what a reader wants to be seen at least.

    incarnation: 8 hexadecimal digits; the greater one, as text too, is the newer.
    """

    incarnation: str
    position: int

    @classmethod
    def parse(cls, text: str) -> "Token":
        """Reads `<incarnation>.<position>`.

        Raises:
            MalformedTokenError: the text was never a token.
        """
        # fullmatch, and ASCII by the class of characters: a trailing newline or a digit of another
        # script would otherwise pass.
        match = _TOKEN.fullmatch(text)
        if match is None:
            raise MalformedTokenError(text)
        return cls(match[1], int(match[2]))


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Events up to `position` of this incarnation of the log, and no others, have taken effect.

    is_complete: False while the generation is filled for the first time; what it lacks may exist.
    """

    incarnation: str
    position: int
    is_complete: bool

    def __str__(self) -> str:
        return f"{self.incarnation}.{self.position} {'complete' if self.is_complete else 'building'}"

    @classmethod
    def parse(cls, text: bytes | None) -> "Checkpoint | None":
        """Reads the stored text; None stays None."""
        return None if text is None else _parsed(text)

    def advanced(self, position: int) -> "Checkpoint":
        """After events up to a position; never back."""
        return replace(self, position=max(self.position, position))

    def completed(self) -> "Checkpoint":
        """The same, complete."""
        return replace(self, is_complete=True)


# All partitions mostly stand at one position, and every lookup reads one of them.
@lru_cache(maxsize=64)
def _parsed(text: bytes) -> Checkpoint:
    token_text, _, state = text.decode().partition(" ")
    token = Token.parse(token_text)
    return Checkpoint(token.incarnation, token.position, state == "complete")
