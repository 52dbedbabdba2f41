"""The migrated database is what the tables in the code say."""

from concurrent.futures import ProcessPoolExecutor
from itertools import chain
from multiprocessing import get_context

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from event_log.schema import REVISION
from ops.migrate import engine_for, migrate
from ops.schema import all_tables

DEFINITIONS = """
SELECT relname, conname, pg_get_constraintdef(pg_constraint.oid)
FROM pg_constraint JOIN pg_class ON pg_class.oid = conrelid
WHERE contype IN ('c', 'f', 'p', 'u') AND relnamespace = 'public'::regnamespace
UNION ALL SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'
"""


@pytest.fixture
def made_of_code_url(empty_database_url: str) -> str:
    """A database with the tables as the code states them, without any migration."""
    engine = engine_for(empty_database_url)
    all_tables().create_all(engine)
    engine.dispose()
    return empty_database_url


def test_migrations_make_the_tables_of_the_code(database_url: str) -> None:
    with engine_for(database_url).connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True}
        )
        differences = compare_metadata(context, all_tables())
    # Alembic's own table is the only one that the code does not know.
    assert [d for d in differences if not _is_of_alembic(d)] == []


def test_every_constraint_and_index_reads_the_same_in_the_code_and_in_the_database(
    database_url: str, made_of_code_url: str
) -> None:
    """Alembic does not compare CHECK constraints; they are our last line of defence.

    PostgreSQL is asked how it has understood them, so that spelling makes no difference.
    """
    migrated, stated = definitions(database_url), definitions(made_of_code_url)
    assert {d for d in migrated if not _is_of_alembic(d)} == stated
    assert sum("CHECK" in text for _, _, text in stated) > 50


def definitions(database_url: str) -> set[tuple[str, str, str]]:
    """Table, name and text of each constraint and index."""
    with psycopg.connect(database_url) as connection:
        return {(row[0], row[1], row[2]) for row in connection.execute(DEFINITIONS)}


def _is_of_alembic(difference: object) -> bool:
    return "alembic_version" in str(difference)


def test_two_migrators_at_once_apply_each_step_once(empty_database_url: str) -> None:
    """Also where one builds an index, which waits for every transaction there is."""
    with ProcessPoolExecutor(2, get_context("spawn")) as migrators:
        steps = list(chain.from_iterable(migrators.map(steps_applied, [empty_database_url] * 2)))
    assert len(set(steps)) == len(steps)
    assert any(f"-> {REVISION}" in step for step in steps)


def steps_applied(database_url: str) -> list[str]:
    """Migrates, in a process of its own."""
    steps: list[str] = []
    migrate(database_url, on_step=steps.append)
    return steps
