"""Carts and their lines."""

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Creates the tables."""
    op.execute("""
        CREATE TABLE carts (
            cart_id text CONSTRAINT pk_carts PRIMARY KEY,
            version bigint NOT NULL DEFAULT 0,
            state smallint NOT NULL DEFAULT 0,
            customer_id text NOT NULL DEFAULT '',
            currency_code text NOT NULL DEFAULT '',
            customer_group text NOT NULL DEFAULT '',
            price_list_id text NOT NULL DEFAULT '',
            coupon_codes text[] NOT NULL DEFAULT '{}',
            subtotal_minor bigint NOT NULL DEFAULT 0,
            discount_minor bigint NOT NULL DEFAULT 0,
            free_shipping boolean NOT NULL DEFAULT false,
            tax_inclusive boolean NOT NULL DEFAULT false,
            priced_time timestamptz,
            prices_valid_until timestamptz,
            create_time timestamptz,
            update_time timestamptz,
            expire_time timestamptz,
            CONSTRAINT ck_carts_state CHECK (version >= 0 AND state BETWEEN 0 AND 4),
            CONSTRAINT ck_carts_key_row CHECK (
                CASE WHEN version = 0 THEN state = 0
                ELSE state > 0
                    AND num_nulls(priced_time, create_time, update_time, expire_time) = 0 END),
            CONSTRAINT ck_carts_total CHECK (
                discount_minor <= 0 AND subtotal_minor + discount_minor >= 0)
        )""")
    op.execute("CREATE INDEX ix_carts_expire_time ON carts (expire_time) WHERE state = 1")
    op.execute("""
        CREATE TABLE cart_lines (
            cart_id text NOT NULL CONSTRAINT fk_cart_lines_cart_id REFERENCES carts (cart_id),
            line_id text NOT NULL,
            ordinal integer NOT NULL,
            sku_id text NOT NULL,
            title text NOT NULL,
            quantity integer NOT NULL,
            unit_price_minor bigint NOT NULL,
            discount_minor bigint NOT NULL,
            price_list_id text NOT NULL,
            price_tier_min_quantity integer NOT NULL,
            adjustments jsonb NOT NULL,
            CONSTRAINT pk_cart_lines PRIMARY KEY (cart_id, line_id),
            CONSTRAINT ck_cart_lines_quantity CHECK (quantity BETWEEN 1 AND 1000000),
            CONSTRAINT ck_cart_lines_price CHECK (unit_price_minor >= 0 AND price_list_id <> ''),
            CONSTRAINT ck_cart_lines_total CHECK (
                discount_minor <= 0 AND unit_price_minor * quantity + discount_minor >= 0)
        )""")
