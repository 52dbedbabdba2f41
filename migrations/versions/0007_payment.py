"""Payments and refunds at providers."""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_ERRAND = """
    errand_task smallint,
    errand_due_time timestamptz,
    errand_amount_minor bigint,
    errand_key_generation integer,
    errand_key_spent_time timestamptz,
    errand_attempt_count integer,
    errand_is_in_flight boolean,
    errand_claim_time timestamptz,
    errand_last_sent_time timestamptz,
    resolve_deadline timestamptz,
"""
_ERRAND_CHECK = """
    CHECK ((errand_task IS NULL) = (errand_due_time IS NULL)
        AND (errand_task IS NOT NULL OR resolve_deadline IS NULL))
"""


def upgrade() -> None:
    """Creates the tables."""
    op.execute(f"""
        CREATE TABLE payments (
            payment_id text CONSTRAINT pk_payments PRIMARY KEY,
            order_id text NOT NULL CONSTRAINT fk_payments_order_id REFERENCES orders,
            ordinal integer NOT NULL,
            provider text NOT NULL,
            flow smallint NOT NULL,
            capture_mode smallint NOT NULL,
            currency_code text NOT NULL,
            amount_minor bigint NOT NULL,
            wish jsonb NOT NULL,
            create_time timestamptz NOT NULL,
            update_time timestamptz NOT NULL,
            state smallint NOT NULL,
            provider_reference text NOT NULL,
            authorized_minor bigint NOT NULL,
            captured_minor bigint NOT NULL,
            refunded_minor bigint NOT NULL,
            refund_pending_minor bigint NOT NULL,
            failure_code text NOT NULL,
            key_generation integer NOT NULL,
            {_ERRAND}
            CONSTRAINT uq_payments_order_id UNIQUE (order_id, ordinal),
            CONSTRAINT ck_payments_state CHECK (state BETWEEN 1 AND 10),
            CONSTRAINT ck_payments_amount CHECK (amount_minor > 0),
            CONSTRAINT ck_payments_told CHECK (authorized_minor >= 0 AND captured_minor >= 0),
            CONSTRAINT ck_payments_refunded
                CHECK (refund_pending_minor BETWEEN 0 AND refunded_minor),
            CONSTRAINT ck_payments_errand {_ERRAND_CHECK}
        )""")
    op.execute("""
        CREATE UNIQUE INDEX uq_payments_provider_reference
            ON payments (provider, provider_reference) WHERE provider_reference <> ''""")
    op.execute("""
        CREATE INDEX ix_payments_errand_due_time ON payments (errand_due_time)
            WHERE errand_due_time IS NOT NULL""")
    op.execute(f"""
        CREATE TABLE refunds (
            refund_id text CONSTRAINT pk_refunds PRIMARY KEY,
            payment_id text NOT NULL CONSTRAINT fk_refunds_payment_id REFERENCES payments,
            order_id text NOT NULL CONSTRAINT fk_refunds_order_id REFERENCES orders,
            ordinal integer NOT NULL,
            amount_minor bigint NOT NULL,
            lines jsonb NOT NULL,
            gifted_minor bigint NOT NULL,
            create_time timestamptz NOT NULL,
            update_time timestamptz NOT NULL,
            state smallint NOT NULL,
            provider_reference text NOT NULL,
            failure_code text NOT NULL,
            {_ERRAND}
            CONSTRAINT uq_refunds_order_id UNIQUE (order_id, ordinal),
            CONSTRAINT ck_refunds_state CHECK (state BETWEEN 1 AND 5),
            CONSTRAINT ck_refunds_amount CHECK (amount_minor > 0),
            CONSTRAINT ck_refunds_gifted CHECK (gifted_minor BETWEEN 0 AND amount_minor),
            CONSTRAINT ck_refunds_errand {_ERRAND_CHECK}
        )""")
    op.execute("CREATE INDEX ix_refunds_payment_id ON refunds (payment_id)")
    op.execute("""
        CREATE UNIQUE INDEX uq_refunds_provider_reference
            ON refunds (payment_id, provider_reference) WHERE provider_reference <> ''""")
    op.execute("""
        CREATE INDEX ix_refunds_errand_due_time ON refunds (errand_due_time)
            WHERE errand_due_time IS NOT NULL""")
    op.execute("""
        CREATE TABLE money_entries (
            position bigint,
            ordinal smallint,
            recorded_time timestamptz NOT NULL,
            order_id text NOT NULL,
            account text NOT NULL,
            provider text NOT NULL,
            currency_code text NOT NULL,
            amount_minor bigint NOT NULL,
            CONSTRAINT pk_money_entries PRIMARY KEY (position, ordinal),
            CONSTRAINT ck_money_entries_account CHECK (
                account IN ('clearing', 'receivable', 'revenue', 'refunds', 'payable')),
            CONSTRAINT ck_money_entries_amount CHECK (amount_minor <> 0)
        )""")
    op.execute("CREATE INDEX ix_money_entries_order_id ON money_entries (order_id)")
    op.execute("""
        CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON money_entries
        FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_rewrite_history()""")
