"""A disk that can be full: PostgreSQL's data and its log on a file system of its own, in memory.

To mount one takes root. Without that, a limit on the size of files does nearly the same: what is written
beyond it fails (EFBIG), with the same severity for the server as a disk that is full (ENOSPC).
"""

import contextlib
import os
import shutil
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ops.account import NOBODY, OURSELVES, Account

DISK_BYTES = 4 * 2**30
"""More than a torture of hours writes; memory is taken only for what is written."""

ROOM_BYTES = 1024 * 1024
"""What the server may write between our look at a disk and our making it smaller."""
FILLER_BLOCK_BYTES = 4096
"""A page of memory: on a disk that has no room for one more there is no room at all."""

FILE_BYTES_MAX_WHEN_FULL = 64 * 1024


class Disk(ABC):
    """Where PostgreSQL's data is."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @abstractmethod
    def fill(self, postgres_pid: int) -> None:
        """From now on there is no room; said again, none of what has been freed since."""

    @abstractmethod
    def free(self, postgres_pid: int | None) -> None:
        """There is room again. postgres_pid: None when the server has ended."""


class MountedDisk(Disk):
    """A tmpfs: it is made as small as what it holds, nearly, and a file takes what is left."""

    def fill(self, postgres_pid: int) -> None:
        """Leaves no room, whatever is written meanwhile."""
        room_bytes = ROOM_BYTES
        # Between our look and the mount the server writes: what no longer fits is refused.
        while not self._shrink(room_bytes):
            room_bytes *= 2
        with self._filler.open("ab", buffering=0) as filler, contextlib.suppress(OSError):
            while True:
                filler.write(bytes(FILLER_BLOCK_BYTES))

    @property
    def _filler(self) -> Path:
        return self.path / "filler"

    def _shrink(self, room_bytes: int) -> bool:
        used_bytes = shutil.disk_usage(self.path).used
        if used_bytes + room_bytes > DISK_BYTES:
            raise OSError(f"{self.path} cannot be made smaller than it is")
        return _run("mount", "-o", f"remount,size={used_bytes + room_bytes}", str(self.path))

    def free(self, postgres_pid: int | None) -> None:
        """Gives it its size back."""
        if not _run("mount", "-o", f"remount,size={DISK_BYTES}", str(self.path)):
            raise OSError(f"{self.path} cannot be given its size back")
        self._filler.unlink(missing_ok=True)


class LimitedDisk(Disk):
    """A folder; the server's processes may write only to the first bytes of each file."""

    def fill(self, postgres_pid: int) -> None:
        """Limits the server and all that it has started."""
        self._limit(postgres_pid, FILE_BYTES_MAX_WHEN_FULL)

    def free(self, postgres_pid: int | None) -> None:
        """Lifts the limit."""
        if postgres_pid is not None:
            self._limit(postgres_pid, "unlimited")

    def _limit(self, postgres_pid: int, file_bytes_max: int | str) -> None:
        # By whoever the process belongs to: not even root may do so to others everywhere.
        owner = _owner_of(postgres_pid)
        for pid in (postgres_pid, *_children_of(postgres_pid)):
            told = owner.run(["prlimit", f"--pid={pid}", f"--fsize={file_bytes_max}:unlimited"])
            # A child may have ended since; the server itself must have been reached.
            if pid == postgres_pid and told.returncode:
                raise OSError(told.stderr)


@contextmanager
def small_disk(path: Path) -> Iterator[Disk]:
    """A disk of its own at `path`, the most honest one that this account may have."""
    path.mkdir()
    if not _may_mount(path):
        yield LimitedDisk(path)
        return
    with _unmounted_when_we_end(path):
        yield MountedDisk(path)


@contextmanager
def _unmounted_when_we_end(path: Path) -> Iterator[None]:
    """Unmounts at the end of the block or of this process, like the Watcher of ops/child_process.py."""
    with subprocess.Popen(
        ["/bin/sh", "-c", 'read -r line; umount --lazy "$1"', "sh", str(path)],
        cwd="/",
        # A session of its own: killing our whole process group must not kill it first.
        start_new_session=True,
        stdin=subprocess.PIPE,
    ):
        yield


def _may_mount(path: Path) -> bool:
    if os.geteuid() != 0:
        return False
    return _run("mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=711", "torture", str(path))


def _run(*command: str) -> bool:
    """Whether it did what it was to."""
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def _owner_of(pid: int) -> Account:
    return OURSELVES if Path(f"/proc/{pid}").owner() == Path("/proc/self").owner() else NOBODY


def _children_of(parent_pid: int) -> list[int]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            # The name of a program, in parentheses, may hold spaces.
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(fields[1]) == parent_pid:
                found.append(int(folder.name))
    return found
