"""What must always hold: each view returns the rows that break it."""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

# Numbers as in ordering.proto and inventory.proto, spelled out for whoever reads a view's rows.
ORDER_STATES = (
    "(ARRAY['AWAITING_PAYMENT', 'AWAITING_INSTORE_PAYMENT', 'PAID', 'PARTIALLY_FULFILLED', 'FULFILLED',"
    " 'CANCELLED', 'EXPIRED'])"
)
RESERVATION_STATES = "(ARRAY['HELD', 'COMMITTED', 'RELEASED', 'EXPIRED', 'SHIPPED'])"

COUNTERS = ("on_hand", "reserved", "allocated", "safety_stock", "backorder_limit", "shortage")
SUMS = ", ".join(f"sum({counter}) AS {counter}" for counter in COUNTERS)
COUNTER_PAIRS = ", ".join(
    f"('{counter}', coalesce(level.{counter}, 0), coalesce(ledger.{counter}, 0))" for counter in COUNTERS
)

STOCK = {
    "inv_stock_ledger": (
        "Each stock counter equals the sum of its movements.",
        f"""
        SELECT sku_id, location_id, counter.name AS counter, counter.stored, counter.ledger
        FROM stock_levels AS level
        FULL JOIN (SELECT sku_id, location_id, {SUMS} FROM stock_movements GROUP BY sku_id, location_id)
            AS ledger USING (sku_id, location_id)
        CROSS JOIN LATERAL (VALUES {COUNTER_PAIRS}) AS counter(name, stored, ledger)
        WHERE counter.stored <> counter.ledger
        """,
    ),
    "inv_stock_reserved": (
        "Reserved units are those of held reservations.",
        """
        SELECT sku_id, location_id, coalesce(level.reserved, 0) AS reserved,
               coalesce(held.quantity, 0) AS held
        FROM stock_levels AS level
        FULL JOIN (
            SELECT sku_id, location_id, sum(quantity) AS quantity
            FROM reservation_lines JOIN reservations USING (reservation_id)
            WHERE state = 1 GROUP BY sku_id, location_id) AS held USING (sku_id, location_id)
        WHERE coalesce(level.reserved, 0) <> coalesce(held.quantity, 0)
        """,
    ),
    "inv_stock_allocated": (
        "Allocated units are those of committed reservations that were not shipped yet.",
        """
        SELECT sku_id, location_id, coalesce(level.allocated, 0) AS allocated,
               coalesce(committed.quantity, 0) AS committed
        FROM stock_levels AS level
        FULL JOIN (
            SELECT sku_id, location_id, sum(quantity - shipped_quantity) AS quantity
            FROM reservation_lines JOIN reservations USING (reservation_id)
            WHERE state = 2 GROUP BY sku_id, location_id) AS committed USING (sku_id, location_id)
        WHERE coalesce(level.allocated, 0) <> coalesce(committed.quantity, 0)
        """,
    ),
    "inv_stock_oversold": (
        "No more units are promised than are on hand, backordered or missed by a count.",
        """
        SELECT sku_id, location_id, on_hand, reserved, allocated, backorder_limit, shortage
        FROM stock_levels
        WHERE reserved::bigint + allocated > on_hand::bigint + backorder_limit + shortage
           OR least(on_hand, reserved, allocated, safety_stock, backorder_limit, shortage) < 0
        """,
    ),
    "inv_stock_ever_oversold": (
        "At no moment of the ledger were more units promised than could be had.",
        """
        SELECT sku_id, location_id, position, on_hand, promised, backorder_limit, shortage
        FROM (
            SELECT sku_id, location_id, position, sum(on_hand) OVER so_far AS on_hand,
                   sum(reserved + allocated) OVER so_far AS promised,
                   sum(backorder_limit) OVER so_far AS backorder_limit,
                   sum(shortage) OVER so_far AS shortage
            FROM stock_movements
            WINDOW so_far AS (PARTITION BY sku_id, location_id ORDER BY position)) AS moment
        WHERE on_hand < 0 OR promised > on_hand + backorder_limit + shortage
        """,
    ),
    "inv_stock_shortage": (
        "A shortage is exactly what neither the shelf nor the backorder limit covers of the promises.",
        """
        SELECT sku_id, location_id, shortage, uncovered
        FROM (
            SELECT sku_id, location_id, shortage,
                   greatest(0, reserved::bigint + allocated - on_hand - backorder_limit) AS uncovered
            FROM stock_levels) AS level
        WHERE shortage > uncovered
        """,
    ),
    "inv_stock_movement_events": (
        "Each movement is one StockMoved event of the log, and each such event a movement.",
        """
        SELECT position, movement.sku_id, event.key AS event_key
        FROM stock_movements AS movement
        FULL JOIN (SELECT position, key FROM events WHERE type = 'shopkeeper.inventory.v1.StockMoved')
            AS event USING (position)
        WHERE movement.sku_id IS DISTINCT FROM event.key
        """,
    ),
    "inv_reservations_overdue": (
        "A hold whose time is up was given back within 5 seconds.",
        """
        SELECT reservation_id, expire_time, now() - expire_time AS overdue
        FROM reservations WHERE state = 1 AND expire_time < now() - interval '5 seconds'
        """,
    ),
}

