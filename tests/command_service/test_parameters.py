"""Parameters reach PostgreSQL as they are, whatever they hold."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from command_service.database_failures import Unacceptable
from command_service.parameters import in_text_form
from command_service.pipeline import Statement
from command_service.session import Session

TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
ODD_TEXTS = st.sampled_from(["", "NULL", "{}", 'a"b', "\\", '","', " a ", "\\x00"])
AS_LONG_AS_THE_CONNECTION = settings(
    deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
VALUES: dict[str, list[Any]] = {
    "bigint": [-(2**63), 0, 2**63 - 1],
    "boolean": [True, False],
    "bytea": [b"", b'\0\\"\xff'],
    "interval": [timedelta(days=30), timedelta(milliseconds=1)],
    "timestamptz": [datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)],
    "uuid": [UUID(int=0), UUID(int=2**128 - 1)],
}


class Server:
    """Asks a real server what it took a parameter for."""

    def __init__(self, database_url: str) -> None:
        self._runner = asyncio.Runner()
        self._session = Session(database_url, "tests")
        self._runner.run(self._session.connect())

    def took(self, value: object, of_type: str) -> Any:
        """The value, as it came back."""
        [[(back,)]] = self._runner.run(self._session.run([Statement(f"SELECT %s::{of_type}", (value,))]))
        return back

    def close(self) -> None:
        self._session.drop()
        self._runner.close()


@pytest.fixture
def server(database_url: str) -> Iterator[Server]:
    opened = Server(database_url)
    yield opened
    opened.close()


@AS_LONG_AS_THE_CONNECTION
@given(items=st.lists(st.one_of(TEXTS, ODD_TEXTS)))
def test_texts_arrive_unchanged(server: Server, items: list[str]) -> None:
    assert server.took(items, "text[]") == items


@AS_LONG_AS_THE_CONNECTION
@given(items=st.lists(st.one_of(st.none(), TEXTS)))
def test_absent_texts_arrive_as_null(server: Server, items: list[str | None]) -> None:
    assert server.took(items, "text[]") == items


@AS_LONG_AS_THE_CONNECTION
@given(text=st.one_of(TEXTS, ODD_TEXTS))
def test_a_text_arrives_unchanged(server: Server, text: str) -> None:
    assert server.took(text, "text") == text


@pytest.mark.parametrize("of_type", VALUES)
def test_values_arrive_unchanged(server: Server, of_type: str) -> None:
    values = VALUES[of_type]
    assert [server.took(value, of_type) for value in values] == values
    assert server.took([*values, None], f"{of_type}[]") == [*values, None]
    assert server.took(values, f"{of_type}[]") == values


def test_nothing_arrives_as_null(server: Server) -> None:
    assert server.took(None, "text") is None
    assert server.took([], "text[]") == []


@pytest.mark.parametrize("value", ["a\0b", ["a", "\0"]])
def test_a_text_that_would_be_cut_short_is_refused(server: Server, value: object) -> None:
    with pytest.raises(Unacceptable):
        server.took(value, "text[]" if isinstance(value, list) else "text")
    # Nothing was sent, so nothing is left behind.
    assert server.took("a", "text") == "a"


@pytest.mark.parametrize("value", [1.5, [1.5], (1, 2)])
def test_a_type_that_nobody_thought_of_is_refused(value: object) -> None:
    with pytest.raises(KeyError):
        in_text_form(value)
