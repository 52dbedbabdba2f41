"""What a process uses, seen from outside."""

from typing import NamedTuple

import psutil


class Usage(NamedTuple):
    """Resident memory in KiB, and open file descriptors."""

    resident_kib: int
    file_count: int


def usage_of(pid: int) -> Usage:
    """Of a process that runs."""
    process = psutil.Process(pid)
    return Usage(process.memory_info().rss // 1024, process.num_fds())
