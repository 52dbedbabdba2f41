"""Price lists, prices, promotions and coupons."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Creates the tables."""
    _create_prices()
    _create_promotions()
    _create_coupons()


def _create_prices() -> None:
    op.execute("""
        CREATE TABLE price_lists (
            price_list_id text NOT NULL,
            version bigint NOT NULL DEFAULT 0,
            title text NOT NULL DEFAULT '',
            currency_code text NOT NULL DEFAULT '',
            customer_group text NOT NULL DEFAULT '',
            priority integer NOT NULL DEFAULT 0,
            tax_inclusive boolean NOT NULL DEFAULT false,
            start_time timestamptz,
            end_time timestamptz,
            named_only boolean NOT NULL DEFAULT false,
            shown_time timestamptz,
            CONSTRAINT pk_price_lists PRIMARY KEY (price_list_id),
            CONSTRAINT ck_price_lists_currency_code
                CHECK (version = 0 OR currency_code ~ '^[A-Z]{3}$'),
            CONSTRAINT ck_price_lists_window CHECK (start_time < end_time)
        )""")
    op.execute("""
        CREATE TABLE sku_price_roots (
            sku_id text NOT NULL,
            shown_digest text NOT NULL DEFAULT '',
            CONSTRAINT pk_sku_price_roots PRIMARY KEY (sku_id)
        )""")
    op.execute("""
        CREATE TABLE prices (
            price_list_id text NOT NULL,
            sku_id text NOT NULL,
            min_quantity integer NOT NULL,
            unit_price_minor bigint NOT NULL,
            CONSTRAINT pk_prices PRIMARY KEY (price_list_id, sku_id, min_quantity),
            CONSTRAINT ck_prices_min_quantity CHECK (min_quantity > 0),
            CONSTRAINT ck_prices_unit_price_minor CHECK (unit_price_minor >= 0),
            CONSTRAINT fk_prices_sku_id FOREIGN KEY (sku_id) REFERENCES sku_price_roots (sku_id),
            CONSTRAINT fk_prices_price_list_id FOREIGN KEY (price_list_id)
                REFERENCES price_lists (price_list_id)
        )""")
    op.execute("CREATE INDEX ix_prices_sku_id ON prices (sku_id)")


def _create_promotions() -> None:
    op.execute("""
        CREATE TABLE promotions (
            promotion_id text NOT NULL,
            version bigint NOT NULL DEFAULT 0,
            title text NOT NULL DEFAULT '',
            basis_points integer,
            amount_minor bigint,
            amount_currency_code text,
            buy_quantity integer,
            get_quantity integer,
            sku_ids text[] NOT NULL DEFAULT '{}'::text[],
            minimum_subtotal_minor bigint,
            minimum_subtotal_currency_code text,
            priority integer NOT NULL DEFAULT 0,
            coupon_required boolean NOT NULL DEFAULT false,
            start_time timestamptz,
            end_time timestamptz,
            active boolean NOT NULL DEFAULT false,
            exclusive boolean NOT NULL DEFAULT false,
            shown_in_force boolean NOT NULL DEFAULT false,
            CONSTRAINT pk_promotions PRIMARY KEY (promotion_id),
            CONSTRAINT ck_promotions_benefit
                CHECK (num_nonnulls(basis_points, amount_minor, buy_quantity) <= 1),
            CONSTRAINT ck_promotions_basis_points CHECK (basis_points BETWEEN 1 AND 10000),
            CONSTRAINT ck_promotions_amount CHECK (amount_minor >= 0),
            CONSTRAINT ck_promotions_amount_currency
                CHECK (num_nonnulls(amount_minor, amount_currency_code) <> 1),
            CONSTRAINT ck_promotions_quantities CHECK (buy_quantity > 0 AND get_quantity > 0),
            CONSTRAINT ck_promotions_both_quantities
                CHECK (num_nonnulls(buy_quantity, get_quantity) <> 1),
            CONSTRAINT ck_promotions_window CHECK (start_time < end_time)
        )""")


def _create_coupons() -> None:
    op.execute("""
        CREATE TABLE coupons (
            coupon_code text NOT NULL,
            version bigint NOT NULL DEFAULT 0,
            promotion_id text,
            usage_limit integer,
            usage_limit_per_customer integer,
            active boolean NOT NULL DEFAULT false,
            used_count integer NOT NULL DEFAULT 0,
            held_under_limit integer,
            CONSTRAINT pk_coupons PRIMARY KEY (coupon_code),
            CONSTRAINT ck_coupons_complete CHECK (version = 0 OR promotion_id IS NOT NULL),
            CONSTRAINT ck_coupons_coupon_code CHECK (coupon_code = upper(coupon_code)),
            CONSTRAINT ck_coupons_used_count CHECK (used_count >= 0),
            CONSTRAINT ck_coupons_limit CHECK (used_count <= held_under_limit),
            CONSTRAINT ck_coupons_limits CHECK (usage_limit >= 0 AND usage_limit_per_customer >= 0),
            CONSTRAINT fk_coupons_promotion_id FOREIGN KEY (promotion_id)
                REFERENCES promotions (promotion_id)
        )""")
    op.execute("""
        CREATE TABLE coupon_customers (
            coupon_code text NOT NULL,
            customer_id text NOT NULL,
            used_count integer NOT NULL,
            held_under_limit integer,
            CONSTRAINT pk_coupon_customers PRIMARY KEY (coupon_code, customer_id),
            CONSTRAINT ck_coupon_customers_used_count CHECK (used_count >= 0),
            CONSTRAINT ck_coupon_customers_limit CHECK (used_count <= held_under_limit),
            CONSTRAINT fk_coupon_customers_coupon_code FOREIGN KEY (coupon_code)
                REFERENCES coupons (coupon_code)
        )""")
