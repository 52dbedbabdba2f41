"""Products and SKUs in PostgreSQL. A row of version 0 is a key row: it can be locked, nothing more."""

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from command_service.catalog.domain import PRODUCT, SKU, Dimensions, Product, SaleState, Sku
from command_service.keyed_rows import assemble_rows, columns, load_rows
from command_service.pipeline import Row, Statement
from command_service.unit_of_work import Changed, Keys
from event_log.tables import METADATA

PRODUCTS = sa.Table(
    "products",
    METADATA,
    sa.Column("product_id", sa.Text, primary_key=True),
    sa.Column("version", sa.BigInteger, nullable=False, server_default=sa.text("0")),
    sa.Column("title", sa.Text, nullable=False, server_default=""),
    sa.Column("attributes", JSONB, nullable=False, server_default=sa.text("'{}'::jsonb")),
    sa.Column("active", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.CheckConstraint("version = 0 OR title <> ''", name="title"),
)

SKUS = sa.Table(
    "skus",
    METADATA,
    sa.Column("sku_id", sa.Text, primary_key=True),
    sa.Column("version", sa.BigInteger, nullable=False, server_default=sa.text("0")),
    sa.Column("product_id", sa.Text, sa.ForeignKey("products.product_id")),
    sa.Column("title", sa.Text, nullable=False, server_default=""),
    sa.Column("attributes", JSONB, nullable=False, server_default=sa.text("'{}'::jsonb")),
    sa.Column("weight_grams", sa.Integer),
    sa.Column("length_mm", sa.Integer),
    sa.Column("width_mm", sa.Integer),
    sa.Column("height_mm", sa.Integer),
    sa.Column("active", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("sale_state", sa.SmallInteger, nullable=False, server_default=sa.text("2")),
    sa.CheckConstraint("version = 0 OR (product_id IS NOT NULL AND title <> '')", name="complete"),
    sa.CheckConstraint("weight_grams > 0", name="weight"),
    sa.CheckConstraint("num_nonnulls(length_mm, width_mm, height_mm) IN (0, 3)", name="dimensions"),
    sa.CheckConstraint("least(length_mm, width_mm, height_mm) > 0", name="dimensions_positive"),
    sa.CheckConstraint("sale_state IN (1, 2)", name="sale_state"),
    sa.Index("ix_skus_product_id", "product_id"),
)

MAKE_PRODUCTS = """
INSERT INTO products (product_id) SELECT unnest(%s::text[]) ON CONFLICT DO NOTHING
"""

READ_PRODUCTS = """
SELECT product_id, version, title, attributes, active
FROM products WHERE product_id = ANY(%s::text[]) ORDER BY product_id
"""

SAVE_PRODUCTS = """
UPDATE products AS product
SET version = product.version + 1, title = row.title, attributes = row.attributes::jsonb,
    active = row.active
FROM unnest(%s::text[], %s::text[], %s::text[], %s::bool[])
    AS row(product_id, title, attributes, active)
WHERE product.product_id = row.product_id
"""

MAKE_SKUS = """
INSERT INTO skus (sku_id) SELECT unnest(%s::text[]) ON CONFLICT DO NOTHING
"""

READ_SKUS = """
SELECT sku_id, skus.version, skus.product_id, skus.title, skus.attributes::text, weight_grams,
       length_mm, width_mm, height_mm, skus.active, sale_state, coalesce(products.active, false)
FROM skus LEFT JOIN products USING (product_id) WHERE sku_id = ANY(%s::text[]) ORDER BY sku_id
"""

SAVE_SKUS = """
UPDATE skus AS sku
SET version = sku.version + 1, product_id = row.product_id, title = row.title,
    attributes = row.attributes::jsonb, weight_grams = row.weight_grams,
    length_mm = row.length_mm, width_mm = row.width_mm, height_mm = row.height_mm,
    active = row.active, sale_state = row.sale_state
FROM unnest(%s::text[], %s::text[], %s::text[], %s::text[], %s::bigint[], %s::bigint[], %s::bigint[],
    %s::bigint[], %s::bool[], %s::bigint[])
    AS row(sku_id, product_id, title, attributes, weight_grams, length_mm, width_mm, height_mm,
        active, sale_state)
WHERE sku.sku_id = row.sku_id
"""


SKUS_KEPT_MAX = 20_000
"""Rows are read anew each time, but few differ from what they were: most take a KiB, none above 5."""

ATTRIBUTES_LENGTH_KEPT_MAX = 1_000
"""SKUs of longer attributes are made anew: they may have 28,000 characters of them, and take 58 KiB."""


class ProductRepository:
    """Keeps products."""

    kind = PRODUCT

    def load(self, keys: Keys[str]) -> list[Statement]:
        """Locks and reads products."""
        return load_rows(keys, table="products", make=MAKE_PRODUCTS, read=READ_PRODUCTS)

    def assemble(self, keys: Keys[str], results: Sequence[Sequence[Row]]) -> dict[str, Product | None]:
        """Each product, or None."""
        return assemble_rows(keys, results, _product)

    def save(self, changed: Sequence[Changed[str, Product]]) -> list[Statement]:
        """Writes changed products; their SKUs stay as they are."""
        rows = [(p.product_id, p.title, json.dumps(dict(p.attributes)), p.active) for _, _, p in changed]
        return [Statement(SAVE_PRODUCTS, columns(rows))]


class SkuRepository:
    """Keeps SKUs; each is read with its product's `active`, which is stored with the product only."""

    kind = SKU

    def load(self, keys: Keys[str]) -> list[Statement]:
        """Locks and reads SKUs."""
        return load_rows(keys, table="skus", make=MAKE_SKUS, read=READ_SKUS)

    def assemble(self, keys: Keys[str], results: Sequence[Sequence[Row]]) -> dict[str, Sku | None]:
        """Each SKU, or None."""
        return assemble_rows(keys, results, _sku)

    def save(self, changed: Sequence[Changed[str, Sku]]) -> list[Statement]:
        """Writes changed SKUs."""
        return [Statement(SAVE_SKUS, columns(_sku_row(sku) for _, _, sku in changed))]


def _product(product_id: str, _version: int, *rest: Any) -> Product:
    return Product(product_id, *rest)


def _sku(*row: Any) -> Sku:
    """The SKU of a row of READ_SKUS; the same one for the same row, so nobody changes its attributes."""
    make = _kept_sku if len(row[4]) <= ATTRIBUTES_LENGTH_KEPT_MAX else _made_sku
    return make(*row)


def _made_sku(sku_id: str, _version: int, *rest: Any) -> Sku:
    product_id, title, attributes, weight_grams, *sides, active, sale_state, product_active = rest
    return Sku(
        sku_id=sku_id,
        product_id=product_id,
        title=title,
        attributes=json.loads(attributes),
        weight_grams=weight_grams,
        dimensions=None if None in sides else Dimensions(*sides),
        active=active,
        sale_state=SaleState(sale_state),
        product_active=product_active,
    )


_kept_sku = lru_cache(maxsize=SKUS_KEPT_MAX)(_made_sku)


def _sku_row(sku: Sku) -> tuple[object, ...]:
    size = sku.dimensions
    sides = (size.length_mm, size.width_mm, size.height_mm) if size else (None, None, None)
    return (
        sku.sku_id,
        sku.product_id,
        sku.title,
        json.dumps(dict(sku.attributes)),
        sku.weight_grams,
        *sides,
        sku.active,
        int(sku.sale_state),
    )
