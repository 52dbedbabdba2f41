"""Books that a unit is no longer ours of whose refund one part failed before step 0010.

Until then what failed was booked as ours again. Since then all of such a unit's price is to go back, and
the orders of before lack the booking that says so.
"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

# A line that several payments give back tells its units in the first part alone.
CANDIDATES = """
    SELECT order_id, sum(part.amount_minor)::bigint
    FROM refunds CROSS JOIN LATERAL jsonb_to_recordset(lines) AS part(quantity int, amount_minor bigint)
    WHERE state = 4 AND part.quantity = 0 AND part.amount_minor > 0
    GROUP BY order_id ORDER BY order_id
"""

LOCK = "SELECT FROM orders WHERE order_id = :order_id FOR NO KEY UPDATE"

LACKS = "SELECT receivable_minor - owed_minor FROM inv_money_receivable WHERE order_id = :order_id"

# With the event that told of the failure: the only one to move money from payable to receivable.
BOOK = """
    INSERT INTO money_entries
        (position, ordinal, recorded_time, order_id, account, provider, currency_code, amount_minor)
    SELECT told.position, told.ordinal + entry.number, now(), :order_id, entry.account, '',
           told.currency_code, entry.sign * CAST(:lacks_minor AS bigint)
    FROM (
        SELECT position, currency_code, max(ordinal) AS ordinal FROM money_entries
        WHERE order_id = :order_id
        GROUP BY position, currency_code
        HAVING bool_or(account = 'payable' AND amount_minor > 0)
           AND bool_or(account = 'receivable' AND amount_minor < 0)
        ORDER BY position DESC LIMIT 1) AS told
    CROSS JOIN (VALUES (1, 'refunds', 1), (2, 'receivable', -1)) AS entry(number, account, sign)
"""


def upgrade() -> None:
    """Books it, order by order: there are hardly ever any."""
    bind = op.get_bind()
    for order_id, parts_minor in bind.execute(sa.text(CANDIDATES)).all():
        bind.execute(sa.text(LOCK), {"order_id": order_id})
        lacks_minor = bind.execute(sa.text(LACKS), {"order_id": order_id}).scalar() or 0
        # What else an order's books may lack is not ours to guess: the view goes on telling it.
        if 0 < lacks_minor <= parts_minor:
            bind.execute(sa.text(BOOK), {"order_id": order_id, "lacks_minor": lacks_minor})
