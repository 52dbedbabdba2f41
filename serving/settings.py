"""Kinds of settings that every service has; a wrong one is refused at the start, by its name."""

import logging
import re
from collections.abc import Callable
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field


def _known_level(text: str) -> str:
    known = logging.getLevelNamesMapping()
    if text.upper() not in known:
        raise ValueError(f"must be one of {', '.join(known)}")
    return text.upper()


POSTGRES_SCHEMES = ("postgresql://", "postgres://")
REDIS_SCHEMES = ("redis://", "rediss://", "redis+cluster://", "unix://")
"""How the addresses of servers begin."""


_HOST = re.compile(r"(\[[^\]]*\]|[^:\[\]]*)(:\d{0,5})?")
"""A name or an address, perhaps with a port."""


def _of_schemes(schemes: tuple[str, ...]) -> Callable[[str], str]:
    def checked(url: str) -> str:
        if not url.startswith(schemes):
            raise ValueError(f"must begin with {' or '.join(schemes)}")
        return url

    return checked


def _with_ports(url: str) -> str:
    # What stands there instead may be a part of a password: a slash in it ends what names the server.
    try:
        hosts = urlsplit(url).netloc.rpartition("@")[2].split(",")
    except ValueError:
        raise ValueError("must name a server") from None
    if not all(_HOST.fullmatch(host) for host in hosts):
        raise ValueError("must have a number for its port")
    return url


LogLevel = Annotated[str, AfterValidator(_known_level)]
"""The name of a level, in whatever case."""

SECONDS_MIN, SECONDS_MAX = 0.001, 1_000_000.0
"""PostgreSQL counts in milliseconds, and not much further than to twenty days."""

SPAN_SECONDS_MAX = 10_000_000_000.0
"""Three hundred years: what ends after that still ends in a year that has four digits."""

Seconds = Annotated[float, Field(ge=SECONDS_MIN, le=SECONDS_MAX, allow_inf_nan=False)]
"""How long somebody or something waits: down to milliseconds, so that tests need not."""

SpanSeconds = Annotated[float, Field(ge=SECONDS_MIN, le=SPAN_SECONDS_MAX, allow_inf_nan=False)]
"""For how long something holds or is kept, likewise."""

Port = Annotated[int, Field(ge=0, le=65_535)]
"""A TCP port; 0 for none."""

PostgresUrl = Annotated[str, AfterValidator(_of_schemes(POSTGRES_SCHEMES)), AfterValidator(_with_ports)]
"""Where a database is; several hosts may be named, each with a port."""

RedisUrl = Annotated[str, AfterValidator(_of_schemes(REDIS_SCHEMES)), AfterValidator(_with_ports)]
"""Where Redis is."""
