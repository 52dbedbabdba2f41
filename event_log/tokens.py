"""The consistency token: how far the log had come, and in which incarnation.

Opaque to clients. Its text is `<incarnation>.<position>`, so that whoever is on call can read it.

An incarnation is the second in which it was made, since 1970, as 8 hexadecimal digits: none is made
twice, and of two the greater one, as text too, is the newer. So a token of a log that is past is told
from one of a log that a reader has yet to hear of.
"""

import re
from dataclasses import dataclass
from datetime import datetime

_TEXT = re.compile(r"([0-9a-f]{8})\.([0-9]{1,18})")


class MalformedTokenError(ValueError):
    """The text is not a consistency token."""


def next_incarnation(before: str, now: datetime) -> str:
    """The incarnation that follows another one, also if the clock went back since then.

    The time alone tells it from those that a restored database has no memory of.
    """
    return f"{max(int(now.timestamp()), int(before, 16) + 1):08x}"


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