ORDERS = {
    "inv_orders_overdue": (
        "An order that was not paid in time has expired within 5 seconds.",
        """
        SELECT order_id, expire_time, now() - expire_time AS overdue
        FROM orders WHERE state IN (1, 2) AND expire_time < now() - interval '5 seconds'
        """,
    ),
    "inv_order_reservations": (
        "Each order has a reservation in the state that its own calls for, and no other has one.",
        f"""
        SELECT coalesce(order_id, reservation_id) AS order_id,
               {ORDER_STATES}[orders.state] AS order_state,
               {RESERVATION_STATES}[held.state] AS reservation_state,
               orders.expire_time AS order_expire_time, held.expire_time AS reservation_expire_time
        FROM orders FULL JOIN (SELECT * FROM reservations WHERE is_of_order) AS held
            ON order_id = reservation_id
        WHERE held.state IS DISTINCT FROM (ARRAY[1, 1, 2, 2, 5, 3, 4])[orders.state]
           OR (orders.state IN (1, 2) AND held.expire_time <> orders.expire_time)
        """,
    ),
    "inv_order_reservation_lines": (
        "An order's reservation holds the units not called off; as many were shipped as were fulfilled.",
        """
        SELECT order_id, sku_id, ordered.quantity AS ordered, held.quantity AS held,
               ordered.fulfilled, held.shipped
        FROM (
            SELECT order_id, sku_id, sum(quantity - cancelled_quantity) AS quantity,
                   sum(fulfilled_quantity) AS fulfilled
            FROM order_lines GROUP BY order_id, sku_id) AS ordered
        FULL JOIN (
            SELECT reservation_id AS order_id, sku_id, sum(quantity) AS quantity,
                   sum(shipped_quantity) AS shipped
            FROM reservation_lines JOIN reservations USING (reservation_id)
            WHERE is_of_order GROUP BY reservation_id, sku_id) AS held USING (order_id, sku_id)
        WHERE (ordered.quantity, ordered.fulfilled)
            IS DISTINCT FROM (coalesce(held.quantity, 0), coalesce(held.shipped, 0))
        """,
    ),
    "inv_order_totals": (
        "An order's amounts are the sums of its lines.",
        """
        SELECT order_id, subtotal_minor, discount_minor, total_minor,
               lines.subtotal AS lines_subtotal_minor, lines.discount AS lines_discount_minor
        FROM orders LEFT JOIN (
            SELECT order_id, sum(unit_price_minor * quantity) AS subtotal,
                   sum(discount_minor) AS discount
            FROM order_lines GROUP BY order_id) AS lines USING (order_id)
        WHERE (subtotal_minor, discount_minor, total_minor)
            IS DISTINCT FROM (lines.subtotal, lines.discount, lines.subtotal + lines.discount)
        """,
    ),
    "inv_order_line_discounts": (
        "A line's discount is the sum of its adjustments.",
        """
        SELECT order_id, line_id, discount_minor, adjustments
        FROM order_lines
        WHERE discount_minor <> (
            SELECT coalesce(sum((adjustment ->> 'amount_minor')::bigint), 0)
            FROM jsonb_array_elements(adjustments) AS adjustment)
        """,
    ),
    "inv_order_line_quantities": (
        "No more is fulfilled, called off or refunded than ordered, nor returned than fulfilled.",
        """
        SELECT order_id, line_id, quantity, fulfilled_quantity, returned_quantity, refunded_quantity,
               cancelled_quantity
        FROM order_lines
        WHERE cancelled_quantity NOT BETWEEN 0 AND quantity
           OR fulfilled_quantity NOT BETWEEN 0 AND quantity - cancelled_quantity
           OR returned_quantity NOT BETWEEN 0 AND fulfilled_quantity
           OR refunded_quantity NOT BETWEEN 0 AND quantity
        """,
    ),
    "inv_order_money": (
        "What an order received and gave back are the sums of its payments and refunds.",
        """
        SELECT order_id, paid_minor, coalesce(recorded.paid, 0) AS payments_minor,
               refunded_minor, coalesce(recorded.refunded, 0) AS refunds_minor
        FROM orders LEFT JOIN (
            SELECT order_id, sum(amount_minor) FILTER (WHERE kind = 'payment') AS paid,
                   sum(amount_minor) FILTER (WHERE kind = 'refund') AS refunded
            FROM (
                SELECT order_id, kind, amount_minor FROM money_records WHERE order_id IS NOT NULL
                UNION ALL
                SELECT order_id, 'refund', amount_minor FROM refunds WHERE state <> 4) AS record
            GROUP BY order_id) AS recorded USING (order_id)
        WHERE paid_minor <> coalesce(recorded.paid, 0)
           OR refunded_minor <> coalesce(recorded.refunded, 0) OR refunded_minor > paid_minor
        """,
    ),
    "inv_order_refunds": (
        "Refunds of units and gifts are part of what an order gave back, and no line more than it cost.",
        """
        SELECT order_id, refunded_minor, gifted_minor, lines.refunded AS lines_refunded_minor
        FROM orders JOIN (
            SELECT order_id, sum(refunded_minor) AS refunded,
                   bool_and(refunded_minor BETWEEN 0 AND unit_price_minor * quantity + discount_minor
                            AND (refunded_minor = 0 OR refunded_quantity > 0)) AS is_sound
            FROM order_lines GROUP BY order_id) AS lines USING (order_id)
        WHERE gifted_minor < 0 OR gifted_minor + lines.refunded > refunded_minor OR NOT lines.is_sound
        """,
    ),
    "inv_money_events": (
        "Each payment and refund is told once in the log.",
        """
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
                   count(*) FILTER (WHERE type LIKE '%.RefundRecorded') AS refund_count
            FROM events
            WHERE type IN ('shopkeeper.ordering.v1.PaymentRecorded',
                           'shopkeeper.ordering.v1.RefundRecorded')
            GROUP BY key) AS told USING (order_id)
        WHERE (recorded.payment_count, recorded.refund_count)
            IS DISTINCT FROM (told.payment_count, told.refund_count)
        """,
    ),
    "inv_payment_on_two_orders": (
        "One payment or refund of a provider belongs to one order.",
        """
        SELECT reference, kind, count(*) AS record_count, array_agg(order_id ORDER BY order_id) AS orders
        FROM money_records GROUP BY kind, reference HAVING count(*) > 1
        """,
    ),
    "inv_order_states": (
        "An order's state is what its money and its units, shipped or called off, call for.",
        f"""
        SELECT order_id, {ORDER_STATES}[state] AS state, total_minor, paid_minor, refunded_minor,
               lines.quantity, lines.fulfilled, lines.cancelled
        FROM orders JOIN (
            SELECT order_id, sum(quantity) AS quantity, sum(fulfilled_quantity) AS fulfilled,
                   sum(cancelled_quantity) AS cancelled
            FROM order_lines GROUP BY order_id) AS lines USING (order_id)
        WHERE CASE
            WHEN state IN (1, 2) THEN paid_minor - refunded_minor >= total_minor
                OR lines.fulfilled > 0 OR lines.cancelled > 0
            WHEN state = 3 THEN paid_minor < total_minor
                OR lines.fulfilled > 0 OR lines.cancelled >= lines.quantity
            WHEN state = 4 THEN paid_minor < total_minor
                OR lines.fulfilled < 1 OR lines.fulfilled + lines.cancelled >= lines.quantity
            WHEN state = 5 THEN paid_minor < total_minor
                OR lines.fulfilled < 1 OR lines.fulfilled + lines.cancelled <> lines.quantity
            WHEN state = 6 THEN lines.fulfilled > 0
            WHEN state = 7 THEN lines.fulfilled > 0 OR lines.cancelled > 0
            ELSE true END
        """,
    ),
    "inv_order_history": (
        "What the log tells of an order could have happened in that order.",
        """
        SELECT order_id, position, happening, wrong.why
        FROM (
            SELECT key AS order_id, position, split_part(type, '.', 4) AS happening,
                   count(*) OVER before AS events_before,
                   count(*) FILTER (WHERE type LIKE '%.OrderCancelled') OVER before AS cancelled,
                   count(*) FILTER (WHERE type LIKE '%.OrderLinesFulfilled') OVER before AS fulfilled,
                   max(position) FILTER (WHERE type LIKE '%.PaymentRecorded') OVER before AS paid_at,
                   max(position) FILTER (WHERE type LIKE '%.OrderExpired') OVER before AS expired_at
            FROM events WHERE context = 'ordering'
            WINDOW before AS (
                PARTITION BY key ORDER BY position ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
        ) AS told LEFT JOIN orders USING (order_id)
        CROSS JOIN LATERAL (SELECT CASE
            WHEN orders.order_id IS NULL THEN 'there is no such order'
            WHEN (events_before = 0) <> (happening = 'OrderPlaced') THEN 'it is placed first, and once'
            WHEN cancelled > 0 AND happening IN (
                'OrderCancelled', 'OrderExpired', 'OrderLinesFulfilled', 'OrderLinesCancelled')
                THEN 'it had been called off'
            WHEN fulfilled > 0 AND happening IN ('OrderCancelled', 'OrderExpired')
                THEN 'units had been shipped'
            WHEN expired_at IS NOT NULL AND happening = 'OrderExpired' THEN 'it had expired before'
            WHEN expired_at > coalesce(paid_at, 0)
                AND happening IN ('OrderCancelled', 'OrderLinesFulfilled', 'OrderLinesCancelled')
                THEN 'it had expired and not been paid since'
            WHEN paid_at IS NULL AND orders.total_minor > 0
                AND happening IN ('OrderLinesFulfilled', 'OrderLinesCancelled')
                THEN 'it had not been paid'
            WHEN paid_at IS NULL AND happening = 'RefundRecorded' THEN 'nothing had been paid'
            WHEN fulfilled = 0 AND happening = 'OrderLinesReturned' THEN 'nothing had been shipped'
            END AS why) AS wrong
        WHERE wrong.why IS NOT NULL
        """,
    ),
    "inv_order_states_told": (
        "An order's state is one that its events lead to.",
        f"""
        SELECT order_id, {ORDER_STATES}[state] AS state, told.placed, told.cancelled, told.expired,
               told.fulfilled
        FROM orders LEFT JOIN (
            SELECT key AS order_id, count(*) FILTER (WHERE type LIKE '%.OrderPlaced') AS placed,
                   count(*) FILTER (WHERE type LIKE '%.OrderCancelled') AS cancelled,
                   count(*) FILTER (WHERE type LIKE '%.OrderExpired') AS expired,
                   count(*) FILTER (WHERE type LIKE '%.OrderLinesFulfilled') AS fulfilled
            FROM events WHERE context = 'ordering' GROUP BY key) AS told USING (order_id)
        WHERE coalesce(told.placed, 0) <> 1 OR (told.cancelled > 0) <> (state = 6)
           OR (told.fulfilled > 0) <> (state IN (4, 5)) OR (told.expired = 0 AND state = 7)
           OR (told.expired > 0 AND state IN (1, 2))
        """,
    ),
}

