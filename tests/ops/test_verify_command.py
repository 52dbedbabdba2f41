"""`verify`: a list, and an exit status to script by."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

import ops.commands.verify
from ops.cli import app
from ops.failures import ExitStatus
from ops.verify import Violation
from tests.history_service.stored_shop import StoredShop
from tests.ops.command_line import DONE, REFUSED, run


def test_a_shop_as_it_must_be_passes(database_url: str, tmp_path: Path) -> None:
    ended = run("verify", "--database-only", cwd=tmp_path, DATABASE_URL=database_url)
    assert (ended.returncode, ended.stderr) == (DONE, "")
    assert ended.stdout.endswith("everything is as it must be\n")


def test_what_is_wrong_is_listed_by_check_with_its_subject(database_url: str, tmp_path: Path) -> None:
    with StoredShop(database_url) as shop:
        shop.move("MUG", on_hand=10)
        shop.move("CUP", on_hand=10)
        shop.execute("UPDATE stock_levels SET on_hand = 12")
    ended = run(*("verify", "--database-only", "--limit", "1"), cwd=tmp_path, DATABASE_URL=database_url)
    assert ended.returncode == REFUSED
    lines = ended.stdout.splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("inv_stock_ledger: "))
    assert "CUP" in lines[at + 1] or "MUG" in lines[at + 1]
    assert lines[at + 2].startswith("  and ")


@pytest.mark.parametrize(
    ("wrong", "status", "end"),
    [
        ((), ExitStatus.UNPROVEN, "everything else is as it must be"),
        ((Violation("view stock", "stock:A", "Available is 7."),), ExitStatus.REFUSED, "Look again."),
    ],
)
def test_what_could_not_be_compared_is_told_apart(
    wrong: tuple[Violation, ...], status: ExitStatus, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def found(*_servers: str, **_rest: object) -> list[Violation]:
        return [*wrong, Violation("view stock", "stock:HOT", "Look again.", is_proven=False)]

    monkeypatch.setattr(ops.commands.verify, "find_violations", found)
    servers = {"DATABASE_URL": "postgresql://shop", "REDIS_URL": "redis://views"}
    ended = CliRunner().invoke(app, ["verify"], env=servers)
    assert ended.exit_code == status
    assert "not compared: view stock: 1\n  stock:HOT: Look again.\n" in ended.stdout
    assert ended.stdout.rstrip().endswith(end)
