"""Cart commands through the real transaction."""

from datetime import UTC, datetime, timedelta

import pytest
import pytest_asyncio

from command_service.cart.commands import ExpireCart
from command_service.cart.domain import Cart, CartState
from command_service.checkout.create_cart import CreateCart
from command_service.errors import (
    CartAlreadyExists,
    CartNotExpired,
    CartNotOpen,
    CouponUsedUp,
    SkuNotFound,
)
from command_service.pipeline import Row
from tests.command_service.checkout.shop_in_memory import (
    add,
    apply,
    create,
    merge,
    reprice,
    set_quantity,
    take_off,
)
from tests.command_service.checkout.shop_on_postgresql import open_shop
from tests.command_service.conftest import CarryOut


@pytest_asyncio.fixture
async def shop(carry_out: CarryOut) -> CarryOut:
    """sku0 to sku99 at 1.00, 1.01, ...; TENTH and ONCE (one use a customer) take 10 % off."""
    await open_shop(carry_out)
    return carry_out


async def rows_of(shop: CarryOut, cart_id: str) -> list[Row]:
    return await shop.fetch(
        "SELECT line_id, quantity FROM cart_lines WHERE cart_id = %s ORDER BY ordinal", cart_id
    )


async def test_a_cart_is_made_filled_and_stored(shop: CarryOut) -> None:
    await shop(create())
    await shop(add("sku5", 2))
    await shop(apply("TENTH"))
    cart = await shop(add("sku7"))

    assert (cart.etag, cart.subtotal_minor, cart.discount_minor) == ("4", 317, -32)
    stored = await shop.fetch(
        "SELECT version, state, coupon_codes, subtotal_minor, discount_minor FROM carts"
    )
    assert stored == [(4, 1, ["TENTH"], 317, -32)]
    told = await shop.fetch("SELECT type FROM events WHERE key = 'c1' ORDER BY position")
    assert [name.rpartition(".")[2] for (name,) in told] == ["CartCreated"] + 3 * ["CartChanged"]


async def test_what_is_read_back_is_what_was_answered(shop: CarryOut) -> None:
    await shop(create(customer_id="ann"))
    await shop(apply("ONCE"))
    answered = await shop(add("sku5", 2))

    found = await shop.rehearse(set_quantity("sku5", 2))

    assert found.lines == answered.lines
    assert (found.create_time, found.coupon_codes) == (answered.create_time, ("ONCE",))
    assert found.version == answered.version + 1


async def test_a_rehearsal_changes_nothing(shop: CarryOut) -> None:
    predicted = await shop.rehearse(create())

    assert (predicted.etag, predicted.state) == ("1", CartState.OPEN)
    assert await shop.fetch("SELECT 1 FROM carts") == []


async def test_a_refused_line_leaves_no_trace(shop: CarryOut) -> None:
    await shop(create())
    before = await shop.fetch("SELECT * FROM carts")
    event_count = await shop.fetch("SELECT count(*) FROM events")

    with pytest.raises(SkuNotFound):
        await shop(add("nothing"))

    assert await shop.fetch("SELECT * FROM carts") == before
    assert await rows_of(shop, "c1") == []
    assert await shop.fetch("SELECT count(*) FROM events") == event_count


async def test_a_coupon_without_uses_left_is_refused(shop: CarryOut) -> None:
    await shop(create())

    with pytest.raises(CouponUsedUp):
        await shop(apply("NEVER"))


async def test_parallel_changes_of_one_cart_lose_no_line(shop: CarryOut) -> None:
    """LESSONS 18: all in one batch, each sees what those before it did."""
    await shop(create())

    answers = await shop.together([add(f"sku{n}", n + 1) for n in range(60)])

    assert [len(cart.lines) for cart in answers] == list(range(1, 61))
    assert [cart.version for cart in answers] == list(range(2, 62))
    assert await rows_of(shop, "c1") == [(f"sku{n}", n + 1) for n in range(60)]


async def test_parallel_units_of_one_line_add_up(shop: CarryOut) -> None:
    await shop(create())

    await shop.together([add("sku1") for _ in range(50)])

    assert await rows_of(shop, "c1") == [("sku1", 50)]


async def test_one_etag_in_one_batch_wins_once(shop: CarryOut) -> None:
    seen = await shop(create())

    answers = await shop.together([add(f"sku{n}", etag=seen.etag) for n in range(5)])

    assert [isinstance(answer, Cart) for answer in answers] == [True, False, False, False, False]
    assert await rows_of(shop, "c1") == [("sku0", 1)]