CARTS = {
    "inv_cart_totals": (
        "A cart's amounts are the sums of its lines.",
        """
        SELECT cart_id, subtotal_minor, discount_minor,
               coalesce(lines.subtotal, 0) AS lines_subtotal_minor,
               coalesce(lines.discount, 0) AS lines_discount_minor
        FROM carts LEFT JOIN (
            SELECT cart_id, sum(unit_price_minor * quantity) AS subtotal, sum(discount_minor) AS discount
            FROM cart_lines GROUP BY cart_id) AS lines USING (cart_id)
        WHERE (subtotal_minor, discount_minor)
            <> (coalesce(lines.subtotal, 0), coalesce(lines.discount, 0))
        """,
    ),
    "inv_cart_line_discounts": (
        "A cart line's discount is the sum of its adjustments.",
        """
        SELECT cart_id, line_id, discount_minor, adjustments
        FROM cart_lines
        WHERE discount_minor <> (
            SELECT coalesce(sum((adjustment ->> 'amount_minor')::bigint), 0)
            FROM jsonb_array_elements(adjustments) AS adjustment)
        """,
    ),
    "inv_cart_orders": (
        "A cart that was ordered became one order, and each order was such a cart.",
        """
        SELECT cart_id, carts.state AS cart_state, orders.order_id
        FROM (SELECT cart_id, state FROM carts WHERE state = 2) AS carts
        FULL JOIN orders USING (cart_id)
        WHERE carts.cart_id IS NULL OR orders.cart_id IS NULL
        """,
    ),
}

