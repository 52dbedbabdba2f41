"""What faults cause is told apart from what they never do."""

import psycopg
import pytest

from tests.torture.running import is_away, minutes_played


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


def test_a_run_that_broke_off_says_how_long_it_was() -> None:
    assert minutes_played(600.0, 571.2, is_whole=True) == 10.0
    assert minutes_played(600.0, 61.2, is_whole=False) == 1.02
    assert minutes_played(600.0, 640.0, is_whole=False) == 10.0
