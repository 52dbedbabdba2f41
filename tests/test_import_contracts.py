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


CONTEXTS = ("catalog", "pricing", "cart", "inventory", "ordering", "payment", "checkout")
IMPURE = ("__init__", "servicer", "repository", "tables", "ledger", "order_numbers", "gateway")
"""SQL, servicers and calls to the outside world, by the ends of their names."""
WORKERS = (
    "command_service.checkout.expiry",
    "command_service.checkout.lookouts",
    "command_service.checkout.payment_alarms",
    "command_service.checkout.payment_driver",
    "command_service.checkout.payment_worker",
    "command_service.checkout.price_windows",
)


def modules_that_decide() -> list[str]:
    """Every module of a context or of checkout that has no business with the outside world."""
    paths = [path for context in CONTEXTS for path in (ROOT / "command_service" / context).glob("*.py")]
    names = sorted(
        f"command_service.{path.parent.name}.{path.stem}"
        for path in paths
        if not path.stem.endswith(IMPURE)
    )
    return [name for name in names if name not in WORKERS]


def forbidden_imports(contract: dict[str, Any]) -> list[tuple[str, str]]:
    """Modules that the contract watches, each with an import that it forbids there."""
    if contract["type"] == "independence":
        first, second = contract["modules"][:2]
        return [(f"{first}.domain", f"{second}.domain")]
    forbidden = contract["forbidden_modules"][-1]
    if contract["id"] == "decisions-are-pure":
        return [(module, "psycopg") for module in modules_that_decide()]
    return [(module, forbidden) for module in contract["source_modules"][:1]]


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda contract: contract["id"])
def test_a_forbidden_import_is_found(contract: dict[str, Any], tmp_path: Path) -> None:
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("*.pyc"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    broken = forbidden_imports(contract)
    for module, forbidden in broken:
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
    assert [pair for pair in broken if f"{pair[0]} -> {pair[1]} " not in finished.stdout] == []