# An order holds its coupons until it is called off or expires.
COUPON_USES = """
    SELECT coupon_code, customer_id, count(*) AS use_count
    FROM orders CROSS JOIN LATERAL unnest(coupon_codes) AS coupon_code
    WHERE state NOT IN (6, 7) GROUP BY coupon_code, customer_id
"""

PRICES = {
    "inv_coupon_uses": (
        "A coupon counts the orders that hold a use of it.",
        f"""
        SELECT coupon_code, coalesce(coupons.used_count, 0) AS used_count,
               coalesce(held.use_count, 0) AS order_count
        FROM coupons FULL JOIN (
            SELECT coupon_code, sum(use_count) AS use_count
            FROM ({COUPON_USES}) AS uses GROUP BY coupon_code) AS held USING (coupon_code)
        WHERE coalesce(coupons.used_count, 0) <> coalesce(held.use_count, 0)
        """,
    ),
    "inv_coupon_customer_uses": (
        "A customer's uses of a coupon are the orders of that customer that hold one.",
        f"""
        SELECT coupon_code, customer_id, coalesce(counted.used_count, 0) AS used_count,
               coalesce(held.use_count, 0) AS order_count
        FROM coupon_customers AS counted
        FULL JOIN (SELECT * FROM ({COUPON_USES}) AS uses WHERE customer_id <> '') AS held
            USING (coupon_code, customer_id)
        WHERE coalesce(counted.used_count, 0) <> coalesce(held.use_count, 0)
        """,
    ),
    "inv_coupon_limits": (
        "No coupon was used more often than its limit allowed when it was last used.",
        """
        SELECT coupon_code, '' AS customer_id, used_count, held_under_limit
        FROM coupons WHERE used_count > held_under_limit
        UNION ALL
        SELECT coupon_code, customer_id, used_count, held_under_limit
        FROM coupon_customers WHERE used_count > held_under_limit
        """,
    ),
    "inv_price_tiers": (
        "The prices of a SKU in a list begin with the price of one unit.",
        """
        SELECT price_list_id, sku_id, min(min_quantity) AS first_min_quantity
        FROM prices GROUP BY price_list_id, sku_id HAVING min(min_quantity) <> 1
        """,
    ),
}

