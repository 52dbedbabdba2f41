"""How events enter the log: under one lock, in commit order.

Writers run LOCK_LOG alone in its statement as the last thing that can wait, then APPEND in a later
statement of the same transaction, then COMMIT. Positions are max + 1, 2, ... drawn under that lock,
so position order is commit order and there are no gaps: a reader simply asks for what is greater.
"""

# Two-integer advisory locks are a space of their own, apart from the 64-bit ones of request ids.
LOCK_LOG = "SELECT pg_advisory_xact_lock(1, 1)"

NOTIFY_CHANNEL = "shopkeeper_events"

LAST_POSITION = "SELECT coalesce(max(position), 0) AS position FROM events"
INCARNATION = "SELECT incarnation FROM log_incarnation"
# Both in one statement, which is one snapshot: a token never joins the position of one incarnation to
# the name of another.
LOG_END = f"SELECT ({INCARNATION}) AS incarnation, ({LAST_POSITION}) AS position"

APPEND = """
INSERT INTO events (position, recorded_time, context, type, key, payload, actor, request_id)
SELECT base.position + row.ordinal, %(recorded_time)s::timestamptz,
       row.context, row.type, row.key, row.payload, row.actor, row.request_id
FROM base, unnest(%(contexts)s::text[], %(types)s::text[], %(keys)s::text[],
    %(payloads)s::bytea[], %(actors)s::text[], %(request_ids)s::uuid[])
    WITH ORDINALITY AS row(context, type, key, payload, actor, request_id, ordinal)
"""
"""Belongs into a statement that defines `base(position)`: the last position under the lock."""
