"""`verify`: a list, and an exit status to script by."""

import re
from pathlib import Path

import psycopg
import pytest
from typer.testing import CliRunner

import ops.commands.verify
from ops.cli import app
from ops.failures import ExitStatus
from ops.verify import Examination, Violation
from ops.verify.next_steps import BY_CHECK, BY_SUBJECT, OF_A_VIEW, next_step
from tests.history_service.stored_shop import StoredShop
from tests.ops.command_line import DONE, REFUSED, run


def test_a_shop_as_it_must_be_passes(database_url: str, tmp_path: Path) -> None:
    ended = run("verify", "--database-only", cwd=tmp_path, DATABASE_URL=database_url)
    assert (ended.returncode, ended.stderr) == (DONE, "")
    check_count = rule_count(database_url)
    assert check_count > 40
    told = f"everything is as it must be\nverify: checks={check_count} views=0 violations=0\n"
    assert ended.stdout.endswith(told)


def rule_count(database_url: str) -> int:
    with psycopg.connect(database_url) as connection:
        views = "SELECT count(*) FROM pg_views WHERE starts_with(viewname::text, 'inv_')"
        row = connection.execute(views).fetchone()
    assert row is not None
    return int(row[0])


@pytest.mark.breaks_invariants("inv_stock_ledger")
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
    sku_id = "CUP" if "CUP" in lines[at + 1] else "MUG"
    assert lines[at + 3] == (
        f"  next: `shopkeeper explain stock {sku_id}` lists its movements;"
        f" `shopkeeper repair stock {sku_id}` makes its counters their sums"
    )
    assert lines[-1] == f"verify: checks={rule_count(database_url)} views=0 violations=2"


@pytest.mark.parametrize(
    ("wrong", "status", "end"),
    [
        (
            (),
            ExitStatus.UNPROVEN,
            "Look again.\neverything else is as it must be\nverify: checks=44 views=8 violations=0\n",
        ),
        (
            (Violation("view stock", "stock:A", "Available is 7."),),
            ExitStatus.REFUSED,
            "Look again.\nverify: checks=44 views=8 violations=1\n",
        ),
    ],
)
def test_what_could_not_be_compared_is_told_apart(
    wrong: tuple[Violation, ...], status: ExitStatus, end: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def found(*_servers: str, **_rest: object) -> Examination:
        hot = Violation("view stock", "stock:HOT", "Look again.", is_proven=False)
        return Examination(44, 8, [*wrong, hot])

    monkeypatch.setattr(ops.commands.verify, "examine", found)
    servers = {"DATABASE_URL": "postgresql://shop", "REDIS_URL": "redis://views"}
    ended = CliRunner().invoke(app, ["verify"], env=servers)
    assert ended.exit_code == status
    assert "not compared: view stock: 1\n  stock:HOT: Look again.\n" in ended.stdout
    assert ended.stdout.endswith(end)


@pytest.mark.parametrize(
    ("check", "subject", "told"),
    [
        ("inv_stock_reserved", "sku_id MUG", "`shopkeeper explain stock MUG`"),
        ("inv_stock_reserved", "sku_id a mug", "`shopkeeper explain stock 'a mug'`"),
        ("inv_order_states", "order_id o1", "`shopkeeper explain order o1`"),
        ("inv_order_totals", "order_id o1", "`shopkeeper explain total order o1`"),
        ("inv_cart_totals", "cart_id c1", "`shopkeeper explain total cart c1`"),
        (
            "view stock",
            "stock:MUG",
            "`shopkeeper explain stock MUG` tells what it must be; `shopkeeper re",
        ),
        ("view cart", "cart:c1", "`shopkeeper rebuild` makes all views anew"),
        ("read models", "partition 3", "look at the log of `projections`"),
        ("inv_orders_overdue", "order_id o1", "look again in a minute"),
        ("inv_log_gaps", "position 7", '`psql "$DATABASE_URL" -c "SELECT * FROM inv_log_gaps"`'),
    ],
)
def test_each_violation_says_what_to_do_next(check: str, subject: str, told: str) -> None:
    assert next_step(Violation(check, subject, "")).startswith(told)


def test_every_command_that_is_advised_exists() -> None:
    steps = (*BY_CHECK.values(), *BY_SUBJECT.values(), OF_A_VIEW)
    advised = re.findall(r"`shopkeeper ([^`{]+?) ?(?:\{id\})?`", " ".join(steps))
    assert len(set(advised)) == 7
    for command in advised:
        ended = CliRunner().invoke(app, [*command.split(), "--help"])
        assert ended.exit_code == ExitStatus.DONE, command