LOG = {
    "inv_log_gaps": (
        "Positions in the log follow one another without a gap.",
        """
        SELECT position, position_before
        FROM (SELECT position, lag(position, 1, 0::bigint) OVER (ORDER BY position) AS position_before
              FROM events) AS step
        WHERE position <> position_before + 1
        """,
    ),
    "inv_log_answers": (
        "The command behind each event has a stored answer, as long as answers are kept (7 days).",
        """
        SELECT request_id, min(position) AS first_position, count(*) AS event_count
        FROM events
        WHERE recorded_time > now() - interval '6 days 23 hours'
          AND NOT EXISTS (SELECT FROM requests WHERE requests.request_id = events.request_id)
        GROUP BY request_id
        """,
    ),
    "inv_requests_ahead_of_log": (
        "No stored answer carries a position that the log has not reached.",
        """
        SELECT request_id, method, position
        FROM requests WHERE position > (SELECT coalesce(max(position), 0) FROM events)
        """,
    ),
    "inv_requests_overdue": (
        "Stored answers are forgotten a day after their 7 days at the latest.",
        """
        SELECT request_id, method, create_time
        FROM requests WHERE create_time < now() - interval '8 days'
        """,
    ),
    "inv_log_incarnation": (
        "The log has an incarnation.",
        "SELECT 'log_incarnation' AS missing WHERE NOT EXISTS (SELECT FROM log_incarnation)",
    ),
}


