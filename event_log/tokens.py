"""The consistency token: how far the log had come, and in which incarnation.

Opaque to clients. Its text is `<incarnation>.<position>`, so that whoever is on call can read it.
"""

import re
from dataclasses import dataclass

_TEXT = re.compile(r"([0-9a-f]{8})\.([0-9]{1,18})")


class MalformedTokenError(ValueError):
    """The text is not a consistency token."""


@dataclass(frozen=True, slots=True)
class ConsistencyToken:
    """A position in one incarnation of the log.

    incarnation: 8 lower-case hexadecimal digits. position: 0 (before all events) or more.
    """

    incarnation: str
    position: int

    def __str__(self) -> str:
        return f"{self.incarnation}.{self.position}"

    @classmethod
    def parse(cls, text: str) -> "ConsistencyToken":
        """Reads a token.

        Raises:
            MalformedTokenError: the text was never a token.
        """
        match = _TEXT.fullmatch(text)
        if match is None:
            raise MalformedTokenError(text)
        return cls(match[1], int(match[2]))
