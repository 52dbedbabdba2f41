"""Where a shop's own PostgreSQL keeps what must last: never below a temporary directory.

PostgreSQL does not run as root. Started by root it runs as `nobody`, who often cannot enter the data
directory: root's home is closed to it. What lies in a temporary directory instead may be in memory
only, is cleaned away by the system, and is not found again under another TMPDIR.
"""

import hashlib
import os
import tempfile
from pathlib import Path

from ops.account import (
    OURSELVES,
    Account,
    NoPlaceToRun,
    make_passable,
    own_folder,
    unprivileged,
)
from ops.embedded import CLUSTER

STATE = Path("/var/lib/shopkeeper")
"""Where data lie that cannot lie where they were wanted, each in a folder of its own."""

ELSEWHERE = "data_is_in"
"""A file where data were wanted that names where they are."""

CHOOSE = "choose one that everybody may enter, such as SHOPKEEPER_DATA_DIR=/srv/shopkeeper"


def postgres_home(wanted: Path, *, is_chosen: bool) -> Path:
    """Where the data are, or will be: `wanted`, unless that is closed to PostgreSQL's account.

    is_chosen: somebody named the directory, so that none other may take its place.

    Raises:
        NoPlaceToRun: there is none, or a shop that was there would be passed over for an empty one.
    """
    wanted, account = wanted.absolute(), unprivileged()
    if account == OURSELVES:
        return wanted
    make_passable(wanted)
    home = _home(wanted, account, is_chosen=is_chosen)
    if not (home / CLUSTER).exists():
        _refuse_to_pass_over_a_shop(wanted, home)
    return home


def leave_word(wanted: Path, home: Path) -> None:
    """Tells, where data were wanted, where they are; once there are any."""
    if home != wanted.absolute():
        (wanted / ELSEWHERE).write_text(f"{home}\n", encoding="utf-8")


def _home(wanted: Path, account: Account, *, is_chosen: bool) -> Path:
    if told := _told_elsewhere(wanted):
        return told
    if account.may_execute(wanted):
        return wanted
    if (wanted / CLUSTER).exists():
        raise NoPlaceToRun(
            f"the shop's data are in {wanted}, and PostgreSQL, which runs as `nobody` if root starts it,"
            " can no longer enter there: let everybody pass (chmod o+x) each directory on the way"
        )
    if is_chosen:
        raise _closed(wanted, "")
    return _substitute(wanted, account)


def _told_elsewhere(wanted: Path) -> Path | None:
    """Where the data were put when `wanted` was closed, whether or not it is now."""
    try:
        told = Path((wanted / ELSEWHERE).read_text(encoding="utf-8").strip())
    except FileNotFoundError:
        return None
    if not (told / CLUSTER).exists():
        raise NoPlaceToRun(
            f"the shop of {wanted} had its data in {told}, and they are not there any more. Bring them"
            f" back; or, to begin an empty shop, delete {wanted / ELSEWHERE}"
        )
    return told


def _substitute(wanted: Path, account: Account) -> Path:
    try:
        home = own_folder(own_folder(STATE) / _digest(wanted))
    except OSError as error:
        raise _closed(wanted, f", and {STATE} cannot take its place ({error.strerror})") from error
    if not account.may_execute(home):
        raise _closed(wanted, f", nor {home}")
    return home


def _closed(wanted: Path, nor: str) -> NoPlaceToRun:
    return NoPlaceToRun(
        f"PostgreSQL, which runs as `nobody` if root starts it, cannot enter {wanted}{nor}: {CHOOSE}"
        + "".join(
            f". The data of the shop that was here are in {place}: take them along, to where you choose:"
            f" mv -T {place} DIRECTORY/postgres"
            for place in _former(wanted)
        )
    )


def _refuse_to_pass_over_a_shop(wanted: Path, home: Path) -> None:
    for place in _former(wanted):
        raise NoPlaceToRun(
            f"the shop of {wanted} has its data in {place}, a temporary place where they would not last."
            f" Take them along: mv -T {place} {home}; or, to begin an empty shop, delete them"
        )


def _former(wanted: Path) -> list[Path]:
    """Where an earlier version put a shop whose directory was closed, if it did."""
    folders = dict.fromkeys((tempfile.gettempdir(), "/tmp", "/var/tmp"))  # noqa: S108 not to be used
    places = [Path(folder) / f"shopkeeper-{_digest(wanted)}" for folder in folders]
    # Anybody can make a folder of that name there.
    return [each for each in places if (each / CLUSTER).exists() and each.stat().st_uid == os.geteuid()]


def _digest(wanted: Path) -> str:
    return hashlib.sha256(os.fsencode(wanted)).hexdigest()[:12]
