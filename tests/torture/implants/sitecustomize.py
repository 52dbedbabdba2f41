"""Run by Python before anything else in a process of a torture: plants what its environment names."""

import importlib.abc
import importlib.machinery
import json
import mmap
import os
import struct
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

MODULES_THAT_ASK_DATETIME = {
    "payment_providers.paypal.environment",
    "payment_providers.sumup.environment",
    "projections.projector",
    "webhooks.server",
}
"""Whoever else wants the time asks `time`, or the database. A test compares."""

MUTATIONS = [tuple(each) for each in json.loads(os.environ.get("TORTURE_MUTATIONS", "[]"))]
"""(module, what stands in its source, what stands there instead)"""


class SteppedDatetime(datetime):
    """Tells the time of this process; for a module that asks it for nothing else."""

    @classmethod
    def now(cls, tz: tzinfo | None = UTC) -> Any:
        """By the clock that is stepped."""
        return datetime.fromtimestamp(time.time(), tz)


class _Planting(importlib.machinery.SourceFileLoader):
    """Loads a module, mutated and asking another clock."""

    def get_code(self, fullname: str) -> CodeType | None:
        """Compiled from its source, changed: byte code that lies about is of the source as it is."""
        path = self.get_filename(fullname)
        source = Path(path).read_text(encoding="utf-8")
        for module, before, after in MUTATIONS:
            if module == fullname:
                if source.count(before) != 1:
                    sys.exit(f"{module} has not once: {before}")
                source = source.replace(before, after)
        code: CodeType = compile(source, path, "exec", dont_inherit=True)
        return code

    def exec_module(self, module: ModuleType) -> None:
        """Runs it."""
        super().exec_module(module)
        if module.__name__ in MODULES_THAT_ASK_DATETIME:
            vars(module)["datetime"] = SteppedDatetime


class _Finder(importlib.abc.MetaPathFinder):
    """Has the modules that are to be changed loaded so."""

    _names = MODULES_THAT_ASK_DATETIME | {module for module, _, _ in MUTATIONS}

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """The usual one, with another loader."""
        if name not in self._names:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and spec.origin is not None:
            spec.loader = _Planting(name, spec.origin)
        return spec


def _step(path: str) -> None:
    """Has the clock of this process go as the file says."""
    true_time, true_time_ns = time.time, time.time_ns
    with Path(path).open("r+b") as file:
        shared = mmap.mmap(file.fileno(), 16)

    def offset_seconds() -> float:
        found: float = struct.unpack_from("d", shared)[0]
        reader = sys._getframe(1).f_back
        # Nothing but a line's stamp hangs on what logging reads.
        if found and (reader is None or reader.f_globals.get("__name__") != "logging"):
            struct.pack_into("Q", shared, 8, struct.unpack_from("Q", shared, 8)[0] + 1)
        return found

    time.time = lambda: true_time() + offset_seconds()
    time.time_ns = lambda: true_time_ns() + int(offset_seconds() * 1_000_000_000)


if "TORTURE_CLOCK" in os.environ:
    _step(os.environ["TORTURE_CLOCK"])
sys.meta_path.insert(0, _Finder())
