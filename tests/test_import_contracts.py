"""The arrows between the packages can fail: each contract, broken on purpose, is reported."""

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
PACKAGES = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["root_packages"]


def forbidden_import(contract: dict[str, Any]) -> tuple[str, str]:
    """A module that the contract watches, and an import that it forbids there."""
    if contract["type"] == "independence":
        first, second = contract["modules"][:2]
        return f"{first}.domain", f"{second}.domain"
    watched = contract["source_modules"][0].replace("*", "pricing")
    forbidden = contract["forbidden_modules"][-1]
    return watched, forbidden


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda contract: contract["id"])
def test_a_forbidden_import_is_found(contract: dict[str, Any], tmp_path: Path) -> None:
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("*.pyc"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    module, forbidden = forbidden_import(contract)
    path = tmp_path / Path(*module.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    file.write_text(f"{file.read_text()}\nimport {forbidden}\n")
    command = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    finished = subprocess.run(
        [sys.executable, "-c", command, "--contract", str(contract["id"]), "--no-cache"],
        cwd=tmp_path,
        env={"PYTHONPATH": f"{tmp_path}:{ROOT / 'generated'}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 1, finished.stdout + finished.stderr
    assert f"{contract['name']} BROKEN" in finished.stdout
