"""The migrated database is what the tables in the code say."""

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from ops.migrate import engine_for
from ops.schema import all_tables

CONSTRAINTS = """
SELECT relname, conname FROM pg_constraint JOIN pg_class ON pg_class.oid = conrelid
WHERE contype = 'c' AND relnamespace = 'public'::regnamespace
"""


def test_migrations_make_the_tables_of_the_code(database_url: str) -> None:
    with engine_for(database_url).connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True}
        )
        differences = compare_metadata(context, all_tables())
    # Alembic's own table is the only one that the code does not know.
    assert [d for d in differences if not _is_of_alembic(d)] == []


def test_every_check_of_the_code_is_in_the_database_and_the_other_way_round(database_url: str) -> None:
    """Alembic does not compare CHECK constraints; they are our last line of defence."""
    with engine_for(database_url).connect() as connection:
        found = {(row[0], row[1]) for row in connection.exec_driver_sql(CONSTRAINTS)}
    stated = {
        (table.name, str(constraint.name))
        for table in all_tables().tables.values()
        for constraint in table.constraints
        if constraint.__visit_name__.endswith("check_constraint")
    }
    assert found == stated


def _is_of_alembic(difference: object) -> bool:
    return "alembic_version" in str(difference)
