"""The end of the demo: does what the services say agree with what their clients were told?"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from ops.demo.accounts import Accounts, Bucket
from ops.demo.buyers import is_restocked
from ops.demo.errands import SHIPPING_ENDS, Plan
from ops.demo.provider import Provider
from ops.demo.sales import CURRENCY_CODE, units_by_code
from ops.demo.shop import Shop
from ops.demo.staff import ACTOR
from ops.wire import rpcs
from shopkeeper.inventory.v1.inventory_command_service_pb2 import RepairStockRequest
from shopkeeper.inventory.v1.inventory_history_service_pb2 import ExplainStockRequest
from shopkeeper.inventory.v1.inventory_pb2 import Stock, StockLevel
from shopkeeper.inventory.v1.inventory_query_service_pb2 import BatchGetStockRequest
from shopkeeper.ordering.v1.ordering_pb2 import (
    ORDER_STATE_UNSPECIFIED,
    OrderState,
    OrderSummary,
)
from shopkeeper.ordering.v1.ordering_query_service_pb2 import ListOrdersByStateRequest

SKUS_PER_QUERY_MAX = 1000
ORDERS_PER_PAGE_MAX = 200
EXPLANATIONS_AT_ONCE = 16
REFUNDED_SECONDS_MAX = 120.0
"""For refunds whose calls went wrong: they are made again, after growing pauses."""


@dataclass(frozen=True, slots=True)
class Audit:
    """What the services say at the end."""

    order_count_by_state: Counter[str]
    revenue_minor: int
    """Sum of the totals of all orders."""
    oversold_units: int
    """Units promised that are not there, by the clients' count or by the counters: the larger."""
    sold_out_count: int
    """SKUs that were there and are not any more."""
    fault_count: int
    """Calls to the provider that went wrong on purpose."""
    webhook_count: int
    """Webhooks that arrived, the doubled ones included."""


@dataclass(frozen=True, slots=True)
class Units:
    """What a SKU's counters must be by what clients were told, in units over all locations."""

    supplied: int
    """Received, found or put back, less what was written off."""
    sold: int
    shipped: int

    @property
    def oversold(self) -> int:
        """Units sold that never were there."""
        return max(0, self.sold - self.supplied)


async def audit(shop: Shop, provider: Provider, plan: Plan, accounts: Accounts) -> Audit:
    """Compares all orders, money and stock, and some of the ledger; differences go to the accounts."""
    accounts.mismatches += [f"{path} answered differently" for path in shop.traffic.different_replies]
    token = await _token_of_now(shop, plan, accounts)
    orders = await _all_orders(shop, token)
    revenue_minor = sum(order.total.amount_minor for order in orders)
    accounts.expect_equal("revenue in pence", revenue_minor, accounts.revenue_minor)
    accounts.expect_equal("number of orders", len(orders), accounts.order_count)
    expected_minor = (accounts.revenue_minor, accounts.refunded_minor)
    totals_minor = await _totals_at_rest(provider, expected_minor)
    accounts.expect_equal("(captured, refunded) at the provider", totals_minor, expected_minor)
    stocks = await _all_stock(shop, plan, token)
    expected = expected_units(plan, accounts)
    for code, units in expected.items():
        _expect_counters(code, stocks.get(code, Stock()), units, accounts)
    sold_out = [code for code, stock in stocks.items() if stock.available == 0]
    await _expect_explained(shop, [stocks[code] for code in sold_out], accounts)
    return Audit(
        order_count_by_state=Counter(
            OrderState.Name(order.state).removeprefix("ORDER_STATE_") for order in orders
        ),
        revenue_minor=revenue_minor,
        oversold_units=max(
            sum(units.oversold for units in expected.values()),
            sum(_uncovered(level) for stock in stocks.values() for level in stock.levels),
        ),
        sold_out_count=len(sold_out),
        fault_count=await provider.fault_count(),
        webhook_count=(await provider.deliveries())["delivered"],
    )


async def _totals_at_rest(provider: Provider, expected_minor: tuple[int, int]) -> tuple[int, int]:
    """What was captured and refunded, once it is as expected; or as it is after a long wait."""
    loop = asyncio.get_running_loop()
    end = loop.time() + REFUNDED_SECONDS_MAX
    while (totals := await provider.totals_minor(CURRENCY_CODE)) != expected_minor:
        if loop.time() > end:
            break
        await asyncio.sleep(1)
    return totals


