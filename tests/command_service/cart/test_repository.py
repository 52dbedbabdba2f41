"""Carts in PostgreSQL."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest

from command_service.adjustments import Adjustment
from command_service.cart.domain import CART, Cart, CartLine, CartState, unpriced_line
from command_service.cart.events import CartCreated
from command_service.cart.repository import DUE_CARTS, CartRepository
from command_service.database_failures import Unacceptable
from command_service.unit_of_work import Changed, Keys
from command_service.world import Command, Decision, Mode, Touch, World
from event_log.codec import encode_event
from tests.command_service.conftest import CarryOut

MORNING = datetime(2010, 12, 1, 8, 0, 0, 123456, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Keep(Command[Cart | None]):
    """Makes a cart what it is told to be; answers what it was."""

    cart: Cart
    mode: Mode = Mode.CREATE

    def touches(self) -> Iterable[Touch]:
        return [Touch(CART, self.cart.cart_id, self.mode)]

    def decide(self, world: World, now: datetime) -> Decision[Cart | None]:
        before = world.get(CART, self.cart.cart_id)
        return Decision(before, [CART.changed(self.cart.cart_id, self.cart)])


@dataclass(frozen=True, slots=True)
class Look(Command[Cart | None]):
    """Answers the cart."""

    cart_id: str
    mode: Mode

    def touches(self) -> Iterable[Touch]:
        return [Touch(CART, self.cart_id, self.mode)]

    def decide(self, world: World, now: datetime) -> Decision[Cart | None]:
        return Decision(world.get(CART, self.cart_id))


def line(line_id: str, ordinal: int, *adjustments: Adjustment) -> CartLine:
    return CartLine(
        line_id=line_id,
        sku_id=f"sku of {line_id}",
        title='a "mug", 2½ pints',
        quantity=3,
        unit_price_minor=255,
        discount_minor=sum(adjustment.amount_minor for adjustment in adjustments),
        price_list_id="retail",
        price_tier_min_quantity=2,
        adjustments=adjustments,
        ordinal=ordinal,
    )


def cart(cart_id: str = "c1", *lines: CartLine) -> Cart:
    return Cart(
        cart_id=cart_id,
        version=1,
        state=CartState.OPEN,
        customer_id="ann",
        currency_code="GBP",
        customer_group="trade",
        price_list_id="retail",
        lines_by_id={line.line_id: line for line in lines},
        coupon_codes=("TENTH", "A-B_C"),
        free_shipping=True,
        tax_inclusive=True,
        priced_time=MORNING,
        prices_valid_until=MORNING + timedelta(hours=1),
        create_time=MORNING,
        update_time=MORNING,
        expire_time=MORNING + timedelta(days=30),
    )


ADJUSTMENTS = (
    Adjustment("p1", "a tenth", "TENTH", -77, "-153/2"),
    Adjustment("p2", "the rest", "", -1, ""),
)
FULL = cart("c1", line("zebra", 1, *ADJUSTMENTS), line("ant", 2))


async def test_a_cart_is_read_as_it_was_written(carry_out: CarryOut) -> None:
    await carry_out(Keep(FULL))

    for mode in (Mode.READ, Mode.SHARE, Mode.CHANGE, Mode.CREATE):
        found = await carry_out(Look("c1", mode))
        assert found == FULL
        assert found is not None
        assert list(found.lines_by_id) == ["zebra", "ant"]


async def test_a_cart_without_anything_is_read_as_it_was_written(carry_out: CarryOut) -> None:
    bare = replace(
        cart("c1"), customer_id="", coupon_codes=(), free_shipping=False, prices_valid_until=None
    )
    await carry_out(Keep(bare))

    assert await carry_out(Look("c1", Mode.READ)) == bare


async def test_a_key_row_is_no_cart(carry_out: CarryOut) -> None:
    await carry_out.fetch("INSERT INTO carts (cart_id) VALUES ('c1')")
    assert await carry_out(Look("c1", Mode.CREATE)) is None
    assert await carry_out(Look("c1", Mode.CHANGE)) is None
    assert await carry_out.fetch("SELECT version, state FROM carts") == [(0, 0)]


async def test_what_does_not_exist_is_no_cart(carry_out: CarryOut) -> None:
    assert await carry_out(Look("c1", Mode.CHANGE)) is None
    assert await carry_out.fetch("SELECT 1 FROM carts") == []


async def test_many_carts_are_read_and_written_together(carry_out: CarryOut) -> None:
    carts = [cart(f"c{n}", *(line(f"l{m}", m) for m in range(n))) for n in range(5)]

    assert await carry_out.together([Keep(c) for c in carts]) == [None] * 5

    modes = [Mode.READ, Mode.SHARE, Mode.CHANGE, Mode.CREATE, Mode.READ]
    looks = [Look(f"c{n}", mode) for n, mode in enumerate(modes)]
    assert await carry_out.together(looks) == carts


async def test_lines_are_changed_added_and_removed(carry_out: CarryOut) -> None:
    await carry_out(Keep(FULL))
    after = replace(
        FULL,
        version=2,
        lines_by_id={"zebra": line("zebra", 1)._replace(quantity=9), "bee": line("bee", 3)},
    )

    await carry_out(Keep(after))

    assert await carry_out(Look("c1", Mode.READ)) == after
    sums = await carry_out.fetch("SELECT subtotal_minor, discount_minor FROM carts")
    assert sums == [(12 * 255, 0)]


def test_only_lines_that_differ_are_written() -> None:
    before = cart("c1", *(line(f"l{n}", n) for n in range(400)))
    after = replace(before, lines_by_id={**before.lines_by_id, "l7": line("l7", 7)._replace(quantity=4)})

    update, upsert = CartRepository().save([Changed("c1", before, after)])

    assert "UPDATE carts" in update.sql
    assert list(upsert.parameters)[1] == ["l7"]


def test_a_cart_that_closes_writes_no_lines() -> None:
    closed = FULL.closed(CartState.ORDERED, MORNING)

    assert len(CartRepository().save([Changed("c1", FULL, closed)])) == 1


def test_reading_without_locks_takes_two_statements() -> None:
    statements = CartRepository().load(Keys([("a", Mode.READ), ("b", Mode.READ)]))

    assert len(statements) == 2
    assert not any("FOR " in statement.sql for statement in statements)


@pytest.mark.breaks_invariants("inv_cart_orders", "inv_carts_kept_too_long")
async def test_due_carts_are_open_and_past_their_time_longest_first(carry_out: CarryOut) -> None:
    now = datetime.now(UTC)

    def due(cart_id: str, age: timedelta, state: CartState = CartState.OPEN) -> Keep:
        return Keep(replace(cart(cart_id), expire_time=now - age, state=state))

    minute = timedelta(minutes=1)
    await carry_out.together(
        [
            due("late", minute),
            due("later", 2 * minute),
            due("not yet", -minute),
            due("ordered", minute, CartState.ORDERED),
            Look("key row", Mode.CREATE),
        ]
    )

    late, later = ("late", now - minute), ("later", now - 2 * minute)
    assert await carry_out.fetch(DUE_CARTS, [], [], 10) == [later, late]
    assert await carry_out.fetch(DUE_CARTS, [], [], 1) == [later]
    # What rests takes nobody's place, and rests no more once its time is moved.
    resting = ["later", "late"], [later[1], now]
    assert await carry_out.fetch(DUE_CARTS, *resting, 1) == [late]


@pytest.mark.parametrize(
    "broken",
    [
        line("l", 1)._replace(quantity=0),
        line("l", 1)._replace(quantity=1_000_001),
        line("l", 1)._replace(discount_minor=1),
        line("l", 1)._replace(discount_minor=-766),
        line("l", 1)._replace(unit_price_minor=-1),
        unpriced_line(line_id="l", sku_id="s", ordinal=1).with_quantity(1),
    ],
    ids=["no units", "too many units", "surcharge", "below 0", "negative price", "unpriced"],
)
async def test_the_database_refuses_a_broken_line(carry_out: CarryOut, broken: CartLine) -> None:
    # The other line keeps the cart's sums in order, so that it is the line that is refused.
    discount = Adjustment("p", "", "", -100, "")
    other = line("other", 2, discount)._replace(unit_price_minor=10_000)
    with pytest.raises(Unacceptable, match="cart_lines"):
        await carry_out(Keep(cart("c1", broken, other)))
    await carry_out.session.roll_back()

    assert await carry_out.fetch("SELECT 1 FROM cart_lines") == []


def test_a_created_cart_is_told_whole() -> None:
    name, payload = encode_event(CartCreated(FULL))

    assert name == "shopkeeper.cart.v1.CartCreated"
    assert b"A-B_C" in payload
