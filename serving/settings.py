"""Kinds of settings that every service has; a wrong one is refused at the start, by its name."""

import logging
from typing import Annotated

from pydantic import AfterValidator, Field


def _known_level(text: str) -> str:
    known = logging.getLevelNamesMapping()
    if text.upper() not in known:
        raise ValueError(f"must be one of {', '.join(known)}")
    return text.upper()


LogLevel = Annotated[str, AfterValidator(_known_level)]
"""The name of a level, in whatever case."""

Port = Annotated[int, Field(ge=0, le=65_535)]
"""A TCP port; 0 for none."""
