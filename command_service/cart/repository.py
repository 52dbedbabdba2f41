"""Carts and their lines in PostgreSQL: rows to aggregates and back."""

from collections.abc import Sequence

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from command_service import adjustments
from command_service.cart.domain import (
    CART,
    Cart,
    CartLine,
    CartState,
    changed_lines,
    removed_line_ids,
)
from command_service.keyed_rows import assemble_rows, columns, load_rows
from command_service.pipeline import Row, Statement
from command_service.unit_of_work import Changed, Keys
from command_service.world import Kind
from event_log.tables import METADATA

# Version 0 and state 0 mark a key row: it was made so that an absent cart could be locked.
CARTS = sa.Table(
    "carts",
    METADATA,
    sa.Column("cart_id", sa.Text, primary_key=True),
    sa.Column("version", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("state", sa.SmallInteger, nullable=False, server_default="0"),
    sa.Column("customer_id", sa.Text, nullable=False, server_default=""),
    sa.Column("currency_code", sa.Text, nullable=False, server_default=""),
    sa.Column("customer_group", sa.Text, nullable=False, server_default=""),
    sa.Column("price_list_id", sa.Text, nullable=False, server_default=""),
    sa.Column("coupon_codes", ARRAY(sa.Text), nullable=False, server_default="{}"),
    # Sums of the lines, kept so that whoever checks the invariants can compare.
    sa.Column("subtotal_minor", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("discount_minor", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("free_shipping", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("tax_inclusive", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("priced_time", sa.DateTime(timezone=True)),
    sa.Column("prices_valid_until", sa.DateTime(timezone=True)),
    sa.Column("create_time", sa.DateTime(timezone=True)),
    sa.Column("update_time", sa.DateTime(timezone=True)),
    sa.Column("expire_time", sa.DateTime(timezone=True)),
    # Of an ordered cart that is not kept any longer the row stays, since its order bears its id.
    sa.Column("is_forgotten", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.CheckConstraint("version >= 0 AND state BETWEEN 0 AND 4", name="state"),
    sa.CheckConstraint(
        "CASE WHEN version = 0 THEN state = 0"
        " ELSE state > 0 AND num_nulls(priced_time, create_time, update_time, expire_time) = 0 END",
        name="key_row",
    ),
    sa.CheckConstraint("discount_minor <= 0 AND subtotal_minor + discount_minor >= 0", name="total"),
    # What the expiry worker looks for.
    sa.Index("ix_carts_expire_time", "expire_time", postgresql_where=sa.text("state = 1")),
    # What the retention worker looks for.
    sa.Index(
        "ix_carts_update_time",
        "update_time",
        postgresql_where=sa.text("state > 1 AND NOT is_forgotten"),
    ),
)

CART_LINES = sa.Table(
    "cart_lines",
    METADATA,
    sa.Column("cart_id", sa.Text, sa.ForeignKey("carts.cart_id"), primary_key=True),
    sa.Column("line_id", sa.Text, primary_key=True),
    # Place in the cart: lines are listed in the order in which they were added.
    sa.Column("ordinal", sa.Integer, nullable=False),
    sa.Column("sku_id", sa.Text, nullable=False),
    sa.Column("title", sa.Text, nullable=False),
    sa.Column("quantity", sa.Integer, nullable=False),
    sa.Column("unit_price_minor", sa.BigInteger, nullable=False),
    sa.Column("discount_minor", sa.BigInteger, nullable=False),
    sa.Column("price_list_id", sa.Text, nullable=False),
    sa.Column("price_tier_min_quantity", sa.Integer, nullable=False),
    # As command_service.adjustments stores them.
    sa.Column("adjustments", JSONB, nullable=False),
    sa.CheckConstraint("quantity BETWEEN 1 AND 1000000", name="quantity"),
    # The list is what tells a price of 0 from no price at all.
    sa.CheckConstraint("unit_price_minor >= 0 AND price_list_id <> ''", name="price"),
    sa.CheckConstraint(
        "discount_minor <= 0 AND unit_price_minor * quantity + discount_minor >= 0", name="total"
    ),
)

MAKE_KEY_ROWS = """
INSERT INTO carts (cart_id) SELECT unnest(%s::text[]) ON CONFLICT DO NOTHING
"""

READ_CARTS = """
SELECT cart_id, version, state, customer_id, currency_code, customer_group, price_list_id,
       coupon_codes, free_shipping, tax_inclusive,
       priced_time, prices_valid_until, create_time, update_time, expire_time, is_forgotten
FROM carts WHERE cart_id = ANY(%s::text[]) ORDER BY cart_id
"""

READ_LINES = """
SELECT cart_id, line_id, sku_id, title, quantity, unit_price_minor, discount_minor, price_list_id,
       price_tier_min_quantity, adjustments::text, ordinal
FROM cart_lines WHERE cart_id = ANY(%s::text[]) ORDER BY cart_id, ordinal
"""

# Codes hold no comma, and PostgreSQL has no arrays of arrays of different lengths.
UPDATE_CARTS = """
UPDATE carts SET
    version = row.version, state = row.state, customer_id = row.customer_id,
    currency_code = row.currency_code, customer_group = row.customer_group,
    price_list_id = row.price_list_id, coupon_codes = string_to_array(row.coupon_codes, ','),
    subtotal_minor = row.subtotal_minor, discount_minor = row.discount_minor,
    free_shipping = row.free_shipping, tax_inclusive = row.tax_inclusive,
    priced_time = row.priced_time, prices_valid_until = row.prices_valid_until,
    create_time = row.create_time, update_time = row.update_time, expire_time = row.expire_time,
    is_forgotten = row.is_forgotten
FROM unnest(
    %s::text[], %s::bigint[], %s::bigint[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[],
    %s::bigint[], %s::bigint[], %s::boolean[], %s::boolean[], %s::timestamptz[], %s::timestamptz[],
    %s::timestamptz[], %s::timestamptz[], %s::timestamptz[], %s::boolean[]
) AS row(cart_id, version, state, customer_id, currency_code, customer_group, price_list_id,
    coupon_codes, subtotal_minor, discount_minor, free_shipping, tax_inclusive, priced_time,
    prices_valid_until, create_time, update_time, expire_time, is_forgotten)
WHERE carts.cart_id = row.cart_id
"""

UPSERT_LINES = """
INSERT INTO cart_lines (cart_id, line_id, ordinal, sku_id, title, quantity, unit_price_minor,
    discount_minor, price_list_id, price_tier_min_quantity, adjustments)
SELECT cart_id, line_id, ordinal, sku_id, title, quantity, unit_price_minor,
    discount_minor, price_list_id, price_tier_min_quantity, adjustments::jsonb
FROM unnest(
    %s::text[], %s::text[], %s::bigint[], %s::text[], %s::text[], %s::bigint[], %s::bigint[],
    %s::bigint[], %s::text[], %s::bigint[], %s::text[]
) AS row(cart_id, line_id, ordinal, sku_id, title, quantity, unit_price_minor,
    discount_minor, price_list_id, price_tier_min_quantity, adjustments)
ON CONFLICT (cart_id, line_id) DO UPDATE SET
    ordinal = excluded.ordinal, sku_id = excluded.sku_id, title = excluded.title,
    quantity = excluded.quantity, unit_price_minor = excluded.unit_price_minor,
    discount_minor = excluded.discount_minor, price_list_id = excluded.price_list_id,
    price_tier_min_quantity = excluded.price_tier_min_quantity, adjustments = excluded.adjustments
"""

DELETE_LINES = """
DELETE FROM cart_lines USING unnest(%s::text[], %s::text[]) AS row(cart_id, line_id)
WHERE cart_lines.cart_id = row.cart_id AND cart_lines.line_id = row.line_id
"""

# Who finds this row while making a key row, and then waits to lock it, comes away with nothing, and
# tries again: see `assemble_rows`.
DELETE_CARTS = """
DELETE FROM carts WHERE cart_id = ANY(%s::text[])
"""

# statement_timestamp, since an index cannot be searched for what changes from row to row.
DUE_CARTS = """
SELECT cart_id, expire_time FROM carts WHERE state = 1 AND expire_time <= statement_timestamp()
  AND (cart_id, expire_time) NOT IN (SELECT * FROM unnest(%s::text[], %s::timestamptz[]))
ORDER BY expire_time LIMIT %s
"""
"""Open carts whose time is up, longest overdue first, for whoever sends ExpireCart."""

CARTS_TO_FORGET = """
SELECT cart_id FROM carts
WHERE state > 1 AND NOT is_forgotten
  AND update_time <= statement_timestamp() - %s::interval
ORDER BY update_time LIMIT %s
"""
"""Closed carts that need not be kept any longer, oldest first, for whoever sends ForgetCart."""


class CartRepository:
    """Keeps carts with their lines."""

    @property
    def kind(self) -> Kind[str, Cart]:
        """Carts."""
        return CART

    def load(self, keys: Keys[str]) -> list[Statement]:
        """Locks and reads the carts, then reads their lines, which are as new as the locks."""
        statements = load_rows(keys, table="carts", make=MAKE_KEY_ROWS, read=READ_CARTS)
        return [*statements, Statement(READ_LINES, (keys.all,))]

    def assemble(self, keys: Keys[str], results: Sequence[Sequence[Row]]) -> dict[str, Cart | None]:
        """The carts; a key row is no cart."""
        *cart_results, line_rows = results
        lines_by_cart: dict[str, dict[str, CartLine]] = {}
        for row in line_rows:
            lines_by_cart.setdefault(row[0], {})[row[1]] = _line(row)
        return assemble_rows(keys, cart_results, lambda *row: _cart(row, lines_by_cart.get(row[0], {})))

    def save(self, changed: Sequence[Changed[str, Cart]]) -> list[Statement]:
        """Writes the carts' rows, and of their lines only those that differ."""
        statements = [Statement(UPDATE_CARTS, columns(_cart_row(c.after) for c in changed))]
        written = [(c.key, line) for c in changed for line in changed_lines(c.before, c.after)]
        removed = [(c.key, line_id) for c in changed for line_id in removed_line_ids(c.before, c.after)]
        if removed:
            statements.append(Statement(DELETE_LINES, columns(removed)))
        if written:
            rows = (_line_row(cart_id, line) for cart_id, line in written)
            statements.append(Statement(UPSERT_LINES, columns(rows)))
        if freed := [c.key for c in changed if c.after.has_left_its_id]:
            statements.append(Statement(DELETE_CARTS, (freed,)))
        return statements


def _cart(row: Row, lines_by_id: dict[str, CartLine]) -> Cart:
    """The cart of a row of READ_CARTS."""
    return Cart(
        cart_id=row[0],
        version=row[1],
        state=CartState(row[2]),
        customer_id=row[3],
        currency_code=row[4],
        customer_group=row[5],
        price_list_id=row[6],
        lines_by_id=lines_by_id,
        coupon_codes=tuple(row[7]),
        free_shipping=row[8],
        tax_inclusive=row[9],
        priced_time=row[10],
        prices_valid_until=row[11],
        create_time=row[12],
        update_time=row[13],
        expire_time=row[14],
        is_forgotten=row[15],
    )


def _line(row: Row) -> CartLine:
    """The line of a row of READ_LINES: behind the cart's id, the fields in their order."""
    *_, stored, ordinal = row
    return CartLine._make((*row[1:-2], adjustments.restored(stored), ordinal))


def _cart_row(cart: Cart) -> Row:
    """The cart's values in the order of UPDATE_CARTS."""
    return (
        cart.cart_id,
        cart.version,
        int(cart.state),
        cart.customer_id,
        cart.currency_code,
        cart.customer_group,
        cart.price_list_id,
        ",".join(cart.coupon_codes),
        cart.subtotal_minor,
        cart.discount_minor,
        cart.free_shipping,
        cart.tax_inclusive,
        cart.priced_time,
        cart.prices_valid_until,
        cart.create_time,
        cart.update_time,
        cart.expire_time,
        cart.is_forgotten,
    )


def _line_row(cart_id: str, line: CartLine) -> Row:
    """The line's values in the order of UPSERT_LINES."""
    return (
        cart_id,
        line.line_id,
        line.ordinal,
        line.sku_id,
        line.title,
        line.quantity,
        line.unit_price_minor,
        line.discount_minor,
        line.price_list_id,
        line.price_tier_min_quantity,
        adjustments.stored(line.adjustments),
    )
