"""A refund that people recorded can be counted no more, when it turns out to be one of ours.

May be run again after it was cut off in the middle: the table is looked through while the shop is open,
which needs a transaction of its own.
"""

from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

# What a record did to its order was not kept before: such a one goes on counting.
COLUMNS = """
    ALTER TABLE money_records
        ADD COLUMN IF NOT EXISTS lines jsonb,
        ADD COLUMN IF NOT EXISTS gifted_minor bigint,
        ADD COLUMN IF NOT EXISTS create_time timestamptz,
        DROP CONSTRAINT IF EXISTS ck_money_records_counted,
        ADD CONSTRAINT ck_money_records_counted CHECK (
            (lines IS NULL) = (gifted_minor IS NULL) AND (lines IS NULL) = (create_time IS NULL)
            AND (lines IS NULL OR kind = 'refund' AND order_id IS NOT NULL)) NOT VALID
"""

# Of orders that were paid before, nobody knows: there it is guessed by sums, as it was for all.
RECOUNT = "ALTER TABLE orders ADD COLUMN IF NOT EXISTS recount_time timestamptz"

# A record that was reversed is gone: two events, and none of it in the tables.
MONEY_EVENTS = """
    SELECT order_id, recorded.payment_count, told.payment_count AS payment_events,
           recorded.refund_count, told.refund_count AS refund_events
    FROM (
        SELECT order_id, count(*) FILTER (WHERE kind = 'payment') AS payment_count,
               count(*) FILTER (WHERE kind = 'refund') AS refund_count
        FROM (
            SELECT order_id, kind FROM money_records WHERE order_id IS NOT NULL
            UNION ALL SELECT order_id, 'refund' FROM refunds) AS record
        GROUP BY order_id) AS recorded
    FULL JOIN (
        SELECT key AS order_id,
               count(*) FILTER (WHERE type LIKE '%.PaymentRecorded') AS payment_count,
               count(*) FILTER (WHERE type LIKE '%.RefundRecorded')
                   - count(*) FILTER (WHERE type LIKE '%.RefundRecordReversed') AS refund_count
        FROM events
        WHERE type IN ('shopkeeper.ordering.v1.PaymentRecorded',
                       'shopkeeper.ordering.v1.RefundRecorded',
                       'shopkeeper.ordering.v1.RefundRecordReversed')
        GROUP BY key) AS told USING (order_id)
    WHERE (recorded.payment_count, recorded.refund_count)
        IS DISTINCT FROM (told.payment_count, told.refund_count)
"""

COUNTED_TWICE_RULE = "A refund counts once: as its provider tells it, or as people have recorded it."
COUNTED_TWICE = """
    SELECT refund_id, order_id, reference, refunds.amount_minor, record.amount_minor AS recorded_minor
    FROM refunds JOIN money_records AS record USING (order_id)
    WHERE record.kind = 'refund' AND record.reference = refunds.provider_reference
      AND refunds.provider_reference <> '' AND refunds.state <> 4
"""


def upgrade() -> None:
    """Adds columns, which PostgreSQL does without rewriting the table, and a view; replaces another."""
    op.execute(COLUMNS)
    op.execute(RECOUNT)
    op.execute(f"CREATE OR REPLACE VIEW inv_money_events AS {MONEY_EVENTS}")
    op.execute(f"CREATE OR REPLACE VIEW inv_refund_counted_twice AS {COUNTED_TWICE}")
    op.execute(f"COMMENT ON VIEW inv_refund_counted_twice IS '{COUNTED_TWICE_RULE}'")
    with op.get_context().autocommit_block():
        # Reads the whole table, and lets others read and write meanwhile.
        op.execute("ALTER TABLE money_records VALIDATE CONSTRAINT ck_money_records_counted")
