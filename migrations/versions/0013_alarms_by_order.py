"""Two alarms about counted money look at whole orders, and at every name of their payments' money."""

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

ALARM_COLUMNS = "id, order_id, provider, amount_minor, currency_code, since"

IS_NAME = """
    record.kind = 'payment' AND record.order_id = payments.order_id
    AND (record.reference = payments.provider_reference OR payments.other_names ? record.reference)
"""

# In both, so that names are looked at only where sums differ: alarms are looked for every few seconds.
CAPTURED = """
    SELECT order_id, sum(captured_minor) AS minor,
           max(update_time) FILTER (WHERE captured_minor > 0) AS since
    FROM payments GROUP BY order_id
"""

REPLACED = {
    # Of the payments of an order the one is told of whose money lacks, as far as names tell it; else the
    # newest.
    "alarm_money_not_counted": f"""
        SELECT named.payment_id, orders.order_id, named.provider,
               captured.minor - orders.paid_minor, orders.currency_code, captured.since
        FROM ({CAPTURED}) AS captured
        JOIN orders ON orders.order_id = captured.order_id AND orders.paid_minor < captured.minor
        JOIN LATERAL (
            SELECT payment_id, provider
            FROM payments LEFT JOIN LATERAL (
                SELECT sum(amount_minor) AS minor FROM money_records AS record WHERE {IS_NAME}
            ) AS counted ON true
            WHERE payments.order_id = orders.order_id AND captured_minor > 0
            ORDER BY captured_minor - coalesce(counted.minor, 0) DESC, ordinal DESC LIMIT 1
        ) AS named ON true
    """,
    "alarm_order_without_money": f"""
        SELECT order_id, order_id, '', total_minor - paid_minor, currency_code, update_time
        FROM orders WHERE state IN (3, 4, 5) AND paid_minor < total_minor
        UNION ALL
        SELECT (array_agg(payment_id ORDER BY lacking_minor DESC, ordinal DESC))[1], order_id,
               (array_agg(provider ORDER BY lacking_minor DESC, ordinal DESC))[1],
               sum(lacking_minor) - coalesce(by_hand.minor, 0), currency_code, max(update_time)
        FROM (
            SELECT payments.payment_id, payments.order_id, payments.ordinal, payments.provider,
                   payments.currency_code, payments.update_time,
                   sum(record.amount_minor) - payments.captured_minor AS lacking_minor
            FROM ({CAPTURED}) AS captured
            JOIN orders ON orders.order_id = captured.order_id AND orders.paid_minor > captured.minor
            JOIN payments ON payments.order_id = orders.order_id
            JOIN money_records AS record ON {IS_NAME}
            GROUP BY payments.payment_id, payments.order_id, payments.ordinal, payments.provider,
                     payments.currency_code, payments.update_time, payments.captured_minor
        ) AS counted
        LEFT JOIN (
            SELECT order_id, sum(amount_minor) AS minor
            FROM money_records WHERE kind = 'refund' GROUP BY order_id) AS by_hand USING (order_id)
        GROUP BY order_id, currency_code, by_hand.minor
        HAVING sum(lacking_minor) > coalesce(by_hand.minor, 0)
           AND max(update_time) < now() - interval '5 minutes'
    """,
}


def upgrade() -> None:
    """Replaces the views, whose columns stay."""
    columns = ALARM_COLUMNS.replace("amount_minor", "amount_minor::bigint AS amount_minor")
    for name, query in REPLACED.items():
        found = f"({query}) AS found ({ALARM_COLUMNS})"
        op.execute(f"CREATE OR REPLACE VIEW {name} AS SELECT {columns} FROM {found}")
