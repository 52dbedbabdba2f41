"""How Alembic runs a migration here; called by ops.migrate and by the `alembic` command."""

import os
import time
from collections.abc import Collection, Mapping
from typing import Any

from alembic import context
from alembic.runtime.migration import MigrationContext, MigrationInfo
from sqlalchemy import Connection, text

from ops.migrate import engine_for
from ops.schema import all_tables

# Every migrator of a database takes this lock, so that two deployments at once apply a step once.
MIGRATION_LOCK = 0x53_48_4F_50  # "SHOP"
# A migration that waits for a table makes everybody who comes later wait behind it: it gives up
# soon and is run again instead.
LOCK_TIMEOUT = "5s"
LOCK_PAUSE_SECONDS = 0.2


def run() -> None:
    """Migrates the database that the configuration, or else DATABASE_URL, names."""
    database_url = context.config.attributes.get("database_url") or os.environ["DATABASE_URL"]
    engine = engine_for(database_url)
    with engine.connect() as connection:
        # Waits for as long as the other migrator takes; held by the session, over all transactions.
        while not _is_locked(connection):
            time.sleep(LOCK_PAUSE_SECONDS)
        connection.execute(text(f"SET lock_timeout = '{LOCK_TIMEOUT}'"))
        # Whoever is cut off from the server leaves the lock to others soon.
        connection.execute(text(f"SET client_connection_check_interval = '{LOCK_TIMEOUT}'"))
        connection.execute(text("SET tcp_keepalives_idle = 5"))
        connection.execute(text("SET tcp_keepalives_interval = 2"))
        connection.execute(text("SET tcp_keepalives_count = 3"))
        connection.commit()
        _apply(connection)


def _is_locked(connection: Connection) -> bool:
    """Waits for nothing inside a transaction: an index that is being built would wait for that."""
    found = connection.execute(text("SELECT pg_try_advisory_lock(:key)"), {"key": MIGRATION_LOCK})
    is_locked = bool(found.scalar_one())
    connection.commit()
    return is_locked


def _apply(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=all_tables(),
        transaction_per_migration=True,
        compare_type=True,
        compare_server_default=True,
        on_version_apply=_report,
    )
    with context.begin_transaction():
        context.run_migrations()


def _report(
    ctx: MigrationContext,  # noqa: ARG001 Alembic passes all four by name
    step: MigrationInfo,
    heads: Collection[Any],  # noqa: ARG001
    run_args: Mapping[str, Any],  # noqa: ARG001
) -> None:
    """Tells whoever started the migration which step was applied."""
    on_step = context.config.attributes.get("on_step")
    if on_step is not None:
        # "0001 -> 0002, what it does"
        on_step(str(step.up_revision))


if context.is_offline_mode():
    raise SystemExit("migrations run against a database; there is no --sql mode")
run()
