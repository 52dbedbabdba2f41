"""A payment knows when it was begun: one at a reader that was put off can be called off in time."""

from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds a column, which PostgreSQL does without rewriting the table."""
    op.execute("ALTER TABLE payments ADD COLUMN begun_time timestamptz")
