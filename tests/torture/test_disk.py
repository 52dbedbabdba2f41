"""A disk that is full takes no more, whichever kind it is, until there is room again."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO

import pytest

from ops.account import temporary_data_dir
from tests.torture.disk import Disk, LimitedDisk, small_disk

# Like PostgreSQL, which wants to hear of it and not to be killed.
WRITE = """
import os, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
for number, _ in enumerate(sys.stdin):
    try:
        with open(os.path.join(sys.argv[1], str(number)), "wb", buffering=0) as file:
            for _ in range(16):
                file.write(bytes(65536))
        print("written", flush=True)
    except OSError as error:
        print(os.strerror(error.errno), flush=True)
"""


class Writer:
    """A process that writes a megabyte whenever it is asked."""

    def __init__(self, pid: int, asked: IO[str], told: IO[str]) -> None:
        self.pid = pid
        self._asked = asked
        self._told = told

    def write(self) -> str:
        self._asked.write("write\n")
        self._asked.flush()
        return self._told.readline().strip()


@contextmanager
def writer(path: Path) -> Iterator[Writer]:
    process = subprocess.Popen(
        [sys.executable, "-c", WRITE, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process:
        yield Writer(process.pid, process.stdin, process.stdout)
        process.stdin.close()


@contextmanager
def limited_disk(path: Path) -> Iterator[Disk]:
    path.mkdir()
    yield LimitedDisk(path)


@pytest.mark.parametrize("make", [small_disk, limited_disk])
def test_a_full_disk_takes_no_more_until_there_is_room_again(
    make: Callable[[Path], AbstractContextManager[Disk]],
) -> None:
    with (
        temporary_data_dir() as folder,
        make(folder / "disk") as disk,
        writer(disk.path) as process,
    ):
        assert process.write() == "written"
        disk.fill(process.pid)
        assert process.write() in {"No space left on device", "File too large"}
        disk.free(process.pid)
        assert process.write() == "written"
