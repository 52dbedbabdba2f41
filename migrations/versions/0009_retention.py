"""What is kept for how long, and more of what must always hold."""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

REPLACED = {
    "inv_log_answers": (
        "The command behind each event has a stored answer, as long as answers are kept.",
        """
        SELECT request_id, min(position) AS first_position, count(*) AS event_count
        FROM events
        WHERE recorded_time >= (SELECT requests_forgotten_before FROM retention)
          AND NOT EXISTS (SELECT FROM requests WHERE requests.request_id = events.request_id)
        GROUP BY request_id
        """,
    ),
    "inv_requests_overdue": (
        "Stored answers are forgotten a day after their time at the latest.",
        """
        SELECT request_id, method, create_time
        FROM requests, retention WHERE create_time < now() - requests_kept - interval '1 day'
        """,
    ),
}

ADDED = {
    "inv_request_effects": (
        "All that a request did it did at one moment: no request had its effect twice.",
        """
        SELECT request_id, count(DISTINCT recorded_time) AS moment_count,
               min(position) AS first_position, max(position) AS last_position
        FROM events
        WHERE recorded_time >= (SELECT requests_forgotten_before FROM retention)
        GROUP BY request_id HAVING count(DISTINCT recorded_time) > 1
        """,
    ),
    "inv_carts_overdue": (
        "A cart that nobody came back to was closed within a minute.",
        """
        SELECT cart_id, expire_time, now() - expire_time AS overdue
        FROM carts WHERE state = 1 AND expire_time < now() - interval '1 minute'
        """,
    ),
    "inv_carts_kept_too_long": (
        "A closed cart is forgotten a day after its time at the latest, and nothing of it is left.",
        """
        SELECT cart_id, update_time, line_count
        FROM retention CROSS JOIN carts CROSS JOIN LATERAL (
            SELECT count(*) AS line_count FROM cart_lines WHERE cart_lines.cart_id = carts.cart_id
        ) AS lines
        WHERE (state > 1 AND NOT is_forgotten AND update_time < now() - carts_kept - interval '1 day')
           OR (is_forgotten AND (line_count > 0 OR state <> 2))
        """,
    ),
    "inv_cart_history": (
        "What the log tells of a cart could have happened in that order.",
        """
        SELECT key AS cart_id, position, split_part(type, '.', 4) AS happening, before
        FROM (
            SELECT key, position, type,
                   split_part(lag(type) OVER (PARTITION BY key ORDER BY position), '.', 4) AS before
            FROM events WHERE context = 'cart') AS told
        WHERE CASE split_part(type, '.', 4)
            WHEN 'CartCreated' THEN coalesce(before, 'CartForgotten') <> 'CartForgotten'
            WHEN 'CartForgotten' THEN before IS DISTINCT FROM 'CartClosed'
            ELSE coalesce(before, '') NOT IN ('CartCreated', 'CartChanged') END
        """,
    ),
    "inv_price_windows_overdue": (
        "A price list or promotion that opened or closed was told of within 5 seconds.",
        """
        SELECT 'price list' AS kind, price_list_id AS id, greatest(start_time, end_time) AS due_time
        FROM price_lists
        WHERE version > 0 AND ((shown_time < start_time AND start_time < now() - interval '5 seconds')
            OR (shown_time < end_time AND end_time < now() - interval '5 seconds'))
        UNION ALL
        SELECT 'promotion', promotion_id, turned.at
        FROM promotions CROSS JOIN LATERAL (
            SELECT CASE WHEN end_time <= now() THEN end_time ELSE start_time END AS at) AS turned
        WHERE version > 0 AND turned.at < now() - interval '5 seconds'
          AND shown_in_force <> (active AND (start_time IS NULL OR start_time <= now())
                                 AND (end_time IS NULL OR end_time > now()))
        """,
    ),
}


def upgrade() -> None:
    """Creates the table, marks carts, and adds views; each comment is the rule, for people."""
    # One row, written by the worker that forgets: what it goes by, and how far it has come.
    op.execute("""
        CREATE TABLE retention (
            only_row boolean CONSTRAINT pk_retention PRIMARY KEY DEFAULT true
                CONSTRAINT ck_retention_only_row CHECK (only_row),
            requests_kept interval NOT NULL,
            requests_forgotten_before timestamptz NOT NULL,
            carts_kept interval NOT NULL
        )""")
    op.execute("""
        INSERT INTO retention (requests_kept, requests_forgotten_before, carts_kept)
        VALUES ('7 days', now() - interval '6 days 23 hours', '30 days')""")
    op.execute("ALTER TABLE carts ADD COLUMN is_forgotten boolean NOT NULL DEFAULT false")
    for name in REPLACED:
        op.execute(f"DROP VIEW {name}")
    for name, (rule, query) in {**REPLACED, **ADDED}.items():
        quoted = rule.replace("'", "''")
        op.execute(f"CREATE VIEW {name} AS {query}")
        op.execute(f"COMMENT ON VIEW {name} IS '{quoted}'")
    # For psql: every broken rule, and by how many rows. It asks the catalogue, so that none is missed.
    op.execute("""
        CREATE FUNCTION broken_invariants()
        RETURNS TABLE (invariant text, broken_count bigint, rule text) LANGUAGE plpgsql STABLE AS $$
        BEGIN
            FOR invariant, rule IN
                SELECT relname::text, obj_description(oid, 'pg_class') FROM pg_class
                WHERE relkind = 'v' AND starts_with(relname::text, 'inv_')
                  AND relnamespace = current_schema()::regnamespace ORDER BY relname
            LOOP
                EXECUTE format('SELECT count(*) FROM %I', invariant) INTO broken_count;
                IF broken_count > 0 THEN RETURN NEXT; END IF;
            END LOOP;
        END $$""")
