"""Locations, stock, reservations and the stock ledger."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Creates the tables."""
    op.execute("""
        CREATE TABLE locations (
            location_id text CONSTRAINT pk_locations PRIMARY KEY,
            version bigint NOT NULL DEFAULT 0,
            title text NOT NULL DEFAULT '',
            rank integer NOT NULL DEFAULT 0,
            active boolean NOT NULL DEFAULT false
        )""")
    op.execute("CREATE TABLE stock_items (sku_id text CONSTRAINT pk_stock_items PRIMARY KEY)")
    op.execute("""
        CREATE TABLE stock_levels (
            sku_id text NOT NULL
                CONSTRAINT fk_stock_levels_sku_id REFERENCES stock_items (sku_id),
            location_id text NOT NULL
                CONSTRAINT fk_stock_levels_location_id REFERENCES locations (location_id),
            on_hand integer NOT NULL
                CONSTRAINT ck_stock_levels_on_hand CHECK (on_hand >= 0),
            reserved integer NOT NULL
                CONSTRAINT ck_stock_levels_reserved CHECK (reserved >= 0),
            allocated integer NOT NULL
                CONSTRAINT ck_stock_levels_allocated CHECK (allocated >= 0),
            safety_stock integer NOT NULL
                CONSTRAINT ck_stock_levels_safety_stock CHECK (safety_stock >= 0),
            backorder_limit integer NOT NULL
                CONSTRAINT ck_stock_levels_backorder_limit CHECK (backorder_limit >= 0),
            shortage integer NOT NULL
                CONSTRAINT ck_stock_levels_shortage CHECK (shortage >= 0),
            CONSTRAINT stock_never_oversold CHECK
                (reserved::bigint + allocated <= on_hand::bigint + backorder_limit + shortage),
            CONSTRAINT pk_stock_levels PRIMARY KEY (sku_id, location_id)
        ) WITH (fillfactor = 50)""")
    op.execute("CREATE INDEX ix_stock_levels_location_id ON stock_levels (location_id)")
    op.execute("""
        CREATE TABLE stock_movements (
            position bigint CONSTRAINT pk_stock_movements PRIMARY KEY,
            recorded_time timestamptz NOT NULL,
            sku_id text NOT NULL,
            location_id text NOT NULL,
            kind smallint NOT NULL,
            on_hand integer NOT NULL,
            reserved integer NOT NULL,
            allocated integer NOT NULL,
            safety_stock integer NOT NULL,
            backorder_limit integer NOT NULL,
            shortage integer NOT NULL,
            cause text NOT NULL,
            actor text NOT NULL
        )""")
    op.execute("""
        CREATE INDEX ix_stock_movements_sku_id
        ON stock_movements (sku_id, location_id, position)""")
    op.execute("""
        CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON stock_movements
        FOR EACH STATEMENT EXECUTE FUNCTION refuse_to_rewrite_history()""")
    op.execute("""
        CREATE TABLE reservations (
            reservation_id text CONSTRAINT pk_reservations PRIMARY KEY,
            version bigint NOT NULL DEFAULT 0,
            is_of_order boolean NOT NULL DEFAULT false,
            reference text NOT NULL DEFAULT '',
            state smallint NOT NULL DEFAULT 0,
            expire_time timestamptz,
            CONSTRAINT ck_reservations_complete CHECK
                (version = 0 OR (state BETWEEN 1 AND 5 AND expire_time IS NOT NULL))
        )""")
    op.execute("""
        CREATE INDEX ix_reservations_expire_time ON reservations (expire_time) WHERE state = 1""")
    op.execute("""
        CREATE TABLE reservation_lines (
            reservation_id text NOT NULL
                CONSTRAINT fk_reservation_lines_reservation_id
                REFERENCES reservations (reservation_id),
            sku_id text NOT NULL,
            location_id text NOT NULL,
            quantity integer NOT NULL
                CONSTRAINT ck_reservation_lines_quantity CHECK (quantity > 0),
            shipped_quantity integer NOT NULL
                CONSTRAINT ck_reservation_lines_shipped_quantity
                CHECK (shipped_quantity BETWEEN 0 AND quantity),
            returned_quantity integer NOT NULL
                CONSTRAINT ck_reservation_lines_returned_quantity
                CHECK (returned_quantity BETWEEN 0 AND shipped_quantity),
            CONSTRAINT pk_reservation_lines PRIMARY KEY (reservation_id, sku_id, location_id)
        )""")