# What the first units of a line cost: their list price, and their share of the discount rounded down.
KEPT_OF_LINE = """
    unit_price_minor * quantity + discount_minor - greatest(
        unit_price_minor * (cancelled_quantity + returned_quantity) + floor(
            discount_minor::numeric * (cancelled_quantity + returned_quantity) / quantity)::bigint,
        refunded_minor)
"""

MONEY = {
    "inv_money_balance": (
        "The entries of each event sum to zero.",
        """
        SELECT position, min(order_id) AS order_id, sum(amount_minor) AS sum_minor
        FROM money_entries GROUP BY position HAVING sum(amount_minor) <> 0
        """,
    ),
    "inv_money_receivable": (
        "What a customer owes is what of the price is ours, less what we have.",
        f"""
        SELECT order_id, coalesce(booked.receivable, 0) AS receivable_minor,
               kept.minor - (paid_minor - refunded_minor) AS owed_minor
        FROM orders
        JOIN LATERAL (
            SELECT CASE WHEN state IN (3, 4, 5)
                THEN (SELECT sum({KEPT_OF_LINE}) FROM order_lines
                      WHERE order_lines.order_id = orders.order_id) - gifted_minor
                ELSE 0 END AS minor) AS kept ON true
        LEFT JOIN (
            SELECT order_id, sum(amount_minor) AS receivable
            FROM money_entries WHERE account = 'receivable' GROUP BY order_id) AS booked USING (order_id)
        WHERE coalesce(booked.receivable, 0) <> kept.minor - (paid_minor - refunded_minor)
        """,
    ),
    "inv_money_clearing": (
        "What lies with providers and others is what came, less what went back.",
        """
        SELECT order_id, coalesce(booked.clearing, 0) AS clearing_minor,
               paid_minor - refunded_minor + coalesce(under_way.minor, 0) AS held_minor
        FROM orders
        LEFT JOIN (
            SELECT order_id, sum(amount_minor) AS clearing
            FROM money_entries WHERE account = 'clearing' GROUP BY order_id) AS booked USING (order_id)
        LEFT JOIN (
            SELECT order_id, sum(amount_minor) AS minor
            FROM refunds WHERE state IN (1, 2, 5) GROUP BY order_id) AS under_way USING (order_id)
        WHERE coalesce(booked.clearing, 0)
            <> paid_minor - refunded_minor + coalesce(under_way.minor, 0)
        """,
    ),
    "inv_money_payable": (
        "What is payable are the refunds under way.",
        """
        SELECT order_id, coalesce(-booked.payable, 0) AS payable_minor,
               coalesce(under_way.minor, 0) AS under_way_minor
        FROM (SELECT order_id, sum(amount_minor) AS payable
              FROM money_entries WHERE account = 'payable' GROUP BY order_id) AS booked
        FULL JOIN (
            SELECT order_id, sum(amount_minor) AS minor
            FROM refunds WHERE state IN (1, 2, 5) GROUP BY order_id) AS under_way USING (order_id)
        WHERE coalesce(-booked.payable, 0) <> coalesce(under_way.minor, 0)
        """,
    ),
    "inv_payment_refunds": (
        "What a payment gives back are its refunds that did not fail.",
        """
        SELECT payment_id, payments.refunded_minor, coalesce(found.refunded, 0) AS refunds_minor,
               payments.refund_pending_minor, coalesce(found.pending, 0) AS pending_minor
        FROM payments LEFT JOIN (
            SELECT payment_id, sum(amount_minor) FILTER (WHERE state <> 4) AS refunded,
                   sum(amount_minor) FILTER (WHERE state IN (1, 2, 5)) AS pending
            FROM refunds GROUP BY payment_id) AS found USING (payment_id)
        WHERE payments.refunded_minor <> coalesce(found.refunded, 0)
           OR payments.refund_pending_minor <> coalesce(found.pending, 0)
        """,
    ),
}

