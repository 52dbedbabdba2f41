"""The rules that stand in the database as views, asked after every test that used a shop's database."""

from collections.abc import Collection
from typing import Any

import psycopg
import pytest

MARKER = "breaks_invariants"

SWEPT = frozenset(
    (
        "inv_orders_overdue",
        "inv_reservations_overdue",
        "inv_carts_overdue",
        "inv_price_windows_overdue",
    )
)
"""What a service at work puts right within seconds, and a test without one does not."""

RAN_COMMANDS = "SELECT EXISTS (SELECT FROM requests)"
ROWS_TOLD_MAX = 5

# A transaction that a test has left open must not hold up those after it.
OPTIONS = "-c lock_timeout=10s -c statement_timeout=60s -c jit=off"


def broken_invariants(
    database_url: str, *, but: Collection[str] = ()
) -> dict[str, list[tuple[Any, ...]]]:
    """A few rows of every rule that does not hold, by the name of its view.

    but: rules that are not asked for.
    """
    with psycopg.connect(database_url, autocommit=True, options=OPTIONS) as connection:
        names = [str(name) for name, *_ in connection.execute("SELECT * FROM broken_invariants()")]
        return {
            name: connection.execute(f"SELECT * FROM {name} LIMIT {ROWS_TOLD_MAX}".encode()).fetchall()
            for name in names
            if name not in but
        }


def broken_afterwards(database_url: str) -> dict[str, list[tuple[Any, ...]]]:
    """What a test leaves behind that must not be. Where no command was carried out, nothing is asked."""
    with psycopg.connect(database_url, autocommit=True, options=OPTIONS) as connection:
        row = connection.execute(RAN_COMMANDS).fetchone()
    return broken_invariants(database_url, but=SWEPT) if row == (True,) else {}


def require_unbroken(database_url: str, node: pytest.Item) -> None:
    """Fails if the test broke a rule, or broke none of those that its marker names.

    Without names the marker stands for a test that writes rows which no command would.
    """
    marker = node.get_closest_marker(MARKER)
    if marker is not None and not marker.args:
        return
    expected = set(marker.args) if marker is not None else set()
    broken = broken_afterwards(database_url)
    assert broken.keys() == expected, f"{node.nodeid} leaves broken invariants: {broken}"
