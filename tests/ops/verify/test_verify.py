"""`verify` on a shop that real commands have built and a real projector shows."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import nullcontext
from dataclasses import replace
from datetime import timedelta
from typing import Any, cast

import pytest
import pytest_asyncio

import ops.verify.verification
from command_service.catalog.commands import UpsertProducts, UpsertSkus
from command_service.catalog.domain import Product, SaleState, Sku
from command_service.checkout.cancel_order import CancelOrder
from command_service.checkout.cancel_order_lines import CancelOrderLines
from command_service.checkout.expire_order import ExpireOrder
from command_service.checkout.fulfill_order_lines import FulfillOrderLines
from command_service.checkout.record_refund import RecordRefund
from command_service.checkout.return_order_lines import ReturnedUnits, ReturnOrderLines
from command_service.inventory.commands import AdjustStock
from command_service.money import Money
from command_service.ordering.lines import Units
from event_log.reader import LogReader
from ops.embedded import EmbeddedPostgres
from ops.failures import Problem
from ops.verify import Violation, examine, verify
from ops.verify.served import ServedViews
from ops.verify.verification import NOT_COMPARED, ROUNDS_MAX, _Comparison
from projections.contexts import PROJECTIONS
from projections.feeding import Feeder
from projections.projector import Projector
from read_models.connections import Connection, connect
from read_models.partitions import Address, EntryAddress, checkpoint_key, key_of, partition_of
from read_models.views import (
    CART,
    ORDER,
    PRICES,
    PRODUCT,
    SKU,
    STOCK,
    Document,
    cart_skus_address,
    customer_orders_name,
    orders_by_state_name,
)
from shopkeeper.catalog.v1.catalog_query_service_pb2 import ProductView
from shopkeeper.inventory.v1.inventory_pb2 import Stock
from shopkeeper.ordering.v1.ordering_pb2 import OrderState
from tests.command_service.checkout.orders_on_postgresql import (
    fill_cart,
    open_stocked_shop,
    payment,
    place,
    receive,
)
from tests.command_service.checkout.shop_in_memory import add, apply, create
from tests.command_service.conftest import CarryOut, carry_out
from tests.read_side import serving, settle

__all__ = ["carry_out"]

MOMENT = timedelta(milliseconds=1)


@pytest.fixture(autouse=True)
def no_scheduler(monkeypatch: pytest.MonkeyPatch) -> None:
    """No price window opens here, so rounds need not wait for anybody to tell of it."""
    monkeypatch.setattr(ops.verify.verification, "ROUND_SECONDS", 0.01)


@pytest_asyncio.fixture
async def redis(redis_url: str) -> AsyncIterator[Connection]:
    opened = connect(redis_url, answer_seconds_max=5.0)
    yield opened
    await opened.close()


@pytest_asyncio.fixture
async def projector(redis: Connection, database_url: str) -> AsyncIterator[Projector]:
    reader = LogReader(database_url)
    yield Projector(redis, reader, Feeder(redis, reader, PROJECTIONS, batch_events_max=1000))
    await reader.close()


@pytest_asyncio.fixture
async def shop(carry_out: CarryOut, projector: Projector) -> CarryOut:
    """An order in each state, a coupon in use, an open cart; all of it shown."""
    await open_stocked_shop(carry_out)
    await carry_out(create("open"))
    await carry_out(add("sku5", 2, cart_id="open"))
    with_coupon = await fill_cart(carry_out, "awaiting", "ada", sku1=2, sku2=3)
    await carry_out(apply("TENTH", cart_id="awaiting"))
    await carry_out(replace(with_coupon, etag="4", expected_total=Money("GBP", 457)))
    paid = await place(carry_out, "paid", sku3=1)
    await carry_out(payment(paid, "pay-paid"))
    await _ship_and_return(carry_out)
    await _call_units_off(carry_out)
    cancelled = await place(carry_out, "cancelled", sku3=1)
    await carry_out(CancelOrder(cancelled.order_id))
    expired = await place(carry_out, "expired", hold=MOMENT, sku3=1)
    await carry_out(ExpireOrder(expired.order_id))
    await _pay_late(carry_out)
    await settle(projector)
    return carry_out


async def _ship_and_return(carry_out: CarryOut) -> None:
    shipped = await place(carry_out, "shipped", sku4=3)
    await carry_out(payment(shipped, "pay-shipped"))
    await carry_out(FulfillOrderLines(shipped.order_id, (Units("sku4", 1),)))
    await carry_out(FulfillOrderLines(shipped.order_id))
    back = ReturnedUnits("sku4", 1, True, "")
    await carry_out(ReturnOrderLines(shipped.order_id, (back,)))
    await carry_out(RecordRefund(shipped.order_id, "refund", None, (Units("sku4", 1),)))


async def _call_units_off(carry_out: CarryOut) -> None:
    """Of an order that ships the rest, and of one that is given up with its last unit; with a gift."""
    rest = await place(carry_out, "rest", sku4=3)
    await carry_out(payment(rest, "pay-rest"))
    await carry_out(CancelOrderLines(rest.order_id, (Units("sku4", 1),)))
    await carry_out(FulfillOrderLines(rest.order_id))
    await carry_out(RecordRefund(rest.order_id, "refund-rest", None, (Units("sku4", 1),)))
    await carry_out(RecordRefund(rest.order_id, "gift", Money("GBP", 5), ()))
    none = await place(carry_out, "none", sku4=1)
    await carry_out(payment(none, "pay-none"))
    await carry_out(CancelOrderLines(none.order_id, (Units("sku4", 1),)))


async def _pay_late(carry_out: CarryOut) -> None:
    """The stock is taken anew, from other shelves than before."""
    late = await place(carry_out, "late", hold=MOMENT, sku6=60)
    await carry_out(ExpireOrder(late.order_id))
    await carry_out(AdjustStock("sku6", "main", 20, 100, "count"))
    await receive(carry_out, "annex", sku6=50)
    await carry_out(payment(late, "pay-late"))


async def verified(shop: CarryOut, redis_url: str | None) -> list[Violation]:
    return await verify(shop.database_url, redis_url, on_progress=lambda _what, _done, _of: None)


async def test_a_healthy_shop_has_no_violations(shop: CarryOut, redis_url: str) -> None:
    assert await verified(shop, redis_url) == []


async def test_what_was_looked_at_is_counted(shop: CarryOut, redis: Connection, redis_url: str) -> None:
    async def view_count() -> int:
        found = await examine(shop.database_url, redis_url, on_progress=lambda _what, _done, _of: None)
        return found.view_count

    before = await view_count()
    [(sku_count,)] = await shop.fetch("SELECT count(DISTINCT sku_id) FROM stock_levels")
    assert before > 4 * sku_count
    await redis.call("DEL", await key(redis, STOCK.address("sku1")))
    await redis.call("SET", await key(redis, STOCK.address("ghost")), b"")
    assert await view_count() == before + 1


async def test_a_sku_that_moved_is_shown_with_its_new_product_only(
    shop: CarryOut, redis: Connection, redis_url: str, projector: Projector
) -> None:
    await shop(UpsertProducts((Product("others", "Others", {}, active=True),)))
    moved = Sku("sku1", "others", "thing 1", {}, None, None, True, SaleState.ON_SALE, True)
    await shop(UpsertSkus((moved,)))
    await settle(projector)
    for product_id, is_its_own in (("things", False), ("others", True)):
        stored = await redis.call("GET", await key(redis, PRODUCT.address(product_id)))
        view = ProductView.FromString(stored)
        assert ("sku1" in {sku.sku_id for sku in view.skus}) is is_its_own
    assert await verified(shop, redis_url) == []


@pytest.mark.breaks_invariants("inv_stock_ledger")
async def test_a_broken_rule_is_told_with_the_rule_and_its_rows(shop: CarryOut) -> None:
    await shop.fetch("UPDATE stock_levels SET on_hand = 101 WHERE sku_id = 'sku9'")
    assert await verified(shop, None) == [
        Violation(
            "inv_stock_ledger",
            "sku_id sku9",
            (
                "Each stock counter equals the sum of its movements."
                " Broken by: location_id main, counter on_hand, stored 101, ledger 100."
            ),
        )
    ]


async def test_progress_is_told_and_comes_to_its_end(shop: CarryOut, redis_url: str) -> None:
    told: list[tuple[str, int, int]] = []

    def on_progress(what: str, done: int, of: int) -> None:
        told.append((what, done, of))

    await verify(shop.database_url, redis_url, on_progress=on_progress)
    last = {what: (done, of) for what, done, of in told}
    assert {what for what, (done, of) in last.items() if done == of} >= {
        "invariants",
        "views of stock",
        "views of order",
        "views that nothing calls for",
    }


async def key(redis: Connection, address: Address) -> str:
    return key_of(await serving(redis), address.partition, address.name)


DOCUMENTS: list[tuple[Document[Any], str, str, object, str]] = [
    (
        PRODUCT,
        "things",
        "product.title",
        "Thongs",
        "Product.title is 'Thongs', the tables say 'Things'.",
    ),
    (SKU, "sku1", "title", "thong", "Title is 'thong', the tables say 'thing 1'."),
    (
        PRICES,
        "sku1",
        "prices.0.tiers.0.unit_price_minor",
        1,
        "Prices[0].tiers[0].unit_price_minor is 1, the tables say 101.",
    ),
    (STOCK, "sku1", "levels.0.reserved", 1, "Levels[0].reserved is 1, the tables say 2."),
    (CART, "open", "lines.0.quantity", 9, "Lines[0].quantity is 9, the tables say 2."),
    (
        ORDER,
        "order of paid",
        "state",
        OrderState.ORDER_STATE_FULFILLED,
        "State is ORDER_STATE_FULFILLED, the tables say ORDER_STATE_PAID.",
    ),
]


@pytest.mark.parametrize("tampered", DOCUMENTS, ids=lambda each: each[0].name)
async def test_a_view_that_was_tampered_with_is_told_by_its_first_wrong_field(
    shop: CarryOut,
    redis: Connection,
    redis_url: str,
    tampered: tuple[Document[Any], str, str, object, str],
) -> None:
    document, identifier, path, value, explanation = tampered
    where = await key(redis, document.address(identifier))
    view = document.message_type.FromString(await redis.call("GET", where))
    part: Any = view
    *inner, last = path.split(".")
    for name in inner:
        part = part[int(name)] if name.isdecimal() else getattr(part, name)
    setattr(part, last, value)
    await redis.call("SET", where, view.SerializeToString())
    assert await verified(shop, redis_url) == [
        Violation(f"view {document.name}", f"{document.name}:{identifier}", explanation)
    ]


async def test_a_view_that_is_missing_is_told(shop: CarryOut, redis: Connection, redis_url: str) -> None:
    await redis.call("DEL", await key(redis, STOCK.address("sku1")))
    await redis.call("DEL", await key(redis, cart_skus_address("open")))
    assert set(await verified(shop, redis_url)) == {
        Violation("view stock", "stock:sku1", "It is missing."),
        Violation("view cart-skus", "cart-skus:open", "It is missing."),
    }


async def test_a_view_of_what_does_not_exist_is_told(
    shop: CarryOut, redis: Connection, redis_url: str
) -> None:
    ghost = STOCK.message_type(sku_id="ghost", available=5)
    await redis.call("SET", await key(redis, STOCK.address("ghost")), ghost.SerializeToString())
    stray = key_of(await serving(redis), 0, "stray:thing")
    await redis.call("SET", stray, b"")
    assert set(await verified(shop, redis_url)) == {
        Violation("view stock", "stock:ghost", "It is shown, though the tables do not know it."),
        Violation("view stray", "stray:thing", "It stands there, though no view has such a name."),
    }


async def test_a_view_that_is_no_message_is_told(
    shop: CarryOut, redis: Connection, redis_url: str
) -> None:
    await redis.call("SET", await key(redis, ORDER.address("order of paid")), b"\xff\xff")
    assert await verified(shop, redis_url) == [
        Violation("view order", "order:order of paid", "It is not a serialized view.")
    ]


async def test_an_order_that_is_in_the_wrong_list_is_told_in_both(
    shop: CarryOut, redis: Connection, redis_url: str
) -> None:
    paid, fulfilled = (
        EntryAddress(partition_of("order of paid"), orders_by_state_name(state), b"")
        for state in (OrderState.ORDER_STATE_PAID, OrderState.ORDER_STATE_FULFILLED)
    )
    [member] = [
        member
        for member in await redis.call("ZRANGE", await key(redis, paid), 0, -1)
        if b"order of paid" in member
    ]
    await redis.call("ZREM", await key(redis, paid), member)
    await redis.call("ZADD", await key(redis, fulfilled), 0, member)
    assert set(await verified(shop, redis_url)) == {
        Violation("view orders-by-state", "orders-by-state:3 order order of paid", "It is missing."),
        Violation(
            "view orders-by-state",
            "orders-by-state:5 order order of paid",
            "It is shown, though the tables do not know it.",
        ),
    }


async def test_a_customer_s_list_that_lost_an_order_is_told(
    shop: CarryOut, redis: Connection, redis_url: str
) -> None:
    name = customer_orders_name("ada")
    await redis.call("DEL", await key(redis, EntryAddress(partition_of("ada"), name, b"")))
    assert await verified(shop, redis_url) == [
        Violation(
            "view customer-orders", "customer-orders:ada order order of awaiting", "It is missing."
        )
    ]


async def test_projections_that_do_not_come_along_are_told(
    shop: CarryOut, redis: Connection, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ops.verify.verification, "CATCH_UP_SECONDS_MAX", 0.1)
    await receive(shop, "main", sku0=1)
    late = await verified(shop, redis_url)
    assert len(late) == 16
    assert late[0].check == "read models"
    assert late[0].subject == "partition 0"


async def test_a_lost_checkpoint_is_told(
    shop: CarryOut, redis: Connection, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ops.verify.verification, "CATCH_UP_SECONDS_MAX", 0.1)
    await redis.call("DEL", checkpoint_key(await serving(redis), 3))
    [violation] = await verified(shop, redis_url)
    assert violation.subject == "partition 3"
    assert violation.explanation.startswith("It is at nothing, the log was at ")


@pytest.mark.breaks_invariants
async def test_views_of_a_log_that_was_cut_off_are_told(shop: CarryOut, redis_url: str) -> None:
    """As after a restore whose operator forgot to say so."""
    await shop.fetch("ALTER TABLE events DISABLE TRIGGER append_only")
    await shop.fetch("DELETE FROM events WHERE position > 9")
    violations = await verified(shop, redis_url)
    beyond = [each for each in violations if each.check == "read models"]
    assert [each.subject for each in beyond] == [f"partition {number}" for number in range(16)]
    assert ".9: after a restore say `shopkeeper new-incarnation --yes`." in beyond[0].explanation


async def test_a_database_without_rules_is_not_one_that_keeps_them(postgres: EmbeddedPostgres) -> None:
    with pytest.raises(Problem, match="holds no shop"):
        await verify(postgres.url(), None, on_progress=lambda _what, _done, _of: None)


async def test_read_models_that_were_never_built_are_told(carry_out: CarryOut, redis_url: str) -> None:
    assert await verified(carry_out, redis_url) == [
        Violation("read models", "generation", "None serves: queries are UNAVAILABLE.")
    ]


async def test_traffic_makes_no_false_alarm(
    shop: CarryOut, projector: Projector, redis_url: str
) -> None:
    """Sales of one SKU go on all the time, and the projector lags behind them by turns."""
    is_done = asyncio.Event()

    async def sell() -> None:
        number = 0
        while not is_done.is_set():
            number += 1
            order = await place(shop, f"busy{number}", sku0=1)
            await shop(payment(order, f"pay-busy{number}"))
            if number % 3 == 0:
                await receive(shop, "main", sku0=3)
            await projector.round()

    selling = asyncio.ensure_future(sell())
    try:
        assert await verified(shop, redis_url) == []
    finally:
        is_done.set()
        await selling


async def test_a_wrong_view_is_found_in_spite_of_traffic(
    shop: CarryOut, projector: Projector, redis: Connection, redis_url: str
) -> None:
    wrong = STOCK.message_type(sku_id="sku9", available=7)
    await redis.call("SET", await key(redis, STOCK.address("sku9")), wrong.SerializeToString())
    is_done = asyncio.Event()

    async def sell() -> None:
        while not is_done.is_set():
            await receive(shop, "main", sku0=1)
            await projector.round()

    selling = asyncio.ensure_future(sell())
    try:
        found = await verified(shop, redis_url)
    finally:
        is_done.set()
        await selling
    assert found == [Violation("view stock", "stock:sku9", "Available is 7, the tables say 100.")]


async def test_a_view_that_was_proven_wrong_stays_so_while_others_are_looked_at(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One SKU is sold all the time, and never proven; the other one when the last look is taken."""
    busy, quiet = STOCK.address("busy"), STOCK.address("quiet")

    class Scripted(_Comparison):
        round_count = 0

        async def _late(self, tables: Any) -> list[Violation]:
            return []

        async def _differing(self, expected: Any, addresses: Any) -> dict[Address, str]:
            return {busy: "available is 7", quiet: "available is 8"}

        async def _touched_since(self, tables: Any) -> set[tuple[str, str]]:
            Scripted.round_count += 1
            is_last = Scripted.round_count == ROUNDS_MAX
            return {("inventory", "busy"), *([("inventory", "quiet")] if is_last else [])}

    async def none_of_them(*_given: Any) -> Any:
        return {}

    monkeypatch.setattr(ops.verify.verification, "ROUND_SECONDS", 0)
    monkeypatch.setattr(ops.verify.verification, "snapshot", lambda _url: nullcontext())
    monkeypatch.setattr(ops.verify.verification, "_views_of", none_of_them)
    suspects: dict[Address, str] = {busy: "", quiet: ""}
    comparison = Scripted("", cast("ServedViews", None), lambda *_: None, suspects)
    assert await comparison.settle() == [
        Violation("view stock", "stock:busy", NOT_COMPARED, is_proven=False),
        Violation("view stock", "stock:quiet", "Available is 8."),
    ]
    assert Scripted.round_count == ROUNDS_MAX


async def test_a_wrong_view_of_a_sku_that_moves_after_every_look_is_proven(
    shop: CarryOut, redis: Connection, projector: Projector
) -> None:
    address = STOCK.address("sku9")
    stored_at = await key(redis, address)
    view = Stock.FromString(await redis.call("GET", stored_at))
    # Movements of other locations leave it where it is.
    view.levels.add(location_id="zz", on_hand=1, available=1)
    await redis.call("SET", stored_at, view.SerializeToString())

    class Busy(_Comparison):
        async def _late(self, tables: Any) -> list[Violation]:
            await settle(projector)
            return await super()._late(tables)

        async def _differing(self, expected: Any, addresses: Any) -> dict[Address, str]:
            found = await super()._differing(expected, addresses)
            await receive(shop, "main", sku9=1)
            return found

    served = ServedViews(redis, await serving(redis))
    comparison = Busy(shop.database_url, served, lambda *_: None, {address: "it was wrong"})
    [found] = await comparison.settle()
    assert (found.subject, found.is_proven) == ("stock:sku9", True)
