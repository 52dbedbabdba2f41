"""Refunds that a provider holds pending are asked for, and told to people when that takes long.

May be run again after it was cut off in the middle: the index is built while the shop is open, which no
transaction can undo.
"""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

ALARM_COLUMNS = "id, order_id, provider, amount_minor, currency_code, since"

# Task 5 asks after a refund that is pending: whoever answers "pending" has put nothing off.
CALL_OVERDUE = """
    SELECT payment_id, order_id, provider, amount_minor, currency_code, update_time
    FROM payments
    WHERE errand_due_time IS NOT NULL AND resolve_deadline IS NULL
      AND update_time < now() - interval '1 day'
    UNION ALL
    SELECT refund_id, refunds.order_id, provider, refunds.amount_minor, currency_code,
           refunds.update_time
    FROM refunds JOIN payments USING (payment_id)
    WHERE refunds.errand_task <> 5 AND refunds.resolve_deadline IS NULL
      AND refunds.update_time < now() - interval '1 day'
"""

PENDING_RULE = "A provider has held a refund pending for a week."
REFUND_PENDING = """
    SELECT refund_id, refunds.order_id, provider, refunds.amount_minor, currency_code,
           refunds.update_time
    FROM refunds JOIN payments USING (payment_id)
    WHERE refunds.state = 2 AND refunds.update_time < now() - interval '7 days'
"""

# Of a program that did not ask after them: the worker looks for them, and there are hardly ever any.
UNASKED = "refunds (update_time) WHERE state = 2 AND errand_task IS NULL"

ALARMS = (
    "money_without_order",
    "money_not_counted",
    "order_without_money",
    "refund_above_capture",
    "unknown_past_deadline",
    "call_overdue",
    "failed_refund",
    "refund_pending",
)


def upgrade() -> None:
    """Makes one alarm, narrows another, and builds an index."""
    _replace("alarm_call_overdue", CALL_OVERDUE)
    _replace("alarm_refund_pending", REFUND_PENDING)
    op.execute(f"COMMENT ON VIEW alarm_refund_pending IS '{PENDING_RULE}'")
    every = " UNION ALL ".join(
        f"SELECT '{alarm}' AS alarm, {ALARM_COLUMNS} FROM alarm_{alarm}" for alarm in ALARMS
    )
    op.execute(f"CREATE OR REPLACE VIEW alarms AS {every}")
    with op.get_context().autocommit_block():
        # As in 0010: it waits for whoever reads or writes, but not for ever.
        lock_timeout = op.get_bind().exec_driver_sql("SHOW lock_timeout").scalar_one()
        op.execute("SET lock_timeout = '10min'")
        op.execute("DROP INDEX CONCURRENTLY IF EXISTS ix_refunds_unasked")
        op.execute(f"CREATE INDEX CONCURRENTLY ix_refunds_unasked ON {UNASKED}")
        op.execute(f"SET lock_timeout = '{lock_timeout}'")


def _replace(name: str, query: str) -> None:
    columns = ALARM_COLUMNS.replace("amount_minor", "amount_minor::bigint AS amount_minor")
    op.execute(
        f"CREATE OR REPLACE VIEW {name} AS SELECT {columns} FROM ({query}) AS found ({ALARM_COLUMNS})"
    )