def expected_units(plan: Plan, accounts: Accounts) -> dict[str, Units]:
    """What was supplied, sold and shipped of each code, counted from what clients were told."""
    supplied: Counter[str] = Counter()
    for (code, _), quantity in plan.opening_stock.units.items():
        supplied[code] += quantity
    for line in accounts.lines_in(Bucket.ADJUSTMENT):
        supplied[line.code] += line.quantity
    for line in filter(is_restocked, accounts.lines_in(Bucket.RETURNED)):
        supplied[line.code] -= line.quantity
    ordered = accounts.lines_in(Bucket.ORDERED)
    sold = units_by_code(ordered)
    shipped = units_by_code(line for line in ordered if line.invoiced_time < SHIPPING_ENDS)
    return {
        code: Units(supplied=supplied[code], sold=sold[code], shipped=shipped[code])
        for code in supplied.keys() | sold.keys()
    }


async def _token_of_now(shop: Shop, plan: Plan, accounts: Accounts) -> str:
    """A token newer than everything, from a command that must find nothing to do."""
    request = RepairStockRequest(sku_id=next(code for code, _ in plan.opening_stock.units))
    answer = await shop.command(rpcs.REPAIR_STOCK, request, actor=ACTOR)
    accounts.expect_equal("repaired counters", list(answer.repaired), [])
    return answer.consistency_token


async def _all_orders(shop: Shop, token: str) -> list[OrderSummary]:
    states = [state for state in OrderState.values() if state != ORDER_STATE_UNSPECIFIED]
    return [order for state in states async for order in _orders_in(shop, state, token)]


async def _orders_in(shop: Shop, state: OrderState.ValueType, token: str) -> AsyncIterator[OrderSummary]:
    request = ListOrdersByStateRequest(
        state=state, at_least_as_fresh=token, page_size=ORDERS_PER_PAGE_MAX
    )
    while True:
        page = await shop.query(rpcs.LIST_ORDERS_BY_STATE, request)
        for order in page.orders:
            yield order
        if not page.next_page_token:
            return
        request.page_token = page.next_page_token


async def _all_stock(shop: Shop, plan: Plan, token: str) -> dict[str, Stock]:
    codes = list(plan.titles)
    found: dict[str, Stock] = {}
    for start in range(0, len(codes), SKUS_PER_QUERY_MAX):
        some = codes[start : start + SKUS_PER_QUERY_MAX]
        request = BatchGetStockRequest(sku_ids=some, at_least_as_fresh=token)
        answer = await shop.query(rpcs.BATCH_GET_STOCK, request)
        found |= {stock.sku_id: stock for stock in answer.stock}
    return found


def _expect_counters(code: str, stock: Stock, units: Units, accounts: Accounts) -> None:
    actual = (
        sum(level.on_hand for level in stock.levels),
        sum(level.reserved for level in stock.levels),
        sum(level.allocated for level in stock.levels),
    )
    expected = (units.supplied - units.shipped, 0, units.sold - units.shipped)
    accounts.expect_equal(f"(on_hand, reserved, allocated) of {code}", actual, expected)


def _uncovered(level: StockLevel) -> int:
    """Units promised that neither the shelf nor any rule covers."""
    promised = level.reserved + level.allocated
    return max(0, promised - level.on_hand - level.backorder_limit - level.shortage)


async def _expect_explained(shop: Shop, stocks: Sequence[Stock], accounts: Accounts) -> None:
    """Has the history service add up the ledger of each SKU and compares the sums with the view."""
    free = asyncio.Semaphore(EXPLANATIONS_AT_ONCE)

    async def explain(stock: Stock) -> None:
        async with free:
            answer = await shop.recall(rpcs.EXPLAIN_STOCK, ExplainStockRequest(sku_id=stock.sku_id))
        accounts.expect_equal(f"ledger of {stock.sku_id}", answer.stock, stock)
        accounts.expect_equal(f"differences of {stock.sku_id}", list(answer.differences), [])

    async with asyncio.TaskGroup() as group:
        for stock in stocks:
            group.create_task(explain(stock))
