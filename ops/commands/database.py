"""Commands on the database itself: its schema, and which log this is."""

from typing import Annotated

import psycopg
import typer

from event_log.appending import LOCK_LOG
from event_log.tokens import next_incarnation
from ops.commands.options import DATA_DIR, FLAG, REPAIR, RUN, DatabaseUrl, DataDir, console
from ops.failures import NO_SHOP, Problem
from ops.migrate import migrate as apply_migrations
from ops.whereabouts import server_url

app = typer.Typer()

CONNECT_SECONDS_MAX = 5

# The database's clock: whoever runs the command may sit anywhere.
INCARNATION_AND_TIME = "SELECT incarnation, clock_timestamp() FROM log_incarnation"
RENEW_INCARNATION = "UPDATE log_incarnation SET incarnation = %s, create_time = %s"

SERIALS_SKIPPED = 1_000_000
"""Order numbers that the lost log may have given out since; a thousandth of all of nine digits."""

SKIP_ORDER_NUMBERS = """
SELECT setval('order_number_blocks', last_value + %s) FROM order_number_blocks
"""


@app.command(rich_help_panel=RUN)
def migrate(database_url: DatabaseUrl = None, data_dir: DataDir = DATA_DIR) -> None:
    """Bring the database to the newest schema.

    Safe to repeat, and to run twice at once. Each step is a transaction of its own, but for one that
    builds indexes: that waits for every older transaction of the database, a pg_dump too. After an
    error the database stands at the last step that succeeded, or amid one that builds indexes: run it
    again. `up` and `demo` do this by themselves.
    """
    applied: list[str] = []

    def report(step: str) -> None:
        applied.append(step)
        console.print(f"applied {step}", soft_wrap=True)

    apply_migrations(server_url("DATABASE_URL", database_url, data_dir), on_step=report)
    console.print("the schema is current" if applied else "the schema was current already")


@app.command("new-incarnation", rich_help_panel=REPAIR)
def new_incarnation(
    *,
    yes: Annotated[
        bool, typer.Option("--yes", metavar=FLAG, help="Do it; without this, only tell what it means.")
    ] = False,
    database_url: DatabaseUrl = None,
    data_dir: DataDir = DATA_DIR,
) -> None:
    """Tell everyone that this log is not the one they knew: after a restore or a promotion.

    A database restored from a backup, or a standby that was promoted, may lack the last events of the
    log that clients have seen, and will use their positions again for others. The incarnation is part
    of each consistency token and checkpoint. Renewed, it makes the services refuse tokens of the log
    that was, and makes the projections build the read models anew from the log that is. A million order
    numbers are skipped: customers may have been told some that this log does not know.

    Run it before the services start; those that run already notice it by themselves.
    """
    if not yes:
        raise Problem(
            "all consistency tokens given out so far become void, and the read models are built anew.\n"
            "Right after a restore or a promotion, and only then; say --yes to go ahead."
        )
    url = server_url("DATABASE_URL", database_url, data_dir)
    with psycopg.connect(url, connect_timeout=CONNECT_SECONDS_MAX) as connection:
        # Events are written under this lock: none can be of both incarnations.
        connection.execute(LOCK_LOG)
        row = connection.execute(INCARNATION_AND_TIME).fetchone()
        if row is None:
            raise Problem(NO_SHOP)
        before, now = row
        incarnation = next_incarnation(before, now)
        connection.execute(RENEW_INCARNATION, [incarnation, now])
        # Even if this is not committed, numbers were skipped: they need not be dense.
        connection.execute(SKIP_ORDER_NUMBERS, [SERIALS_SKIPPED])
    console.print(f"the log's incarnation is {incarnation}; it was {before}")
    console.print(f"order numbers: {SERIALS_SKIPPED:,} are skipped")
