"""What docs/operations.md tells an operator to type, typed into the psql that comes with the server."""

import subprocess
from pathlib import Path

import pytest

from ops.account import postgres_programs, unprivileged
from tests.history_service.stored_shop import StoredShop

OPERATIONS = Path(__file__).resolve().parents[3] / "docs" / "operations.md"


@pytest.fixture
def lawless(shop: StoredShop) -> StoredShop:
    """A shop in which somebody wrote to the table."""
    shop.execute("UPDATE stock_levels SET on_hand = on_hand + 1 WHERE sku_id = 'A'")
    return shop


def psql(database_url: str, command: str) -> str:
    ended = subprocess.run(
        [str(postgres_programs(unprivileged()) / "psql"), database_url, "-X", "-A", "-c", command],
        capture_output=True,
        check=True,
        text=True,
        timeout=60,
        env={"PAGER": "", "LC_ALL": "C.UTF-8"},
    )
    return ended.stdout


def typed() -> list[str]:
    """The commands of the passage."""
    passage = OPERATIONS.read_text().partition("## The invariants, with psql")[2].partition("\n## ")[0]
    lines = [line.strip() for line in passage.splitlines() if line.startswith("    psql ")]
    return [line.split('-c "')[1].split('"')[0] for line in lines]


def test_the_passage_has_the_commands_that_are_tried_here() -> None:
    assert typed() == [
        "SELECT * FROM broken_invariants()",
        "SELECT * FROM inv_stock_ledger LIMIT 20",
        "\\dv+ inv_*",
    ]


@pytest.mark.breaks_invariants("inv_stock_ledger")
def test_broken_rules_are_told_with_their_words(lawless: StoredShop, database_url: str) -> None:
    told = psql(database_url, typed()[0]).splitlines()
    assert told[1:-1] == ["inv_stock_ledger|1|Each stock counter equals the sum of its movements."]


@pytest.mark.breaks_invariants("inv_stock_ledger")
def test_the_rows_that_break_a_rule_are_told(lawless: StoredShop, database_url: str) -> None:
    told = psql(database_url, typed()[1]).splitlines()
    assert told[0] == "sku_id|location_id|counter|stored|ledger"
    assert told[1].startswith("A|main|on_hand|")


def test_every_rule_is_listed_with_its_words(shop: StoredShop, database_url: str) -> None:
    told = psql(database_url, typed()[2])
    views = shop.rows("SELECT viewname::text FROM pg_views WHERE starts_with(viewname::text, 'inv_')")
    assert [name for (name,) in views if f"|{name}|" not in told] == []
    assert "The entries of each event sum to zero." in told
