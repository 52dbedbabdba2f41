"""Books from before a unit counted as given up whole when one part of its refund fails."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from command_service.checkout.refund_payment import RefundPayment
from command_service.money import Money
from command_service.ordering.domain import Order
from command_service.ordering.lines import Units
from ops.migrate import migrate
from tests.command_service.checkout.paid_shop import PaidShop, paid_shop
from tests.command_service.conftest import CarryOut
from tests.invariants import broken_invariants


@pytest_asyncio.fixture
async def shop(carry_out: CarryOut) -> AsyncIterator[PaidShop]:
    async with paid_shop(carry_out) as shop:
        yield shop


async def half_refunded(shop: PaidShop) -> Order:
    """One unit of 1.00, paid by two payments, to be given back by both: one of them gave 0.60."""
    order = await shop.place(sku0=1)
    for amount in (Money("GBP", 40), None):
        driven = await shop.start(order, amount=amount)
        await shop.act(driven.payment, "pay")
        await shop.deliver()
    line_id = order.lines[0].line_id
    refunds = await shop.give_back(
        await shop.ask(RefundPayment(order.order_id, "", None, (Units(line_id, 1),)))
    )
    assert [(each.amount_minor, each.lines[0].quantity) for each in refunds] == [(60, 1), (40, 0)]
    await shop.sandbox.act(f"refunds/{refunds[1].provider_reference}/fail")
    await shop.deliver()
    return order


async def unmigrate(shop: PaidShop) -> None:
    """Has every step after the thirteenth be applied once more."""
    await shop.carry_out.fetch(
        "ALTER TABLE payments DROP COLUMN begun_time, DROP COLUMN refunds_by_hand"
    )
    await shop.carry_out.fetch("UPDATE alembic_version SET version_num = '0013'")


async def test_what_a_unit_lacks_of_its_refund_is_booked_once(shop: PaidShop) -> None:
    order = await half_refunded(shop)
    assert broken_invariants(shop.carry_out.database_url) == {}
    # As it was booked then: what failed is ours again.
    await shop.carry_out.fetch("""
        INSERT INTO money_entries
        SELECT position, 10 + number, now(), order_id, account, '', currency_code, amount_minor
        FROM (SELECT max(position) AS position, order_id, currency_code FROM money_entries
              WHERE account = 'payable' AND amount_minor = 40 GROUP BY order_id, currency_code) AS told,
             (VALUES (1, 'receivable', 40), (2, 'revenue', -40)) AS entry(number, account, amount_minor)
        """)
    assert set(broken_invariants(shop.carry_out.database_url)) == {"inv_money_receivable"}
    for _ in range(2):
        await unmigrate(shop)
        migrate(shop.carry_out.database_url)
        assert broken_invariants(shop.carry_out.database_url) == {}
    sums = await shop.carry_out.fetch(
        "SELECT account, sum(amount_minor)::bigint FROM money_entries WHERE order_id = %s"
        " GROUP BY account ORDER BY account",
        order.order_id,
    )
    assert [(name, total) for name, total in sums if total] == [
        ("clearing", 40),
        ("receivable", -40),
        ("refunds", 100 + 40),
        ("revenue", -100 - 40),
    ]


@pytest.mark.breaks_invariants("inv_money_receivable")
async def test_books_that_lack_something_else_are_left_as_they_are(shop: PaidShop) -> None:
    await half_refunded(shop)
    await shop.carry_out.fetch("""
        INSERT INTO money_entries
        SELECT position, 10 + number, now(), order_id, account, '', currency_code, amount_minor
        FROM (SELECT max(position) AS position, order_id, currency_code FROM money_entries
              GROUP BY order_id, currency_code) AS told,
             (VALUES (1, 'receivable', 41), (2, 'revenue', -41)) AS entry(number, account, amount_minor)
        """)
    [(before,)] = await shop.carry_out.fetch("SELECT count(*) FROM money_entries")
    await unmigrate(shop)
    migrate(shop.carry_out.database_url)
    assert await shop.carry_out.fetch("SELECT count(*) FROM money_entries") == [(before,)]