async def test_a_cart_may_be_made_filled_and_merged_in_one_batch(shop: CarryOut) -> None:
    answers = await shop.together(
        [
            create("guest"),
            add("sku1", cart_id="guest"),
            apply("ONCE", cart_id="guest"),
            create("ann's", customer_id="ann"),
            add("sku1", 2, cart_id="ann's"),
            merge("guest", "ann's"),
            create("guest"),
        ]
    )

    names = [type(answer).__name__ for answer in answers]
    assert names == [
        *("Cart", "Cart", "CouponNeedsCustomer", "Cart", "Cart", "MergedCarts", "CartAlreadyExists")
    ]
    assert await rows_of(shop, "ann's") == [("sku1", 3)]


async def test_a_coupon_for_a_customer_named_in_the_same_batch_is_applied(shop: CarryOut) -> None:
    await shop(create())

    _, cart = await shop.together([reprice(customer_id="ann"), apply("ONCE")])

    assert (cart.customer_id, cart.coupon_codes) == ("ann", ("ONCE",))


async def test_a_cart_of_65_lines_is_merged_whole(shop: CarryOut) -> None:
    """LESSONS 19: and what the customer had stays."""
    await shop(create("guest"))
    await shop(create("ann's", customer_id="ann"))
    await shop.together([add(f"sku{n}", 2, cart_id="guest") for n in range(65)])
    await shop(add("sku64", 1, cart_id="ann's"))
    await shop(add("sku99", 1, cart_id="ann's"))

    merged = await shop(merge("guest", "ann's"))

    expected = {**{f"sku{n}": 2 for n in range(64)}, "sku64": 3, "sku99": 1}
    assert {line.line_id: line.quantity for line in merged.cart.lines} == expected
    assert sorted(await rows_of(shop, "ann's")) == sorted(expected.items())
    states = await shop.fetch("SELECT cart_id, state FROM carts ORDER BY cart_id")
    assert states == [("ann's", CartState.OPEN), ("guest", CartState.MERGED)]
    sums = await shop.fetch(
        "SELECT c.subtotal_minor - sum(l.unit_price_minor * l.quantity), "
        "c.discount_minor - sum(l.discount_minor) "
        "FROM carts c JOIN cart_lines l USING (cart_id) WHERE cart_id = 'ann''s' GROUP BY c.cart_id"
    )
    assert sums == [(0, 0)]


async def test_merging_both_ways_at_once_happens_once(shop: CarryOut) -> None:
    await shop(create("a"))
    await shop(create("b"))
    await shop(add("sku1", cart_id="a"))
    await shop(add("sku2", cart_id="b"))

    _, second = await shop.together([merge("a", "b"), merge("b", "a")])

    assert isinstance(second, CartNotOpen)
    assert await rows_of(shop, "b") == [("sku2", 1), ("sku1", 1)]


async def test_a_coupon_comes_off(shop: CarryOut) -> None:
    await shop(create())
    await shop(add("sku0", 10))
    assert (await shop(apply("TENTH"))).discount_minor == -100

    assert (await shop(take_off("TENTH"))).discount_minor == 0

    assert await shop.fetch("SELECT adjustments FROM cart_lines") == [([],)]


async def test_one_of_two_creations_wins(shop: CarryOut) -> None:
    first, second = await shop.together([create(), create()])

    assert isinstance(first, Cart)
    assert isinstance(second, CartAlreadyExists)


async def test_a_cart_expires_when_its_time_is_up(shop: CarryOut) -> None:
    await shop(create("fresh"))
    with pytest.raises(CartNotExpired):
        await shop(ExpireCart("fresh"))

    stale = CreateCart("stale", "", "GBP", "", "", cart_idle=timedelta(0))
    await shop(stale)
    cart = await shop(ExpireCart("stale"))

    assert cart.state is CartState.EXPIRED
    assert cart.update_time >= cart.expire_time
    assert datetime.now(UTC) - cart.update_time < timedelta(minutes=1)


@pytest.mark.parametrize("line_count", [1, 99])
async def test_one_more_line_takes_as_many_statements_however_full_the_cart_is(
    shop: CarryOut, line_count: int
) -> None:
    await shop(create())
    await shop.together([add(f"sku{n}") for n in range(line_count)])
    before = (shop.session.statement_count, shop.session.trip_count)
    await shop(add("sku99"))
    after = (shop.session.statement_count, shop.session.trip_count)

    assert (after[0] - before[0], after[1] - before[1]) <= (17, 5)
    written = await shop.fetch("SELECT count(*) FROM cart_lines WHERE xmin = (SELECT xmin FROM carts)")
    assert written == [(1,)]
