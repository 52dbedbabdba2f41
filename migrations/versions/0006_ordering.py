"""Orders, their lines, payments, refunds and contacts."""

from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Creates the tables."""
    # The increment is order_numbers.BLOCK_SIZE: each value stands for that many numbers.
    op.execute("CREATE SEQUENCE order_number_blocks START 100000000 INCREMENT 100")
    op.execute("""
        CREATE TABLE orders (
            order_id text CONSTRAINT pk_orders PRIMARY KEY,
            order_number text NOT NULL CONSTRAINT uq_orders_order_number UNIQUE,
            version bigint NOT NULL,
            state smallint NOT NULL,
            customer_id text NOT NULL,
            cart_id text NOT NULL CONSTRAINT uq_orders_cart_id UNIQUE,
            currency_code text NOT NULL,
            coupon_codes text[] NOT NULL,
            subtotal_minor bigint NOT NULL,
            discount_minor bigint NOT NULL,
            total_minor bigint NOT NULL,
            paid_minor bigint NOT NULL,
            refunded_minor bigint NOT NULL,
            gifted_minor bigint NOT NULL,
            free_shipping boolean NOT NULL,
            tax_inclusive boolean NOT NULL,
            payment_mode smallint NOT NULL,
            placed_time timestamptz NOT NULL,
            update_time timestamptz NOT NULL,
            expire_time timestamptz NOT NULL,
            cancel_reason text NOT NULL DEFAULT '',
            CONSTRAINT ck_orders_state CHECK (version > 0 AND state BETWEEN 1 AND 7),
            CONSTRAINT ck_orders_total CHECK (
                total_minor = subtotal_minor + discount_minor
                AND total_minor >= 0 AND discount_minor <= 0),
            CONSTRAINT ck_orders_refunded CHECK (refunded_minor BETWEEN 0 AND paid_minor),
            CONSTRAINT ck_orders_gifted CHECK (gifted_minor BETWEEN 0 AND refunded_minor),
            CONSTRAINT ck_orders_paid CHECK (
                state NOT IN (3, 4, 5) OR paid_minor >= total_minor)
        )""")
    op.execute("CREATE INDEX ix_orders_customer_id ON orders (customer_id, placed_time)")
    op.execute("CREATE INDEX ix_orders_state ON orders (state, placed_time)")
    op.execute("CREATE INDEX ix_orders_expire_time ON orders (expire_time) WHERE state IN (1, 2)")
    op.execute("""
        CREATE TABLE order_lines (
            order_id text CONSTRAINT fk_order_lines_order_id REFERENCES orders,
            line_id text,
            ordinal integer NOT NULL,
            sku_id text NOT NULL,
            title text NOT NULL,
            quantity integer NOT NULL,
            unit_price_minor bigint NOT NULL,
            discount_minor bigint NOT NULL,
            price_list_id text NOT NULL,
            price_tier_min_quantity integer NOT NULL,
            adjustments jsonb NOT NULL,
            fulfilled_quantity integer NOT NULL,
            returned_quantity integer NOT NULL,
            refunded_quantity integer NOT NULL,
            cancelled_quantity integer NOT NULL,
            refunded_minor bigint NOT NULL,
            CONSTRAINT pk_order_lines PRIMARY KEY (order_id, line_id),
            CONSTRAINT ck_order_lines_quantity CHECK (quantity > 0),
            CONSTRAINT ck_order_lines_price CHECK (unit_price_minor >= 0 AND price_list_id <> ''),
            CONSTRAINT ck_order_lines_total CHECK (
                discount_minor <= 0 AND unit_price_minor * quantity + discount_minor >= 0),
            CONSTRAINT ck_order_lines_cancelled CHECK (cancelled_quantity BETWEEN 0 AND quantity),
            CONSTRAINT ck_order_lines_fulfilled CHECK (
                fulfilled_quantity BETWEEN 0 AND quantity - cancelled_quantity),
            CONSTRAINT ck_order_lines_returned CHECK (
                returned_quantity BETWEEN 0 AND fulfilled_quantity),
            CONSTRAINT ck_order_lines_refunded CHECK (refunded_quantity BETWEEN 0 AND quantity),
            CONSTRAINT ck_order_lines_refunded_minor CHECK (
                refunded_minor BETWEEN 0 AND unit_price_minor * quantity + discount_minor)
        )""")
    op.execute("""
        CREATE TABLE order_contacts (
            order_id text CONSTRAINT pk_order_contacts PRIMARY KEY
                CONSTRAINT fk_order_contacts_order_id REFERENCES orders,
            email text NOT NULL,
            full_name text NOT NULL,
            phone text NOT NULL,
            shipping_address jsonb,
            billing_address jsonb,
            notes text NOT NULL
        )""")
    op.execute("CREATE INDEX ix_order_contacts_email ON order_contacts (lower(email))")
    op.execute("""
        CREATE TABLE money_records (
            kind text,
            reference text,
            order_id text CONSTRAINT fk_money_records_order_id REFERENCES orders,
            amount_minor bigint,
            units jsonb NOT NULL DEFAULT '[]',
            outcome smallint,
            CONSTRAINT pk_money_records PRIMARY KEY (kind, reference),
            CONSTRAINT ck_money_records_kind CHECK (kind IN ('payment', 'refund')),
            CONSTRAINT ck_money_records_complete CHECK (
                (order_id IS NULL) = (amount_minor IS NULL)),
            CONSTRAINT ck_money_records_amount CHECK (amount_minor > 0),
            CONSTRAINT ck_money_records_outcome CHECK (outcome BETWEEN 1 AND 3),
            CONSTRAINT ck_money_records_outcome_of_payment CHECK (
                (outcome IS NULL) = (kind = 'refund' OR order_id IS NULL))
        )""")
    op.execute("CREATE INDEX ix_money_records_order_id ON money_records (order_id)")
    op.execute("CREATE INDEX ix_money_records_reference ON money_records (reference)")
