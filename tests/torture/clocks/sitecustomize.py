"""Run by Python before anything else in a process of a torture, whose clock it makes one that steps."""

import importlib.abc
import importlib.machinery
import mmap
import os
import struct
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from types import ModuleType
from typing import Any

MODULES_THAT_ASK_DATETIME = {
    "payment_providers.paypal.environment",
    "payment_providers.sumup.environment",
    "projections.projector",
    "webhooks.server",
}
"""Whoever else wants the time asks `time`, or the database. A test compares."""

_true_time, _true_time_ns = time.time, time.time_ns

with Path(os.environ["TORTURE_CLOCK"]).open("rb") as _file:
    _offset = mmap.mmap(_file.fileno(), 8, access=mmap.ACCESS_READ)


def offset_seconds() -> float:
    """How far this process's clock is from the true time."""
    found: float = struct.unpack_from("d", _offset)[0]
    return found


class SteppedDatetime(datetime):
    """Tells the time of this process; for a module that asks it for nothing else."""

    @classmethod
    def now(cls, tz: tzinfo | None = UTC) -> Any:
        """By the clock that is stepped."""
        return datetime.fromtimestamp(time.time(), tz)


class _Stepping(importlib.abc.MetaPathFinder):
    """Gives the modules that ask it another class to ask, once they are loaded."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """The usual one, with a loader that does so."""
        if name not in MODULES_THAT_ASK_DATETIME:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            load = spec.loader.exec_module

            def load_and_step(module: ModuleType) -> None:
                load(module)
                vars(module)["datetime"] = SteppedDatetime

            vars(spec.loader)["exec_module"] = load_and_step
        return spec


time.time = lambda: _true_time() + offset_seconds()
time.time_ns = lambda: _true_time_ns() + int(offset_seconds() * 1_000_000_000)
sys.meta_path.insert(0, _Stepping())
