"""Whether the database is migrated: asked by each service before it begins."""

import psycopg
from psycopg.conninfo import conninfo_to_dict

from serving.server import CannotServe
from serving.waiting import answer_of

REVISION = "0017"
"""The newest migration, and the oldest state of the database that the services can work with."""

CONNECT_SECONDS_MAX = 5

# One that waits behind a migration's lock, or whose server is gone, is asked again.
_OPTIONS = (
    "-c statement_timeout=5s"
    " -c tcp_keepalives_idle=5 -c tcp_keepalives_interval=2 -c tcp_keepalives_count=3"
)
_REVISION_FOUND = "SELECT max(version_num) FROM alembic_version"


class NotMigrated(Exception):
    """The database lacks tables, or has them as they were."""

    def __init__(self, found: str | None) -> None:
        state = f"is at revision {found}, this program needs {REVISION}" if found else "is not migrated"
        super().__init__(f"the database {state}: run `shopkeeper migrate`")


async def until_migrated(database_url: str) -> None:
    """Waits until the database has the schema of this program, or a newer one.

    Services may be started before the migration ran: they wait for it as they do for the server. A newer
    schema is that of the release that is being rolled out, which must leave the old one working.

    Raises:
        CannotServe: the address is none.
    """
    try:
        conninfo_to_dict(database_url)
    except psycopg.ProgrammingError:
        # From None: the message repeats what it stumbles over, which may be a part of a password.
        raise CannotServe("the database's address is none that libpq understands") from None

    async def look() -> None:
        await _refuse_older(database_url)

    await answer_of("the database", look, (psycopg.Error, TimeoutError, NotMigrated))


async def _refuse_older(database_url: str) -> None:
    connection = await psycopg.AsyncConnection.connect(
        database_url,
        autocommit=True,
        connect_timeout=CONNECT_SECONDS_MAX,
        application_name="shopkeeper start",
        options=_OPTIONS,
    )
    async with connection:
        try:
            row = await (await connection.execute(_REVISION_FOUND)).fetchone()
        except psycopg.errors.UndefinedTable:
            raise NotMigrated(None) from None
    found = row[0] if row is not None else None
    if found is None or found < REVISION:
        raise NotMigrated(found)
