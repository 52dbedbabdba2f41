"""The contract in protos/: well-formed, compatible with what was committed, its code up to date."""

import os
import subprocess
import sysconfig
from pathlib import Path

import pytest

from ops.generate_protos import GENERATED, REPOSITORY, ROOT_PACKAGES, generate

# The revision whose callers must not break; a pipeline names the branch it merges into.
AGAINST = os.environ.get("PROTOS_AGAINST", "HEAD")


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)


def assert_buf_accepts(*arguments: str) -> None:
    result = run(Path(sysconfig.get_path("scripts")) / "buf", *arguments)
    assert result.returncode == 0, result.stdout + result.stderr


def contents(root: Path) -> dict[str, bytes]:
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


@pytest.mark.parametrize("package", ROOT_PACKAGES)
def test_generating_again_changes_nothing(package: str, tmp_path: Path) -> None:
    generate(tmp_path)
    committed, fresh = contents(GENERATED / package), contents(tmp_path / package)
    stale = {name for name in committed | fresh if committed.get(name) != fresh.get(name)}
    assert stale == set(), "run `make generate`"


def test_the_protos_follow_the_lint_rules() -> None:
    assert_buf_accepts("lint")


def test_the_protos_are_formatted() -> None:
    assert_buf_accepts("format", "--diff", "--exit-code", "--path", "protos/shopkeeper")


def test_the_protos_break_no_caller() -> None:
    if run("git", "cat-file", "-e", f"{AGAINST}:buf.yaml").returncode:
        pytest.skip(f"{AGAINST} has no protos to compare with")
    assert_buf_accepts("breaking", "--against", f".git#ref={AGAINST}")
