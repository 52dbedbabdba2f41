"""Money that went back counts once in what is due, and is found by its provider's reference.

May be run again after it was cut off in the middle: indexes are built while the shop is open, which no
transaction can undo.
"""

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

# OrderLine.kept_minor: first_units_minor of the units given up, of which no line has a fraction.
KEPT_OF_LINE = """
    unit_price_minor * quantity + discount_minor - greatest(
        unit_price_minor * given_up.units
            + floor(discount_minor::numeric * given_up.units / quantity)::bigint,
        refunded_minor)
"""

KEPT = f"""
    SELECT sum({KEPT_OF_LINE}) FROM order_lines CROSS JOIN LATERAL (
        SELECT greatest(cancelled_quantity + returned_quantity, refunded_quantity) AS units
    ) AS given_up WHERE order_lines.order_id = orders.order_id
"""

# Order.refund_due_minor, and of it what pays for nothing: _surplus_minor in checkout/process.py.
DUE = f"""
    SELECT order_id, currency_code, orders.update_time, due.minor AS due_minor,
           CASE WHEN state IN (6, 7) THEN due.minor
                ELSE least(due.minor, greatest(paid_minor - total_minor - greatest(
                    refunded_minor - gifted_minor - (
                        SELECT sum(order_lines.refunded_minor) FROM order_lines
                        WHERE order_lines.order_id = orders.order_id), 0), 0)) END AS surplus_minor
    FROM orders CROSS JOIN LATERAL (
        SELECT CASE WHEN state IN (6, 7) THEN paid_minor - refunded_minor
                    ELSE least(paid_minor - refunded_minor,
                        greatest(paid_minor - refunded_minor + gifted_minor - ({KEPT}), 0))
               END AS minor) AS due
    WHERE state NOT IN (1, 2) AND paid_minor > refunded_minor
"""

# Said again, so that not every order's lines are summed: an alarm is looked for every few seconds.
SURPLUS = f"""
    {DUE} AND (state IN (6, 7) OR paid_minor > total_minor)
"""

HAS_FAILED_REFUND = """
    EXISTS (SELECT FROM refunds WHERE refunds.payment_id = payments.payment_id AND refunds.state = 4)
"""

ALARM_COLUMNS = "id, order_id, provider, amount_minor, currency_code, since"

REPLACED = {
    # A cent of a unit may be gone without the unit: RefundedLine.units_of.
    "inv_order_refunds": """
        SELECT order_id, refunded_minor, gifted_minor, lines.refunded AS lines_refunded_minor
        FROM orders JOIN (
            SELECT order_id, sum(refunded_minor) AS refunded,
                   bool_and(refunded_minor BETWEEN 0 AND unit_price_minor * quantity + discount_minor
                            AND (refunded_minor <= quantity OR refunded_quantity > 0)) AS is_sound
            FROM order_lines GROUP BY order_id) AS lines USING (order_id)
        WHERE gifted_minor < 0 OR gifted_minor + lines.refunded > refunded_minor OR NOT lines.is_sound
    """,
    "inv_money_receivable": f"""
        SELECT order_id, coalesce(booked.receivable, 0) AS receivable_minor,
               kept.minor - (paid_minor - refunded_minor) AS owed_minor
        FROM orders
        JOIN LATERAL (
            SELECT CASE WHEN state IN (3, 4, 5) THEN ({KEPT}) - gifted_minor
                ELSE 0 END AS minor) AS kept ON true
        LEFT JOIN (
            SELECT order_id, sum(amount_minor) AS receivable
            FROM money_entries WHERE account = 'receivable' GROUP BY order_id) AS booked USING (order_id)
        WHERE coalesce(booked.receivable, 0) <> kept.minor - (paid_minor - refunded_minor)
    """,
    "alarm_money_without_order": f"""
        SELECT payment_id, order_id, provider, least(refundable_minor, left_minor), currency_code, since
        FROM (
            -- The newest gives back first, as in checkout/process.py.
            SELECT payment_id, order_id, provider, due.currency_code,
                   captured_minor - refunded_minor AS refundable_minor,
                   due.surplus_minor - coalesce(sum(captured_minor - refunded_minor) OVER (
                       PARTITION BY order_id ORDER BY ordinal DESC
                       ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS left_minor,
                   greatest(payments.update_time, due.update_time) AS since
            FROM payments JOIN ({SURPLUS}) AS due USING (order_id)
            WHERE captured_minor > refunded_minor AND due.surplus_minor > 0
              AND NOT {HAS_FAILED_REFUND}) AS shared
        WHERE left_minor > 0 AND since < now() - interval '5 minutes'
        UNION ALL
        SELECT order_id, order_id, '', due.surplus_minor - coalesce(at_providers.minor, 0),
               due.currency_code, due.update_time
        FROM ({SURPLUS}) AS due LEFT JOIN LATERAL (
            SELECT sum(captured_minor - refunded_minor) AS minor
            FROM payments WHERE payments.order_id = due.order_id) AS at_providers ON true
        WHERE due.surplus_minor > coalesce(at_providers.minor, 0)
          AND due.update_time < now() - interval '1 day'
    """,
    "alarm_failed_refund": f"""
        SELECT refund_id, order_id, provider, least(refunds.amount_minor, due.due_minor),
               due.currency_code, refunds.update_time
        FROM refunds JOIN payments USING (payment_id, order_id) JOIN ({DUE}) AS due USING (order_id)
        WHERE refunds.state = 4 AND due.due_minor > 0
    """,
}

BUILT = {
    "ix_carts_update_time": "carts (update_time) WHERE state > 1 AND NOT is_forgotten",
    "ix_payments_provider_reference": ("payments (provider_reference) WHERE provider_reference <> ''"),
    "ix_refunds_provider_reference": "refunds (provider_reference) WHERE provider_reference <> ''",
}


def upgrade() -> None:
    """Replaces the views, whose rules and columns stay, and builds indexes."""
    for name, query in REPLACED.items():
        columns = ALARM_COLUMNS.replace("amount_minor", "amount_minor::bigint AS amount_minor")
        is_alarm = name.startswith("alarm_")
        text = f"SELECT {columns} FROM ({query}) AS found ({ALARM_COLUMNS})" if is_alarm else query
        op.execute(f"CREATE OR REPLACE VIEW {name} AS {text}")
    with op.get_context().autocommit_block():
        # It waits for whoever reads or writes, and nobody waits for it. But for a session that was left
        # open in a transaction it would wait for ever.
        lock_timeout = op.get_bind().exec_driver_sql("SHOW lock_timeout").scalar_one()
        op.execute("SET lock_timeout = '10min'")
        for name, place in BUILT.items():
            # One that was cut off stays behind, and is no good.
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
            op.execute(f"CREATE INDEX CONCURRENTLY {name} ON {place}")
        op.execute(f"SET lock_timeout = '{lock_timeout}'")
