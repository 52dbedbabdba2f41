"""The moments at which shops oversell: many buyers, few units, several server processes."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import psycopg
import pytest

from shopkeeper.cart.v1.cart_pb2 import Cart
from shopkeeper.ordering.v1.ordering_pb2 import ORDER_STATE_AWAITING_PAYMENT, Order
from tests.eventually import eventually
from tests.system.client import Client, error_info, reason_of
from tests.system.conftest import CommandServices

BUYERS = 64


async def outcome_of_placing(client: Client, cart: Cart) -> str:
    """What came of it: placed, or the reason of the refusal."""
    try:
        order = await client.place(cart)
    except grpc.aio.AioRpcError as error:
        return reason_of(error)
    assert order.state == ORDER_STATE_AWAITING_PAYMENT
    return "placed"


async def race(services: CommandServices, carts: list[Cart]) -> Counter[str]:
    """All place their carts at once, spread over all processes."""
    clients = [services.client(index) for index in range(len(services.addresses))]
    outcomes = await asyncio.gather(
        *(outcome_of_placing(clients[i % len(clients)], cart) for i, cart in enumerate(carts))
    )
    for client in clients:
        await client.channel.close()
    return Counter(outcomes)


@pytest.mark.parametrize("units", [1, 10])
async def test_of_64_buyers_exactly_as_many_win_as_there_are_units(
    two_services: CommandServices, units: int
) -> None:
    async with two_services.client() as client:
        await client.open_shop(["hot"], units)
        carts = await asyncio.gather(*(client.fill_cart({"hot": 1}) for _ in range(BUYERS)))
    outcomes = await race(two_services, list(carts))
    assert outcomes == {"placed": units, "OUT_OF_STOCK": BUYERS - units}
    assert two_services.fetch("SELECT on_hand, reserved FROM stock_levels") == [(units, units)]
    assert two_services.fetch("SELECT count(*) FROM orders") == [(units,)]
    assert two_services.fetch("SELECT sum(on_hand), sum(reserved) FROM stock_movements") == [
        (units, units)
    ]
    assert two_services.broken_invariants() == {}


async def test_the_last_use_of_a_coupon_is_used_once(two_services: CommandServices) -> None:
    async with two_services.client() as client:
        await client.open_shop(["plenty"], 1000)
        await client.add_coupon("ONCE", usage_limit=1)
        carts = await asyncio.gather(
            *(client.fill_cart({"plenty": 1}, coupon="once") for _ in range(BUYERS))
        )
    outcomes = await race(two_services, list(carts))
    assert outcomes == {"placed": 1, "COUPON_USED_UP": BUYERS - 1}
    assert two_services.fetch("SELECT used_count FROM coupons") == [(1,)]
    assert two_services.broken_invariants() == {}


async def test_two_lines_of_one_sku_are_added_up_before_they_are_checked(
    two_services: CommandServices,
) -> None:
    async with two_services.client() as client:
        await client.open_shop(["hot"], 3)
        cart = await client.fill_cart({"hot": 2})
        cart = await client.add_line(cart.cart_id, "hot", 2, line_id="gift")
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await client.place(cart)
        assert error_info(refused.value).metadata["shortages"] == "hot: 4 wanted, 3 available"
        cart = await client.fill_cart({"hot": 1})
        cart = await client.add_line(cart.cart_id, "hot", 2, line_id="gift")
        order = await client.place(cart)
    assert [(line.line_id, line.quantity) for line in order.lines] == [("hot", 1), ("gift", 2)]
    assert two_services.fetch("SELECT reserved FROM stock_levels") == [(3,)]
    assert two_services.broken_invariants() == {}


async def test_64_orders_of_two_lines_of_one_sku_share_its_last_units_exactly(
    two_services: CommandServices,
) -> None:
    async with two_services.client() as client:
        await client.open_shop(["hot"], 11)

        async def cart_with_two_lines() -> Cart:
            cart = await client.fill_cart({"hot": 1})
            return await client.add_line(cart.cart_id, "hot", 1, line_id="gift")

        carts = await asyncio.gather(*(cart_with_two_lines() for _ in range(BUYERS)))
    outcomes = await race(two_services, list(carts))
    assert outcomes == {"placed": 5, "OUT_OF_STOCK": BUYERS - 5}
    assert two_services.fetch("SELECT on_hand, reserved FROM stock_levels") == [(11, 10)]
    assert two_services.broken_invariants() == {}


async def test_one_payment_told_by_many_at_once_pays_once_and_one_order_only(
    two_services: CommandServices,
) -> None:
    async with two_services.client(0) as here, two_services.client(1) as there:
        await here.open_shop(["sku"], 10)
        first = await here.place(await here.fill_cart({"sku": 1}))
        second = await here.place(await here.fill_cart({"sku": 1}))

        async def pay(client: Client, order: Order) -> str:
            try:
                await client.pay(order, "pi_1")
            except grpc.aio.AioRpcError as error:
                return f"{order.order_number} {reason_of(error)}"
            return f"{order.order_number} paid"

        orders = [first, second] * 8
        outcomes = Counter(
            await asyncio.gather(*(pay((here, there)[i % 3 % 2], o) for i, o in enumerate(orders)))
        )
    assert sorted(outcomes.values()) == [8, 8]
    assert sum("paid" in outcome for outcome in outcomes) == 1
    assert sum("PAYMENT_ALREADY_RECORDED" in outcome for outcome in outcomes) == 1
    assert two_services.fetch("SELECT sum(paid_minor) FROM orders") == [(250,)]
    assert two_services.fetch("SELECT reserved, allocated FROM stock_levels") == [(1, 1)]
    assert two_services.broken_invariants() == {}


async def test_carts_and_stock_locked_from_both_sides_never_deadlock(
    two_services: CommandServices,
) -> None:
    """Each process buys the SKUs in one order while it reserves them in the other; likewise its twin."""
    async with two_services.client(0) as here, two_services.client(1) as there:
        skus = [f"s{index}" for index in range(6)]
        await here.open_shop(skus, 10_000)

        async def buy(client: Client, order_of_skus: list[str]) -> None:
            cart = await client.fill_cart(dict.fromkeys(order_of_skus, 1))
            await client.pay(await client.place(cart))

        async def reserve(client: Client, order_of_skus: list[str]) -> None:
            for _ in range(3):
                await client.reserve(dict.fromkeys(order_of_skus, 1))

        await asyncio.gather(
            *(buy(here, skus) for _ in range(40)),
            *(reserve(here, skus[::-1]) for _ in range(40)),
            *(buy(there, skus[::-1]) for _ in range(40)),
            *(reserve(there, skus) for _ in range(40)),
        )
    assert_no_deadlock(two_services)
    counters = two_services.fetch("SELECT DISTINCT reserved, allocated FROM stock_levels")
    assert counters == [(240, 80)]
    assert two_services.broken_invariants() == {}


def assert_no_deadlock(services: CommandServices) -> None:
    # A machine that stands still for two seconds may cost a lock timeout (55), and so be it.
    assert services.retry_counts().keys() <= {"55"}
    sql = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    assert services.fetch(sql) == [(0,)]


async def test_the_same_cart_created_from_both_sides_is_created_once_each(
    two_services: CommandServices,
) -> None:
    async with two_services.client(0) as here, two_services.client(1) as there:
        await here.open_shop(["sku"], 1)
        names = [f"cart-{index}" for index in range(30)]

        async def create(client: Client, name: str) -> str:
            try:
                await client.fill_cart({}, cart_id=name)
            except grpc.aio.AioRpcError as error:
                return reason_of(error)
            return "created"

        outcomes = await asyncio.gather(
            *(create(here, name) for name in names), *(create(there, name) for name in names[::-1])
        )
    assert Counter(outcomes) == {"created": 30, "CART_ALREADY_EXISTS": 30}
    assert_no_deadlock(two_services)
    assert two_services.broken_invariants() == {}


# --- from both ends at once -----------------------------------------------------------------------

WAITING = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND starts_with(application_name, 'shopkeeper ')
    AND wait_event_type = 'Lock'
"""


