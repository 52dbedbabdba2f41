"""A disk that is full takes no more, whichever kind it is, until there is room again."""

import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO

import pytest

from ops.account import temporary_data_dir
from tests.eventually import eventually
from tests.torture.disk import Disk, LimitedDisk, small_disk

ROOT = Path(__file__).resolve().parents[2]

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


HOLD = """
import sys
from pathlib import Path
from tests.eventually import eventually
from tests.torture.disk import small_disk
with small_disk(Path(sys.argv[1])) as disk:
    (disk.path / "something").touch()
    print("there", flush=True)
    sys.stdin.read()
"""


@contextmanager
def holder(path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has such a disk until it is told to end."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "there\n"
        yield process


@pytest.mark.parametrize("end", [signal.SIGKILL, None])
async def test_a_disk_is_gone_with_whoever_had_it(end: signal.Signals | None) -> None:
    with temporary_data_dir() as folder:
        path = folder / "disk"
        with holder(path) as process:
            is_mounted = path.is_mount()
            if end is not None:
                process.send_signal(end)

        async def is_gone() -> bool:
            return not path.is_mount()

        await eventually(is_gone)
        # What is in a folder goes with that folder; what was in memory must have gone with the mount.
        assert (path / "something").exists() is not is_mounted


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


def test_a_disk_is_filled_while_somebody_writes_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        temporary_data_dir() as folder,
        small_disk(folder / "disk") as disk,
        writer(disk.path) as process,
    ):
        look = shutil.disk_usage
        looks = 0

        def look_and_be_overtaken(path: Path) -> object:
            nonlocal looks
            looks += 1
            seen = look(path)
            if looks <= 3:
                assert process.write() == "written"
            return seen

        monkeypatch.setattr(shutil, "disk_usage", look_and_be_overtaken)
        disk.fill(process.pid)
        assert process.write() in {"No space left on device", "File too large"}
