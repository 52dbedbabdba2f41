"""A clock of one process that can be stepped while it runs.

`sitecustomize.py` beside this stands in front of Python's path in the services of a torture: before any
code of theirs it takes the place of what tells them the system's time, and adds what a file says. The
clock that only ever goes forward is left alone, as by a person who sets a machine's clock.
"""

import mmap
import os
import struct
from pathlib import Path

OFFSET = struct.Struct("d")
"""Seconds, as the file holds them."""


class SteppedClock:
    """The offset of one process's clock, in a file that both sides have mapped."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.write_bytes(OFFSET.pack(0.0))
        with path.open("r+b") as file:
            self._offset = mmap.mmap(file.fileno(), OFFSET.size)

    @property
    def environment(self) -> dict[str, str]:
        """What a process is started with to live by this clock."""
        others = os.environ.get("PYTHONPATH")
        own = str(Path(__file__).parent)
        path = f"{own}{os.pathsep}{others}" if others else own
        return {"PYTHONPATH": path, "TORTURE_CLOCK": str(self._path)}

    def step(self, seconds: float) -> None:
        """Sets the clock so far from the true time; 0 is right again."""
        OFFSET.pack_into(self._offset, 0, seconds)