# What of an order's money is to go back: Order.refund_due_minor, and of it what pays for nothing.
DUE = f"""
    SELECT order_id, currency_code, orders.update_time, due.minor AS due_minor,
           CASE WHEN state IN (6, 7) THEN due.minor
                ELSE least(due.minor, greatest(paid_minor - total_minor, 0)) END AS surplus_minor
    FROM orders CROSS JOIN LATERAL (
        SELECT CASE WHEN state IN (6, 7) THEN paid_minor - refunded_minor
                    ELSE greatest(paid_minor - refunded_minor + gifted_minor - (
                        SELECT sum({KEPT_OF_LINE}) FROM order_lines
                        WHERE order_lines.order_id = orders.order_id), 0) END AS minor) AS due
    WHERE state NOT IN (1, 2) AND paid_minor > refunded_minor
"""

# Said again, so that not every order's lines are summed: an alarm is looked for every few seconds.
SURPLUS = f"""
    {DUE} AND (state IN (6, 7) OR paid_minor > total_minor)
"""

HAS_FAILED_REFUND = """
    EXISTS (SELECT FROM refunds WHERE refunds.payment_id = payments.payment_id AND refunds.state = 4)
"""

# Not rules that always hold, but what people have to know of: each row is one matter for them.
ALARM_COLUMNS = "id, order_id, provider, amount_minor, currency_code, since"

