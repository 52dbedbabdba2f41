"""Incarnations: each is newer than all before it, also those that a restored database forgot."""

from datetime import UTC, datetime, timedelta

import psycopg

from event_log.tokens import next_incarnation

NOW = datetime(2026, 10, 11, 12, 13, 14, tzinfo=UTC)


def test_an_incarnation_is_the_second_in_which_it_was_made() -> None:
    assert next_incarnation("00000000", NOW) == "6acb7d5a"
    assert int("6acb7d5a", 16) == NOW.timestamp()


def test_of_two_the_greater_text_is_the_newer_also_when_the_clock_stands_or_goes_back() -> None:
    first = next_incarnation("00000000", NOW)
    second = next_incarnation(first, NOW)
    third = next_incarnation(second, NOW - timedelta(days=1))
    assert first < second < third


def test_the_same_backup_restored_twice_gives_two_incarnations() -> None:
    of_backup = next_incarnation("00000000", NOW)
    once = next_incarnation(of_backup, NOW + timedelta(days=1))
    again = next_incarnation(of_backup, NOW + timedelta(days=2))
    assert of_backup < once < again


def test_the_first_incarnation_of_a_database_is_such_a_second_too(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        row = connection.execute("SELECT incarnation, create_time FROM log_incarnation").fetchone()
    assert row is not None
    assert abs(int(row[0], 16) - row[1].timestamp()) <= 1
