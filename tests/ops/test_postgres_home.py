"""Where root's PostgreSQL, which runs as `nobody`, keeps a shop: nowhere that it could be lost."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from ops import postgres_home as homes
from ops.account import NOBODY, NoPlaceToRun, temporary_data_dir
from ops.embedded import CLUSTER
from ops.postgres_home import ELSEWHERE, leave_word, postgres_home
from ops.servers import shop_postgres
from ops.whereabouts import DEFAULT_DATA_DIR

AS_ROOT = os.geteuid() == 0
# Everybody else's PostgreSQL can enter whatever they can.
pytestmark = pytest.mark.skipif(not AS_ROOT, reason="only root's PostgreSQL runs as somebody else")


@pytest.fixture
def open_dir() -> Iterator[Path]:
    """A directory that everybody may enter."""
    with temporary_data_dir() as path:
        yield path


@pytest.fixture
def state(open_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What stands for /var/lib/shopkeeper."""
    monkeypatch.setattr(homes, "STATE", open_dir / "state")
    return open_dir / "state"


@pytest.fixture
def closed(tmp_path: Path) -> Path:
    """Where data are wanted, in a directory that root alone can enter."""
    tmp_path.chmod(0o700)
    return tmp_path / "postgres"


def make_shop(home: Path) -> None:
    (home / CLUSTER).mkdir(parents=True)


def homes_of_shop(closed: Path) -> tuple[Path, Path]:
    """Where it belongs, and where an earlier version has put it in the temporary directory."""
    home = postgres_home(closed, is_chosen=False)
    former = Path(tempfile.gettempdir()) / f"shopkeeper-{home.name}"
    make_shop(former)
    return home, former


def test_a_directory_that_can_be_entered_is_taken(open_dir: Path) -> None:
    for is_chosen in (True, False):
        assert postgres_home(open_dir / "shop", is_chosen=is_chosen) == open_dir / "shop"


def test_directories_that_are_missing_can_be_entered_whatever_the_umask_is(open_dir: Path) -> None:
    before = os.umask(0o077)
    try:
        home = postgres_home(open_dir / "a" / "b", is_chosen=True)
    finally:
        os.umask(before)
    assert NOBODY.may_execute(home)


def test_a_chosen_directory_that_is_closed_is_refused_with_what_to_choose(
    closed: Path, state: Path
) -> None:
    with pytest.raises(NoPlaceToRun, match=r"cannot enter .*SHOPKEEPER_DATA_DIR=/srv/shopkeeper"):
        postgres_home(closed, is_chosen=True)
    assert not state.exists()


def test_a_shop_in_a_closed_default_directory_lasts_elsewhere_and_is_found_again(
    closed: Path, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(closed.parent)
    with shop_postgres(DEFAULT_DATA_DIR) as server, psycopg.connect(server.url()) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 7 AS number")
    wanted = closed.parent / DEFAULT_DATA_DIR / "postgres"
    assert server.data_dir.parent == state
    assert (wanted / ELSEWHERE).read_text() == f"{server.data_dir}\n"
    # Wherever temporary files are now, and though the directory has been opened meanwhile.
    monkeypatch.setenv("TMPDIR", str(state))
    monkeypatch.setattr(tempfile, "tempdir", None)
    for mode in (0o700, 0o755):
        closed.parent.chmod(mode)
        with shop_postgres(DEFAULT_DATA_DIR) as again, psycopg.connect(again.url()) as connection:
            assert connection.execute("SELECT number FROM kept").fetchone() == (7,)
        assert again.data_dir == server.data_dir


def test_a_shop_that_was_put_elsewhere_and_is_gone_is_not_begun_anew(closed: Path, state: Path) -> None:
    home = postgres_home(closed, is_chosen=False)
    leave_word(closed, home)
    with pytest.raises(NoPlaceToRun, match="not there any more") as refusal:
        postgres_home(closed, is_chosen=False)
    assert str(home) in str(refusal.value)
    (closed / ELSEWHERE).unlink()
    assert postgres_home(closed, is_chosen=False) == home


def test_a_shop_in_a_directory_that_was_closed_since_is_not_begun_anew(
    closed: Path, state: Path
) -> None:
    make_shop(closed)
    for is_chosen in (True, False):
        with pytest.raises(NoPlaceToRun, match="can no longer enter"):
            postgres_home(closed, is_chosen=is_chosen)
    assert not state.exists()


def test_a_shop_that_lies_in_the_temporary_directory_is_told_and_can_be_taken_along(
    closed: Path, state: Path, monkeypatch: pytest.MonkeyPatch, open_dir: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(open_dir / "tmp"))
    home, former = homes_of_shop(closed)
    with pytest.raises(NoPlaceToRun, match=rf"mv -T {former} {home}"):
        postgres_home(closed, is_chosen=False)
    with pytest.raises(NoPlaceToRun, match=f"are in {former}"):
        postgres_home(closed, is_chosen=True)
    former.rename(home)
    assert postgres_home(closed, is_chosen=False) == home


def test_a_folder_that_somebody_else_made_in_the_temporary_directory_is_no_shop_of_ours(
    closed: Path, state: Path, monkeypatch: pytest.MonkeyPatch, open_dir: Path
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(open_dir / "tmp"))
    home, former = homes_of_shop(closed)
    NOBODY.owns(former)
    assert postgres_home(closed, is_chosen=False) == home


def test_a_state_directory_that_cannot_be_used_is_told_with_what_to_choose(
    closed: Path, state: Path
) -> None:
    state.write_text("a file")
    with pytest.raises(NoPlaceToRun, match=r"SHOPKEEPER_DATA_DIR="):
        postgres_home(closed, is_chosen=False)
