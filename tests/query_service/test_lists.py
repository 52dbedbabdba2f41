"""Lists of orders: complete, in order, page by page, and never a stranger's."""

import base64
from itertools import chain

import pytest

from projections.projector import Projector
from projections.rebuild import Rebuild
from projections.sweeper import Sweeper
from read_models.connections import Connection
from read_models.partitions import key_of
from read_models.views import ORDER
from shopkeeper.ordering.v1.ordering_events_pb2 import OrderPlaced
from shopkeeper.ordering.v1.ordering_pb2 import ORDER_STATE_AWAITING_PAYMENT, ORDER_STATE_PAID
from shopkeeper.ordering.v1.ordering_query_service_pb2 import (
    ListCustomerOrdersRequest,
    ListOrdersByStateRequest,
)
from tests.projections.shop_events import order, order_paid, order_placed
from tests.query_service.conftest import Shop
from tests.read_side import Log, serving, settle

pytestmark = pytest.mark.usefixtures("unhurried")


async def record_orders(log: Log, projector: Projector, count: int) -> None:
    # Two orders each minute: their ids decide.
    log.record(*(order_placed(f"order-{n:03d}", "ada", n // 2) for n in range(count)))
    log.record(order_placed("stranger", "bob", 0), order_placed("guest", "", 0))
    await settle(projector)


async def pages(call: object, request: object) -> list[list[str]]:
    """All pages of a list, as the ids of their orders."""
    found = []
    while True:
        answer = await call(request)  # type: ignore[operator]
        found.append([each.order_id for each in answer.orders])
        if not answer.next_page_token:
            return found
        request.page_token = answer.next_page_token  # type: ignore[attr-defined]


def newest_first(count: int) -> list[str]:
    return [f"order-{n:03d}" for n in sorted(range(count), key=lambda n: (-(n // 2), n))]


async def test_a_customers_orders_come_newest_first_in_pages_and_no_one_elses(
    log: Log, shop: Shop, projector: Projector
) -> None:
    await record_orders(log, projector, 7)
    request = ListCustomerOrdersRequest(customer_id="ada", page_size=3)
    expected = newest_first(7)
    assert await pages(shop.ordering.ListCustomerOrders, request) == [
        expected[:3],
        expected[3:6],
        expected[6:],
    ]


async def test_a_last_page_that_is_full_is_the_last(log: Log, shop: Shop, projector: Projector) -> None:
    await record_orders(log, projector, 6)
    request = ListCustomerOrdersRequest(customer_id="ada", page_size=3)
    assert [len(page) for page in await pages(shop.ordering.ListCustomerOrders, request)] == [3, 3]


async def test_orders_by_state_are_merged_from_all_partitions(
    log: Log, shop: Shop, projector: Projector
) -> None:
    await record_orders(log, projector, 120)
    paid = [order(f"order-{n:03d}", "ada", n // 2) for n in range(0, 120, 3)]
    log.record(*(order_paid(each) for each in paid))
    await settle(projector)
    request = ListOrdersByStateRequest(state=ORDER_STATE_PAID)
    expected = [each for each in newest_first(120) if int(each[-3:]) % 3 == 0]
    assert await pages(shop.ordering.ListOrdersByState, request) == [expected]
    request = ListOrdersByStateRequest(state=ORDER_STATE_AWAITING_PAYMENT, page_size=7)
    found = list(chain.from_iterable(await pages(shop.ordering.ListOrdersByState, request)))
    assert sorted(found) == sorted(
        {f"order-{n:03d}" for n in range(120) if n % 3} | {"stranger", "guest"}
    )
    assert [each for each in found if each.startswith("order")] == [
        each for each in newest_first(120) if int(each[-3:]) % 3
    ]


async def test_a_summary_in_a_customers_list_follows_the_order(
    log: Log, shop: Shop, projector: Projector
) -> None:
    await record_orders(log, projector, 1)
    log.record(order_paid(order("order-000")))
    await settle(projector)
    answer = await shop.ordering.ListCustomerOrders(ListCustomerOrdersRequest(customer_id="ada"))
    [summary] = answer.orders
    assert (summary.state, summary.unit_count, summary.total.amount_minor) == (
        ORDER_STATE_PAID,
        4,
        400,
    )


async def test_a_page_goes_on_where_it_was_though_newer_orders_came(
    log: Log, shop: Shop, projector: Projector
) -> None:
    await record_orders(log, projector, 4)
    request = ListCustomerOrdersRequest(customer_id="ada", page_size=2)
    first = await shop.ordering.ListCustomerOrders(request)
    log.record(order_placed("newest", "ada", 99), order_paid(order("order-002", "ada", 1)))
    await settle(projector)
    request.page_token = first.next_page_token
    second = await shop.ordering.ListCustomerOrders(request)
    assert [each.order_id for each in second.orders] == ["order-000", "order-001"]


async def test_a_page_token_of_a_dropped_generation_goes_on_in_the_present_one(
    log: Log, shop: Shop, projector: Projector, connection: Connection, database_url: str
) -> None:
    await record_orders(log, projector, 6)
    request = ListOrdersByStateRequest(state=ORDER_STATE_AWAITING_PAYMENT, page_size=4)
    first = await shop.ordering.ListOrdersByState(request)
    old = await serving(connection)
    rebuild = Rebuild(connection, projector._reader)
    new = await rebuild.begin()
    await settle(projector)
    await rebuild.replace(new)
    await rebuild.drop(old)
    await Sweeper(connection).sweep()
    request.page_token = first.next_page_token
    second = await shop.ordering.ListOrdersByState(request)
    ids = [each.order_id for answer in (first, second) for each in answer.orders]
    assert sorted(ids) == sorted({*newest_first(6), "stranger", "guest"})


async def test_a_page_token_of_a_generation_that_stands_still_is_as_fresh_as_asked(
    log: Log, shop: Shop, projector: Projector, connection: Connection
) -> None:
    """As of one that could not be fed any more, and is kept after another took its place."""
    await record_orders(log, projector, 6)
    request = ListCustomerOrdersRequest(customer_id="ada", page_size=2)
    request.page_token = (await shop.ordering.ListCustomerOrders(request)).next_page_token
    old = await serving(connection)
    rebuild = Rebuild(connection, projector._reader)
    new = await rebuild.begin()
    await settle(projector)
    await rebuild.replace(new)
    partition, name = ORDER.address("order-001")
    await connection.call("SET", key_of(old, partition, name), b"\xff")
    request.at_least_as_fresh = log.token(log.record(order_paid(order("order-001", "ada", 0))))
    await settle(projector)
    second = await shop.ordering.ListCustomerOrders(request, timeout=20)
    assert [each.order_id for each in second.orders] == ["order-002", "order-003"]
    request.page_token = second.next_page_token
    third = await shop.ordering.ListCustomerOrders(request, timeout=20)
    assert [each.state for each in third.orders] == [
        ORDER_STATE_AWAITING_PAYMENT,
        ORDER_STATE_PAID,
    ]


async def test_ids_of_any_kind_keep_apart(log: Log, shop: Shop, projector: Projector) -> None:
    ids = ["a", "a|b", "a:b", "{p01}", "a\x01", "\N{SNOWMAN}" * 64, " ", "*", "a\n"]
    log.record(*(OrderPlaced(order=order(each, "{ada}:*", 0)) for each in ids))
    log.record(*(order_paid(order(each, "{ada}:*", 0)) for each in ids))
    await settle(projector)
    request = ListCustomerOrdersRequest(customer_id="{ada}:*", page_size=1)
    assert await pages(shop.ordering.ListCustomerOrders, request) == [
        [each] for each in sorted(ids, key=str.encode)
    ]


async def token_of(shop: Shop, customer_id: str) -> str:
    request = ListCustomerOrdersRequest(customer_id=customer_id, page_size=1)
    return str((await shop.ordering.ListCustomerOrders(request)).next_page_token)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda _token: "garbage",
        lambda _token: "AAAA",
        lambda _token: "\N{SNOWMAN}",
        lambda token: token[:-4],
        lambda token: token + "AAAA",
        lambda token: "B" + token[1:] if token[0] != "B" else "C" + token[1:],
        lambda token: base64.urlsafe_b64encode(base64.urlsafe_b64decode(token)[:16]).decode(),
    ],
)
async def test_a_bad_page_token_is_an_invalid_argument(
    log: Log, shop: Shop, projector: Projector, spoil: object
) -> None:
    await record_orders(log, projector, 3)
    token = spoil(await token_of(shop, "ada"))  # type: ignore[operator]
    request = ListCustomerOrdersRequest(customer_id="ada", page_token=token)
    refusal = await shop.refusal(shop.ordering.ListCustomerOrders(request))
    assert (refusal.code, refusal.fields) == ("INVALID_ARGUMENT", ["page_token"])


async def test_a_page_token_of_another_list_is_an_invalid_argument(
    log: Log, shop: Shop, projector: Projector
) -> None:
    await record_orders(log, projector, 3)
    token = await token_of(shop, "ada")
    for call, request in (
        (
            shop.ordering.ListCustomerOrders,
            ListCustomerOrdersRequest(customer_id="bob", page_token=token),
        ),
        (
            shop.ordering.ListOrdersByState,
            ListOrdersByStateRequest(state=ORDER_STATE_PAID, page_token=token),
        ),
    ):
        refusal = await shop.refusal(call(request))
        assert (refusal.code, refusal.fields) == ("INVALID_ARGUMENT", ["page_token"])
