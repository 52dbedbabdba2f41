"""`verify`: a list, and an exit status to script by."""

from pathlib import Path

from tests.history_service.stored_shop import StoredShop
from tests.ops.test_cli import DONE, REFUSED, run


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
