"""Kinds of settings that every service has; a wrong one is refused at the start, by its name."""

import logging
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


def _of_schemes(schemes: tuple[str, ...]) -> Callable[[str], str]:
    def checked(url: str) -> str:
        if not url.startswith(schemes):
            raise ValueError(f"must begin with {' or '.join(schemes)}")
        return url

    return checked


def _with_port(url: str) -> str:
    try:
        urlsplit(url).port  # noqa: B018 it is read for what it raises
    except ValueError:
        # From None: the message tells what stands there, which may be a part of a password.
        raise ValueError("must have a number for its port") from None
    return url


LogLevel = Annotated[str, AfterValidator(_known_level)]
"""The name of a level, in whatever case."""

Port = Annotated[int, Field(ge=0, le=65_535)]
"""A TCP port; 0 for none."""

PostgresUrl = Annotated[str, AfterValidator(_of_schemes(POSTGRES_SCHEMES))]
"""Where a database is. Several hosts may be named, so the port is libpq's business."""

RedisUrl = Annotated[str, AfterValidator(_of_schemes(REDIS_SCHEMES)), AfterValidator(_with_port)]
"""Where Redis is."""
