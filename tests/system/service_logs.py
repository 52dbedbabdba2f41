"""What a line of a service's log says of us: an error is logged where only we can be wrong."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

GRPC_NOISE = re.compile(r"[IW]\d{4} \d\d:\d\d:\d\d\.\d+ ")
"""How gRPC's own log begins a line that is no error: connections come and go."""


def error_in(line: str) -> str | None:
    """What a line of a process's log says, if it says that something is wrong with us."""
    if GRPC_NOISE.match(line):
        return None
    if not line.startswith("{"):
        return line
    try:
        entry = json.loads(line)
    except ValueError:
        # Killed as it wrote.
        return None
    return _in_short(entry) if entry.get("level") in {"error", "critical"} else None


def _in_short(entry: Mapping[str, Any]) -> str:
    """What a line of the log says: with its facts, of an exception what and where, not the whole way."""
    facts = {name: value for name, value in entry.items() if name not in {"event", "exception"}}
    raised = [
        f"{each['exc_type']}: {each['exc_value']}, at"
        f" {' < '.join(_place(frame) for frame in reversed(each['frames'][-4:]))}"
        for each in entry.get("exception", [])
    ]
    return "; ".join([str(entry["event"]), *raised, str(facts)])


def _place(frame: Mapping[str, Any]) -> str:
    return f"{Path(frame['filename']).name}:{frame['lineno']} {frame['name']}"
