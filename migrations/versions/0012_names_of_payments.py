"""A payment keeps every name of its money, so that it is counted once by whichever it is recorded."""

from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds two columns, which PostgreSQL does without rewriting the table."""
    op.execute("""
        ALTER TABLE payments
            ADD COLUMN other_names jsonb NOT NULL DEFAULT '[]',
            ADD COLUMN is_recorded boolean NOT NULL DEFAULT false""")
