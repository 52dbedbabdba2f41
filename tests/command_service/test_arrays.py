"""Lists reach PostgreSQL as they are, whatever they hold."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from command_service.arrays import ArrayDumper

TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
AS_LONG_AS_THE_CONNECTION = settings(
    deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
def connection(database_url: str) -> Any:
    with psycopg.connect(database_url, autocommit=True) as opened:
        opened.adapters.register_dumper(list, ArrayDumper)
        yield opened


def sent(connection: Any, items: list[Any], element_type: str) -> list[Any]:
    """What the server took the list for."""
    row = connection.execute(f"SELECT %s::{element_type}[]", [items]).fetchone()
    return list(row[0])


@AS_LONG_AS_THE_CONNECTION
@given(items=st.lists(st.one_of(TEXTS, st.sampled_from(["", "NULL", "{}", 'a"b', "\\", '","', " a "]))))
def test_texts_arrive_unchanged(connection: Any, items: list[str]) -> None:
    assert sent(connection, items, "text") == items


@AS_LONG_AS_THE_CONNECTION
@given(items=st.lists(st.one_of(st.none(), TEXTS)))
def test_absent_texts_arrive_as_null(connection: Any, items: list[str | None]) -> None:
    assert sent(connection, items, "text") == items


@pytest.mark.parametrize(
    ("element_type", "items"),
    [
        ("bigint", [-(2**63), 0, 2**63 - 1]),
        ("bigint", [1, None]),
        ("boolean", [True, None, False]),
        ("bytea", [b"", b'\0\\"\xff', None]),
        ("timestamptz", [datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC), None]),
        ("uuid", [UUID(int=0), UUID(int=2**128 - 1)]),
    ],
)
def test_values_arrive_unchanged(connection: Any, element_type: str, items: list[Any]) -> None:
    assert sent(connection, items, element_type) == items


def test_a_type_that_nobody_thought_of_is_refused(connection: Any) -> None:
    with pytest.raises(KeyError):
        sent(connection, [1.5], "float8")