ALARMS = {
    "alarm_money_without_order": (
        "Money that pays for nothing has not gone back: at a provider for 5 minutes, else for a day.",
        f"""
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
    ),
    "alarm_money_not_counted": (
        "Money at a provider is not counted by its order: it was recorded by hand, differently.",
        """
        SELECT payment_id, payments.order_id, provider,
               captured_minor - coalesce(record.amount_minor, 0), payments.currency_code,
               payments.update_time
        FROM (SELECT order_id, sum(captured_minor) AS minor
              FROM payments WHERE captured_minor > 0 GROUP BY order_id) AS captured
        JOIN orders ON orders.order_id = captured.order_id AND orders.paid_minor < captured.minor
        JOIN payments ON payments.order_id = captured.order_id
        LEFT JOIN money_records AS record ON record.kind = 'payment'
            AND record.reference = provider_reference AND record.order_id = payments.order_id
        WHERE captured_minor > coalesce(record.amount_minor, 0)
        """,
    ),
    "alarm_order_without_money": (
        "An order counts money that it has not: below its price, or never captured by the provider.",
        """
        SELECT order_id, order_id, '', total_minor - paid_minor, currency_code, update_time
        FROM orders WHERE state IN (3, 4, 5) AND paid_minor < total_minor
        UNION ALL
        SELECT payment_id, order_id, provider,
               record.amount_minor - captured_minor - coalesce(by_hand.minor, 0),
               currency_code, update_time
        FROM payments
        JOIN money_records AS record USING (order_id)
        LEFT JOIN (
            SELECT order_id, sum(amount_minor) AS minor
            FROM money_records WHERE kind = 'refund' GROUP BY order_id) AS by_hand USING (order_id)
        WHERE record.kind = 'payment' AND record.reference = provider_reference
          AND record.amount_minor > captured_minor + coalesce(by_hand.minor, 0)
          AND update_time < now() - interval '5 minutes'
        """,
    ),
    "alarm_refund_above_capture": (
        "More was given back than was captured.",
        """
        SELECT payment_id, order_id, provider,
               greatest(refunded_minor, coalesce(found.minor, 0)) - captured_minor, currency_code,
               update_time
        FROM payments LEFT JOIN (
            SELECT payment_id, sum(amount_minor) AS minor
            FROM refunds WHERE state <> 4 GROUP BY payment_id) AS found USING (payment_id)
        WHERE greatest(refunded_minor, coalesce(found.minor, 0)) > captured_minor
        """,
    ),
    "alarm_unknown_past_deadline": (
        "A provider has not told the outcome of a call by the deadline.",
        """
        SELECT payment_id, order_id, provider, amount_minor, currency_code, resolve_deadline
        FROM payments WHERE resolve_deadline < now()
        UNION ALL
        SELECT refund_id, refunds.order_id, provider, refunds.amount_minor, currency_code,
               refunds.resolve_deadline
        FROM refunds JOIN payments USING (payment_id) WHERE refunds.resolve_deadline < now()
        """,
    ),
    "alarm_call_overdue": (
        "A provider has put a call off for a day, or goes on refusing it.",
        """
        SELECT payment_id, order_id, provider, amount_minor, currency_code, update_time
        FROM payments
        WHERE errand_due_time IS NOT NULL AND resolve_deadline IS NULL
          AND update_time < now() - interval '1 day'
        UNION ALL
        SELECT refund_id, refunds.order_id, provider, refunds.amount_minor, currency_code,
               refunds.update_time
        FROM refunds JOIN payments USING (payment_id)
        WHERE refunds.errand_due_time IS NOT NULL AND refunds.resolve_deadline IS NULL
          AND refunds.update_time < now() - interval '1 day'
        """,
    ),
    "alarm_failed_refund": (
        "A provider failed to give money back that is still due.",
        f"""
        SELECT refund_id, order_id, provider, least(refunds.amount_minor, due.due_minor),
               due.currency_code, refunds.update_time
        FROM refunds JOIN payments USING (payment_id, order_id) JOIN ({DUE}) AS due USING (order_id)
        WHERE refunds.state = 4 AND due.due_minor > 0
        """,
    ),
}


def upgrade() -> None:
    """Creates the views; each comment is the rule, for people."""
    for views in (STOCK, ORDERS, CARTS, PRICES, LOG, MONEY):
        for name, (rule, query) in views.items():
            _create(name, rule, query)
    for name, (rule, query) in ALARMS.items():
        # A sum is numeric, and all of them are alike.
        columns = ALARM_COLUMNS.replace("amount_minor", "amount_minor::bigint AS amount_minor")
        _create(name, rule, f"SELECT {columns} FROM ({query}) AS found ({ALARM_COLUMNS})")
    every = " UNION ALL ".join(
        f"SELECT '{view.removeprefix('alarm_')}' AS alarm, {ALARM_COLUMNS} FROM {view}"
        for view in ALARMS
    )
    _create("alarms", "All that people have to see to.", every)


def _create(name: str, rule: str, query: str) -> None:
    op.execute(f"CREATE VIEW {name} AS {query}")
    quoted = rule.replace("'", "''")
    op.execute(f"COMMENT ON VIEW {name} IS '{quoted}'")