@asynccontextmanager
async def met_halfway(services: CommandServices, hold_sql: str) -> AsyncIterator[None]:
    """Holds a row in the middle until a batch of each process has begun and waits for a lock.

    Then each holds what it locked first. In another order than one and the same, that is what the
    other locks last.
    """

    async def both_wait() -> bool:
        return services.fetch(WAITING) == [(2,)]

    async with await psycopg.AsyncConnection.connect(services.database_url) as holder:
        await holder.execute(hold_sql.encode())
        yield
        await eventually(both_wait, seconds=60)
        await holder.rollback()


async def test_batches_that_want_the_same_stock_from_both_ends_never_deadlock(
    two_services: CommandServices,
) -> None:
    skus = [f"s{index}" for index in range(6)]
    forwards, backwards = dict.fromkeys(skus, 1), dict.fromkeys(skus[::-1], 1)
    async with two_services.client(0) as here, two_services.client(1) as there:
        await here.open_shop(skus, 100)
        carts = [await here.fill_cart(backwards), await there.fill_cart(forwards)]
        for pair in (
            (here.reserve(forwards), there.reserve(backwards)),
            (here.reserve(forwards), there.place(carts[0])),
            (here.place(carts[1]), there.reserve(backwards)),
        ):
            async with met_halfway(
                two_services, "SELECT FROM stock_items WHERE sku_id = 's3' FOR UPDATE"
            ):
                both = asyncio.gather(*pair)
            await both
    assert_no_deadlock(two_services)
    assert two_services.fetch("SELECT DISTINCT reserved FROM stock_levels") == [(6,)]
    assert two_services.broken_invariants() == {}


async def test_batches_that_create_the_same_carts_from_both_ends_never_deadlock(
    two_services: CommandServices,
) -> None:
    names = [f"cart-{index:02d}" for index in range(30)]

    async def create(client: Client, name: str) -> str:
        try:
            await client.fill_cart({}, cart_id=name)
        except grpc.aio.AioRpcError as error:
            return reason_of(error)
        return "created"

    async with two_services.client(0) as here, two_services.client(1) as there:
        async with met_halfway(two_services, "INSERT INTO carts (cart_id) VALUES ('cart-15')"):
            all_created = asyncio.gather(
                *(create(here, name) for name in names), *(create(there, name) for name in names[::-1])
            )
        outcomes = Counter(await all_created)
    assert outcomes == {"created": 30, "CART_ALREADY_EXISTS": 30}
    assert_no_deadlock(two_services)
    assert two_services.broken_invariants() == {}
