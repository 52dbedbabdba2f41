"""The tables of price lists, prices, promotions and coupons, and the SQL that reads and writes them.

A row of version 0 is a key row: it can be locked, nothing more.
"""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from event_log.appending import INCARNATION
from event_log.tables import METADATA

PRICE_LISTS = sa.Table(
    "price_lists",
    METADATA,
    sa.Column("price_list_id", sa.Text, primary_key=True),
    sa.Column("version", sa.BigInteger, nullable=False, server_default=sa.text("0")),
    sa.Column("title", sa.Text, nullable=False, server_default=""),
    sa.Column("currency_code", sa.Text, nullable=False, server_default=""),
    sa.Column("customer_group", sa.Text, nullable=False, server_default=""),
    sa.Column("priority", sa.Integer, nullable=False, server_default=sa.text("0")),
    sa.Column("tax_inclusive", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("start_time", sa.DateTime(timezone=True)),
    sa.Column("end_time", sa.DateTime(timezone=True)),
    sa.Column("named_only", sa.Boolean, nullable=False, server_default=sa.false()),
    # The prices of its SKUs have all been told as of then or later; NULL: not since it was changed.
    sa.Column("shown_time", sa.DateTime(timezone=True)),
    sa.CheckConstraint("version = 0 OR currency_code ~ '^[A-Z]{3}$'", name="currency_code"),
    sa.CheckConstraint("start_time < end_time", name="window"),
)

# What is locked to change the prices of a SKU, which need not exist: so that those who tell its prices
# in force do so one after another, and the last of them has seen them all.
SKU_PRICE_ROOTS = sa.Table(
    "sku_price_roots",
    METADATA,
    sa.Column("sku_id", sa.Text, primary_key=True),
    sa.Column("shown_digest", sa.Text, nullable=False, server_default=""),
)

PRICES = sa.Table(
    "prices",
    METADATA,
    sa.Column("price_list_id", sa.Text, sa.ForeignKey("price_lists.price_list_id"), primary_key=True),
    sa.Column("sku_id", sa.Text, sa.ForeignKey("sku_price_roots.sku_id"), primary_key=True),
    sa.Column("min_quantity", sa.Integer, primary_key=True),
    sa.Column("unit_price_minor", sa.BigInteger, nullable=False),
    sa.CheckConstraint("min_quantity > 0", name="min_quantity"),
    sa.CheckConstraint("unit_price_minor >= 0", name="unit_price_minor"),
    sa.Index("ix_prices_sku_id", "sku_id"),
)

PROMOTIONS = sa.Table(
    "promotions",
    METADATA,
    sa.Column("promotion_id", sa.Text, primary_key=True),
    sa.Column("version", sa.BigInteger, nullable=False, server_default=sa.text("0")),
    sa.Column("title", sa.Text, nullable=False, server_default=""),
    # What it gives: basis points, or an amount and its currency, or two quantities, or free shipping.
    sa.Column("basis_points", sa.Integer),
    sa.Column("amount_minor", sa.BigInteger),
    sa.Column("amount_currency_code", sa.Text),
    sa.Column("buy_quantity", sa.Integer),
    sa.Column("get_quantity", sa.Integer),
    sa.Column("sku_ids", ARRAY(sa.Text), nullable=False, server_default=sa.text("'{}'::text[]")),
    sa.Column("minimum_subtotal_minor", sa.BigInteger),
    sa.Column("minimum_subtotal_currency_code", sa.Text),
    sa.Column("priority", sa.Integer, nullable=False, server_default=sa.text("0")),
    sa.Column("coupon_required", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("start_time", sa.DateTime(timezone=True)),
    sa.Column("end_time", sa.DateTime(timezone=True)),
    sa.Column("active", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("exclusive", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("shown_in_force", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.CheckConstraint("num_nonnulls(basis_points, amount_minor, buy_quantity) <= 1", name="benefit"),
    sa.CheckConstraint("basis_points BETWEEN 1 AND 10000", name="basis_points"),
    sa.CheckConstraint("amount_minor >= 0", name="amount"),
    sa.CheckConstraint("num_nonnulls(amount_minor, amount_currency_code) <> 1", name="amount_currency"),
    sa.CheckConstraint("buy_quantity > 0 AND get_quantity > 0", name="quantities"),
    sa.CheckConstraint("num_nonnulls(buy_quantity, get_quantity) <> 1", name="both_quantities"),
    sa.CheckConstraint("start_time < end_time", name="window"),
)

COUPONS = sa.Table(
    "coupons",
    METADATA,
    sa.Column("coupon_code", sa.Text, primary_key=True),
    sa.Column("version", sa.BigInteger, nullable=False, server_default=sa.text("0")),
    sa.Column("promotion_id", sa.Text, sa.ForeignKey("promotions.promotion_id")),
    sa.Column("usage_limit", sa.Integer),
    sa.Column("usage_limit_per_customer", sa.Integer),
    sa.Column("active", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("used_count", sa.Integer, nullable=False, server_default=sa.text("0")),
    # usage_limit may be lowered below what has been used already, so used_count is held against the
    # limit of the moment at which it last grew: no use beyond a limit can be written.
    sa.Column("held_under_limit", sa.Integer),
    sa.CheckConstraint("version = 0 OR promotion_id IS NOT NULL", name="complete"),
    sa.CheckConstraint("coupon_code = upper(coupon_code)", name="coupon_code"),
    sa.CheckConstraint("used_count >= 0", name="used_count"),
    sa.CheckConstraint("used_count <= held_under_limit", name="limit"),
    sa.CheckConstraint("usage_limit >= 0 AND usage_limit_per_customer >= 0", name="limits"),
)

COUPON_CUSTOMERS = sa.Table(
    "coupon_customers",
    METADATA,
    sa.Column("coupon_code", sa.Text, sa.ForeignKey("coupons.coupon_code"), primary_key=True),
    sa.Column("customer_id", sa.Text, primary_key=True),
    sa.Column("used_count", sa.Integer, nullable=False),
    sa.Column("held_under_limit", sa.Integer),
    sa.CheckConstraint("used_count >= 0", name="used_count"),
    sa.CheckConstraint("used_count <= held_under_limit", name="limit"),
)

# --- statements: price lists ----------------------------------------------------------------------

IN_FORCE = "((start_time IS NULL OR start_time <= now()) AND (end_time IS NULL OR now() < end_time))"

DUE_PRICE_LISTS = """
SELECT price_list_id, version AS list_version, now() AS listed_time
FROM price_lists
WHERE version > 0 AND (shown_time IS NULL
    OR (shown_time < start_time AND start_time <= now())
    OR (shown_time < end_time AND end_time <= now()))
ORDER BY price_list_id
"""
"""For the scheduler: lists that were changed, or opened or closed, since their SKUs' prices were told.

list_version and listed_time go into ApplyPriceWindow unchanged. List the SKUs in later statements, so
that those of an older version are never taken for all.
"""

PRICE_LIST_SKUS = """
SELECT sku_id FROM prices
WHERE price_list_id = %(price_list_id)s AND sku_id > %(after_sku_id)s AND min_quantity = 1
ORDER BY sku_id LIMIT %(sku_count_max)s
"""
"""For the scheduler: SKUs of a list after one of them ('': from the first on)."""

DUE_PROMOTIONS = f"""
SELECT promotion_id FROM promotions
WHERE version > 0 AND shown_in_force <> (active AND {IN_FORCE}) ORDER BY promotion_id
"""
"""For the scheduler: promotions whose window opened or closed since they were last told of."""

_PRICE_LIST_COLUMNS = ", ".join(PRICE_LISTS.columns.keys())

MAKE_PRICE_LISTS = """
INSERT INTO price_lists (price_list_id) SELECT unnest(%s::text[]) ON CONFLICT DO NOTHING
"""

READ_PRICE_LISTS = f"""
SELECT {_PRICE_LIST_COLUMNS}
FROM price_lists WHERE price_list_id = ANY(%s::text[]) ORDER BY price_list_id
"""

SAVE_PRICE_LISTS = f"""
UPDATE price_lists AS list
SET version = row.version, title = row.title, currency_code = row.currency_code,
    customer_group = row.customer_group, priority = row.priority, tax_inclusive = row.tax_inclusive,
    start_time = row.start_time, end_time = row.end_time, named_only = row.named_only,
    shown_time = row.shown_time
FROM unnest(%s::text[], %s::bigint[], %s::text[], %s::text[], %s::text[], %s::bigint[], %s::bool[],
    %s::timestamptz[], %s::timestamptz[], %s::bool[], %s::timestamptz[]) AS row({_PRICE_LIST_COLUMNS})
WHERE list.price_list_id = row.price_list_id
"""

# --- statements: prices ---------------------------------------------------------------------------

MAKE_SKU_PRICE_ROOTS = """
INSERT INTO sku_price_roots (sku_id) SELECT unnest(%s::text[]) ON CONFLICT DO NOTHING
"""

LOCK_SKU_PRICE_ROOTS = """
SELECT sku_id FROM sku_price_roots
WHERE sku_id = ANY(%s::text[]) ORDER BY sku_id
"""

# A SKU without prices has none in force either, so there is no digest to be missed.
READ_PRICES = """
SELECT sku_id, price_list_id, min_quantity, unit_price_minor, shown_digest
FROM prices JOIN sku_price_roots USING (sku_id) WHERE sku_id = ANY(%s::text[])
"""

REMOVE_PRICES = """
DELETE FROM prices USING unnest(%s::text[], %s::text[]) AS row(sku_id, price_list_id)
WHERE prices.sku_id = row.sku_id AND prices.price_list_id = row.price_list_id
"""

ADD_PRICES = """
INSERT INTO prices (sku_id, price_list_id, min_quantity, unit_price_minor)
SELECT * FROM unnest(%s::text[], %s::text[], %s::bigint[]::int[], %s::bigint[])
"""

SAVE_SHOWN_DIGESTS = """
UPDATE sku_price_roots AS root SET shown_digest = row.shown_digest
FROM unnest(%s::text[], %s::text[]) AS row(sku_id, shown_digest)
WHERE root.sku_id = row.sku_id AND root.shown_digest <> row.shown_digest
"""

# --- statements: promotions -----------------------------------------------------------------------

_PROMOTION_COLUMNS = ", ".join(PROMOTIONS.columns.keys())
_PROMOTION_FIELDS = ", ".join(name for name in _PROMOTION_COLUMNS.split(", ") if name != "version")

MAKE_PROMOTIONS = """
INSERT INTO promotions (promotion_id) SELECT unnest(%s::text[]) ON CONFLICT DO NOTHING
"""

READ_PROMOTIONS = f"""
SELECT {_PROMOTION_COLUMNS}
FROM promotions WHERE promotion_id = ANY(%s::text[]) ORDER BY promotion_id
"""

# unnest() would flatten an array of arrays: the SKUs travel as the text of one array a row.
SAVE_PROMOTIONS = f"""
UPDATE promotions AS promotion
SET version = promotion.version + 1, title = row.title, basis_points = row.basis_points,
    amount_minor = row.amount_minor, amount_currency_code = row.amount_currency_code,
    buy_quantity = row.buy_quantity, get_quantity = row.get_quantity,
    sku_ids = ARRAY(SELECT jsonb_array_elements_text(row.sku_ids::jsonb)),
    minimum_subtotal_minor = row.minimum_subtotal_minor,
    minimum_subtotal_currency_code = row.minimum_subtotal_currency_code, priority = row.priority,
    coupon_required = row.coupon_required, start_time = row.start_time, end_time = row.end_time,
    active = row.active, exclusive = row.exclusive, shown_in_force = row.shown_in_force
FROM unnest(%s::text[], %s::text[], %s::bigint[], %s::bigint[], %s::text[], %s::bigint[], %s::bigint[],
    %s::text[], %s::bigint[], %s::text[], %s::bigint[], %s::bool[], %s::timestamptz[],
    %s::timestamptz[], %s::bool[], %s::bool[], %s::bool[]) AS row({_PROMOTION_FIELDS})
WHERE promotion.promotion_id = row.promotion_id
"""

# --- statements: the price book -------------------------------------------------------------------

# All is read each time but the SKUs, nearly all of its bytes: they are NULL where the caller has them. A
# promotion of one version has the same SKUs, until a restore begins another log.
_KNOWN = f"""
known.promotion_id = promotions.promotion_id AND known.version = promotions.version
    AND known.incarnation = ({INCARNATION})
"""
_BOOK_COLUMNS = ", ".join(
    "CASE WHEN known.version IS NULL THEN sku_ids END AS sku_ids"
    if name == "sku_ids"
    else f"promotions.{name}"
    for name in _PROMOTION_COLUMNS.split(", ")
)

# Both tables in one statement: joined on nothing, so that each row holds a list or a promotion.
READ_PRICE_BOOK = f"""
SELECT list.*, promotion.* FROM (
    SELECT {_PRICE_LIST_COLUMNS} FROM price_lists WHERE version > 0
) AS list FULL JOIN (
    SELECT {_BOOK_COLUMNS}, ({INCARNATION}) AS incarnation FROM promotions
    LEFT JOIN unnest(%s::text[], %s::text[], %s::bigint[])
        AS known(incarnation, promotion_id, version) ON {_KNOWN}
    WHERE promotions.version > 0 AND active AND (end_time IS NULL OR end_time > now())
) AS promotion ON false
"""

# --- statements: coupons --------------------------------------------------------------------------

MAKE_COUPONS = """
INSERT INTO coupons (coupon_code) SELECT unnest(%s::text[]) ON CONFLICT DO NOTHING
"""

READ_COUPONS = """
SELECT coupon_code, version, promotion_id, usage_limit, usage_limit_per_customer, active, used_count,
       held_under_limit
FROM coupons WHERE coupon_code = ANY(%s::text[]) ORDER BY coupon_code
"""

SAVE_COUPONS = """
UPDATE coupons AS coupon
SET version = coupon.version + 1, promotion_id = row.promotion_id, usage_limit = row.usage_limit,
    usage_limit_per_customer = row.usage_limit_per_customer, active = row.active,
    used_count = row.used_count, held_under_limit = row.held_under_limit
FROM unnest(%s::text[], %s::text[], %s::bigint[], %s::bigint[], %s::bool[], %s::bigint[], %s::bigint[])
    AS row(coupon_code, promotion_id, usage_limit, usage_limit_per_customer, active, used_count,
        held_under_limit)
WHERE coupon.coupon_code = row.coupon_code
"""

READ_COUPON_CUSTOMERS = """
SELECT coupon_code, customer_id, used_count, held_under_limit FROM coupon_customers
WHERE (coupon_code, customer_id) IN (SELECT * FROM unnest(%s::text[], %s::text[]))
"""

SAVE_COUPON_CUSTOMERS = """
INSERT INTO coupon_customers (coupon_code, customer_id, used_count, held_under_limit)
SELECT * FROM unnest(%s::text[], %s::text[], %s::bigint[]::int[], %s::bigint[]::int[])
ON CONFLICT (coupon_code, customer_id) DO UPDATE
SET used_count = excluded.used_count, held_under_limit = excluded.held_under_limit
"""
