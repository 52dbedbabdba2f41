"""A payment keeps the names of refunds that people have recorded: none of ours is taken for them."""

from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds a column, which PostgreSQL does without rewriting the table; what was recorded is not in it.

    Whether a refund of ours was without a name when another was recorded, nobody knows any more.
    """
    op.execute("ALTER TABLE payments ADD COLUMN refunds_by_hand jsonb NOT NULL DEFAULT '[]'")
