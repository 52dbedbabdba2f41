"""What a torture plants into the processes that it starts: a clock that can be stepped, and mutants.

`sitecustomize.py` beside this stands in front of Python's path there, and so runs before any other code.
"""

import json
import mmap
import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

CLOCK_FILE = struct.Struct("dQ")
"""Seconds by which it is off, and how often it was read since, as a clock's file holds them."""

CLOCK, MUTATIONS = "TORTURE_CLOCK", "TORTURE_MUTATIONS"
"""The variables by which a process is told."""


class SteppedClock:
    """How far one process's clock is off, in a file that both sides have mapped.

    The clock that only ever goes forward is left alone, as by a person who sets a machine's clock.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        path.write_bytes(CLOCK_FILE.pack(0.0, 0))
        with path.open("r+b") as file:
            self._file = mmap.mmap(file.fileno(), CLOCK_FILE.size)

    @property
    def environment(self) -> dict[str, str]:
        """What a process is started with to live by this clock."""
        return {"PYTHONPATH": _path(), CLOCK: str(self._path)}

    def step(self, seconds: float) -> None:
        """Sets the clock so far from the true time; 0 is right again."""
        CLOCK_FILE.pack_into(self._file, 0, seconds, 0)

    @property
    def read_count(self) -> int:
        """How often the process has read it since it was stepped; stamps of its log do not count."""
        count: int = CLOCK_FILE.unpack_from(self._file)[1]
        return count


@dataclass(frozen=True, slots=True)
class Mutation:
    """A change of a module's source. before: must stand there once."""

    module: str
    before: str
    after: str

    @property
    def path(self) -> Path:
        """Where the module's source is."""
        return Path(__file__).parents[3].joinpath(*self.module.split(".")).with_suffix(".py")


def mutated(mutations: Sequence[Mutation]) -> dict[str, str]:
    """What a process is started with to be so mutated."""
    told = [[each.module, each.before, each.after] for each in mutations]
    return {"PYTHONPATH": _path(), MUTATIONS: json.dumps(told)}


def _path() -> str:
    own, others = str(Path(__file__).parent), os.environ.get("PYTHONPATH")
    return f"{own}{os.pathsep}{others}" if others else own
