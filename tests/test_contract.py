"""The contract in protos/: well-formed, compatible with what was released, its code up to date."""

import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest

from ops.generate_protos import GENERATED, PROTOS, REPOSITORY, ROOT_PACKAGES, generate

# What callers rely on, as `make contract` wrote it. What was committed since is compared with it too.
RELEASED = PROTOS / "contract.binpb"
RESPONSE = "shopkeeper/inventory/v1/inventory_query_service.proto"


def buf(*arguments: str | Path, cwd: Path = REPOSITORY) -> tuple[int, str]:
    """The exit status of buf, and what it says."""
    result = subprocess.run(
        [Path(sysconfig.get_path("scripts")) / "buf", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )
    return result.returncode, result.stdout + result.stderr


def assert_buf_accepts(*arguments: str | Path) -> None:
    status, told = buf(*arguments)
    assert status == 0, told


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
    assert_buf_accepts("breaking", "--against", RELEASED)


@pytest.mark.parametrize(
    ("line", "changed", "told"),
    [
        ("  Stock stock = 1;\n", "", 'Previously present field "1" with name "stock"'),
        ("  Stock stock = 1;\n", "  Stock found = 1;\n", 'changed name from "stock" to "found"'),
        ("  Stock stock = 1;\n", "  Stock stock = 1;\n  Stock more = 2;\n", ""),
    ],
    ids=["deleted", "renamed", "added"],
)
def test_a_field_may_be_added_and_neither_deleted_nor_renamed(
    line: str, changed: str, told: str, tmp_path: Path
) -> None:
    shutil.copytree(PROTOS, tmp_path / "protos")
    shutil.copy(REPOSITORY / "buf.yaml", tmp_path)
    proto = tmp_path / "protos" / RESPONSE
    proto.write_text(proto.read_text().replace(line, changed, 1))
    status, found = buf("breaking", "--against", RELEASED, cwd=tmp_path)
    assert (status == 0) is (told == "")
    assert told in found
