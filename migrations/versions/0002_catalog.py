"""Products and SKUs."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Creates the tables."""
    op.execute("""
        CREATE TABLE products (
            product_id text NOT NULL,
            version bigint NOT NULL DEFAULT 0,
            title text NOT NULL DEFAULT '',
            attributes jsonb NOT NULL DEFAULT '{}'::jsonb,
            active boolean NOT NULL DEFAULT false,
            CONSTRAINT pk_products PRIMARY KEY (product_id),
            CONSTRAINT ck_products_title CHECK (version = 0 OR title <> '')
        )""")
    op.execute("""
        CREATE TABLE skus (
            sku_id text NOT NULL,
            version bigint NOT NULL DEFAULT 0,
            product_id text,
            title text NOT NULL DEFAULT '',
            attributes jsonb NOT NULL DEFAULT '{}'::jsonb,
            weight_grams integer,
            length_mm integer,
            width_mm integer,
            height_mm integer,
            active boolean NOT NULL DEFAULT false,
            sale_state smallint NOT NULL DEFAULT 2,
            CONSTRAINT pk_skus PRIMARY KEY (sku_id),
            CONSTRAINT ck_skus_complete
                CHECK (version = 0 OR (product_id IS NOT NULL AND title <> '')),
            CONSTRAINT ck_skus_weight CHECK (weight_grams > 0),
            CONSTRAINT ck_skus_dimensions
                CHECK (num_nonnulls(length_mm, width_mm, height_mm) IN (0, 3)),
            CONSTRAINT ck_skus_dimensions_positive
                CHECK (least(length_mm, width_mm, height_mm) > 0),
            CONSTRAINT ck_skus_sale_state CHECK (sale_state IN (1, 2)),
            CONSTRAINT fk_skus_product_id FOREIGN KEY (product_id) REFERENCES products (product_id)
        )""")
    op.execute("CREATE INDEX ix_skus_product_id ON skus (product_id)")
