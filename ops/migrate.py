"""Brings a database to the newest schema: `migrate(database_url)`."""

from collections.abc import Callable
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Engine, NullPool, create_engine, make_url

from ops.failures import ExitStatus, Problem

MIGRATIONS = Path(__file__).resolve().parent.parent / "migrations"


def migrate(database_url: str, *, on_step: Callable[[str], None] = lambda _step: None) -> None:
    """Applies every migration the database lacks; safe to repeat, and to run twice at once.

    `on_step` is told about each migration as it is applied. Each runs in a transaction of its own,
    except where it builds indexes: on an error the database stays at the last one that succeeded, or
    amid one that builds them, which then begins anew.
    """
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    # Attributes, not options: a % in a password would be interpolated.
    config.attributes.update(database_url=database_url, on_step=on_step)
    command.upgrade(config, "head")


def engine_for(database_url: str) -> Engine:
    """An engine on psycopg, whatever driver `database_url` names, that keeps no connection open.

    Raises:
        Problem: it is no address.
    """
    try:
        url = make_url(database_url).set(drivername="postgresql+psycopg")
    except ValueError as error:
        raise Problem(f"DATABASE_URL is wrong: {error}", ExitStatus.USAGE) from None
    return create_engine(url, poolclass=NullPool)
