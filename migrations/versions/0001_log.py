"""The event log and the requests that were carried out."""

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Creates the tables and the first incarnation of the log."""
    op.execute("""
        CREATE TABLE events (
            position bigint CONSTRAINT pk_events PRIMARY KEY,
            recorded_time timestamptz NOT NULL,
            context text NOT NULL,
            type text NOT NULL,
            key text NOT NULL,
            payload bytea NOT NULL,
            actor text NOT NULL,
            request_id uuid NOT NULL
        )""")
    op.execute("CREATE INDEX ix_events_key ON events (key, position)")
    # Append only, whoever tries: what was recorded is never changed.
    op.execute("""
        CREATE FUNCTION refuse_to_rewrite_history() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION '% is append only', TG_TABLE_NAME; END $$""")
    op.execute("""
        CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON events
        FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_rewrite_history()""")
    op.execute("""
        CREATE TABLE log_incarnation (
            only_row boolean CONSTRAINT pk_log_incarnation PRIMARY KEY DEFAULT true
                CONSTRAINT ck_log_incarnation_only_row CHECK (only_row),
            incarnation text NOT NULL,
            create_time timestamptz NOT NULL
        )""")
    # The second in which it is made: see event_log.tokens.
    op.execute("""
        INSERT INTO log_incarnation (incarnation, create_time)
        VALUES (lpad(to_hex(extract(epoch FROM now())::bigint), 8, '0'), now())""")
    op.execute("""
        CREATE TABLE requests (
            request_id uuid CONSTRAINT pk_requests PRIMARY KEY,
            method text NOT NULL,
            fingerprint bytea NOT NULL,
            code smallint NOT NULL,
            response bytea NOT NULL,
            position bigint NOT NULL,
            create_time timestamptz NOT NULL
        )""")
    op.execute("CREATE INDEX ix_requests_create_time ON requests (create_time)")
