"""Which requests were carried out, and what was answered: the table behind "every command once".

A request id is claimed by a transaction-level advisory lock on the id, taken without waiting, and
known ids are then read in a later statement. The lock is held to COMMIT and released after the commit
has become visible, so whoever gets it next reads what was stored. Nothing waits, nothing is written
until the answer is known, and the primary key stays the last line of defence.
"""

import sqlalchemy as sa

from event_log.appending import INCARNATION
from event_log.tables import METADATA

REQUESTS = sa.Table(
    "requests",
    METADATA,
    sa.Column("request_id", sa.Uuid, primary_key=True),
    sa.Column("method", sa.Text, nullable=False),
    # SHA-256 of the request without its id: the same id with another payload is refused.
    sa.Column("fingerprint", sa.LargeBinary, nullable=False),
    # gRPC status code; 0 for success, else the response is a serialized google.rpc.Status.
    sa.Column("code", sa.SmallInteger, nullable=False),
    sa.Column("response", sa.LargeBinary, nullable=False),
    # How far the log had come: the position in the answer's consistency token.
    sa.Column("position", sa.BigInteger, nullable=False),
    sa.Column("create_time", sa.DateTime(timezone=True), nullable=False),
    sa.Index("ix_requests_create_time", "create_time"),
)

RETENTION = sa.Table(
    "retention",
    METADATA,
    sa.Column("only_row", sa.Boolean, primary_key=True, server_default=sa.true()),
    # What the worker that forgets goes by, and how far it has come: the invariants look it up.
    sa.Column("requests_kept", sa.Interval, nullable=False),
    sa.Column("requests_forgotten_before", sa.DateTime(timezone=True), nullable=False),
    sa.Column("carts_kept", sa.Interval, nullable=False),
    sa.CheckConstraint("only_row", name="only_row"),
)

# The lock key is 64 bits of the id. Two ids with equal bits only wait for each other.
CLAIM = """
SELECT request_id FROM unnest(%s::uuid[]) AS request_id
WHERE pg_try_advisory_xact_lock(
    ('x' || right(replace(request_id::text, '-', ''), 16))::bit(64)::bigint)
"""

# A position that is stored is one of the log as it now is, whatever its incarnation was then.
KNOWN = f"""
SELECT request_id, method, fingerprint, code, response, ({INCARNATION}), position
FROM requests WHERE request_id = ANY(%s::uuid[])
"""

STATE_RETENTION = """
UPDATE retention SET requests_kept = %(requests)s::interval, carts_kept = %(carts)s::interval
WHERE (requests_kept, carts_kept) IS DISTINCT FROM (%(requests)s::interval, %(carts)s::interval)
"""

# How far it came is written with what it did: an event of that time or later has its answer.
FORGET_OLD = """
WITH gone AS (
    DELETE FROM requests WHERE request_id IN (
        SELECT request_id FROM requests
        WHERE create_time < statement_timestamp() - %s::interval
        ORDER BY create_time LIMIT %s)
    RETURNING create_time)
UPDATE retention SET requests_forgotten_before = greatest(
    requests_forgotten_before, (SELECT max(create_time) + interval '1 microsecond' FROM gone))
WHERE EXISTS (SELECT FROM gone)
"""
