"""Directories of servers: gone with their process, or, if that was killed, with the next one."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from ops.account import IN_USE, temporary_data_dir

USES_ONE = """
import sys, time
from pathlib import Path
from ops.account import temporary_data_dir
with temporary_data_dir(Path(sys.argv[1])) as path:
    (path / "postgres" / "base").mkdir(parents=True)
    (path / "postgres" / "base" / "1").write_text("rows")
    print(path, flush=True)
    time.sleep(600)
"""


@contextmanager
def another_process(root: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A process that uses a directory, and the directory."""
    command = [sys.executable, "-c", USES_ONE, str(root)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process, Path(process.stdout.readline().strip())
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_what_a_dead_process_left_is_removed_by_the_next(tmp_path: Path, number: signal.Signals) -> None:
    with another_process(tmp_path) as (process, left):
        process.send_signal(number)
        process.wait()
    assert (left / "postgres" / "base" / "1").exists()
    with temporary_data_dir(tmp_path) as ours:
        assert list(tmp_path.iterdir()) == [ours]
    assert list(tmp_path.iterdir()) == []


def test_what_a_process_uses_stays(tmp_path: Path) -> None:
    with another_process(tmp_path) as (_, theirs), temporary_data_dir(tmp_path) as ours:
        with temporary_data_dir(tmp_path) as another:
            assert set(tmp_path.iterdir()) == {theirs, ours, another}
        assert (theirs / "postgres" / "base" / "1").exists()


def test_what_is_none_of_ours_stays(tmp_path: Path) -> None:
    (tmp_path / "shopkeeper-of-somebody").mkdir()
    (tmp_path / "shopkeeper-file").write_text("")
    (tmp_path / "shopkeeper-link").mkdir()
    (tmp_path / "elsewhere").write_text("")
    (tmp_path / "shopkeeper-link" / IN_USE).symlink_to(tmp_path / "elsewhere")
    before = set(tmp_path.iterdir())
    with temporary_data_dir(tmp_path):
        pass
    assert set(tmp_path.iterdir()) == before


def test_what_another_user_left_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = tmp_path / "shopkeeper-theirs"
    theirs.mkdir()
    (theirs / IN_USE).write_text("")
    us = os.geteuid()
    # Only root can give a folder away; so it is we who are somebody else.
    monkeypatch.setattr(os, "geteuid", lambda: us + 1)
    with temporary_data_dir(tmp_path) as ours:
        assert set(tmp_path.iterdir()) == {theirs, ours}


def test_many_who_come_and_go_at_once_leave_each_other_alone(tmp_path: Path) -> None:
    def come_and_go() -> None:
        for _ in range(50):
            with temporary_data_dir(tmp_path) as path:
                (path / "row").write_text("")
                assert (path / IN_USE).exists()

    with ThreadPoolExecutor(8) as pool:
        for each in [pool.submit(come_and_go) for _ in range(8)]:
            each.result()
    assert list(tmp_path.iterdir()) == []
