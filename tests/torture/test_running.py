"""What faults cause is told apart from what they never do."""

import psycopg
import pytest

from tests.torture.running import is_away


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (psycopg.errors.ConnectionFailure(), True),
        (psycopg.errors.AdminShutdown(), True),
        (psycopg.errors.DiskFull(), True),
        (psycopg.errors.InternalError_("could not write: File too large"), True),
        (psycopg.errors.DataCorrupted("invalid page"), False),
        (psycopg.errors.UndefinedColumn(), False),
    ],
)
def test_only_a_database_that_is_away_excuses_an_inspection(
    error: psycopg.Error, expected: bool
) -> None:
    assert is_away(error) is expected
