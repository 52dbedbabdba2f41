"""Price lists and prices on PostgreSQL: what is kept, what is told, and what the scheduler finds due."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from command_service.errors import PriceListNotFound
from command_service.pipeline import Row
from command_service.pricing.commands import (
    ApplyPriceWindow,
    PriceRow,
    UpsertPriceLists,
    UpsertPrices,
)
from command_service.pricing.domain import (
    PRICE_BOOK,
    PRICE_BOOK_KEY,
    SKU_PRICES,
    PriceBook,
    PriceList,
    SkuPrices,
)
from command_service.pricing.tables import DUE_PRICE_LISTS, PRICE_LIST_SKUS
from command_service.row_outcome import RowOutcome, RowState
from command_service.session import Session
from command_service.unit_of_work import Keys
from command_service.world import Mode
from shopkeeper.pricing.v1 import pricing_events_pb2, pricing_pb2
from tests.command_service.conftest import CarryOut
from tests.command_service.pricing.shop import price_list, tiers

LATER = datetime.now(UTC) + timedelta(days=1)
RETAIL = price_list("retail")
SALE = price_list("sale", priority=5, start_time=LATER)
MUG = PriceRow("mug", tiers((1, 255), (10, 200)))
CUP = PriceRow("cup", tiers((1, 105)))


def states(outcomes: tuple[RowOutcome, ...]) -> list[RowState]:
    return [outcome.state for outcome in outcomes]


async def told_prices(carry_out: CarryOut) -> list[pricing_pb2.SkuPrices]:
    """What was told of SKUs' prices in force, oldest first."""
    rows = await carry_out.fetch(
        "SELECT payload FROM events WHERE type LIKE '%%.SkuPricesChanged' ORDER BY position"
    )
    return [pricing_events_pb2.SkuPricesChanged.FromString(payload).prices for (payload,) in rows]


async def told_lists(carry_out: CarryOut) -> list[tuple[str, bool]]:
    """What was told of lists: (id, in force)."""
    rows = await carry_out.fetch(
        "SELECT payload FROM events WHERE type LIKE '%%.PriceListUpserted' ORDER BY position"
    )
    told = [pricing_events_pb2.PriceListUpserted.FromString(payload) for (payload,) in rows]
    return [(each.price_list.price_list_id, each.in_force) for each in told]


async def stored_prices(carry_out: CarryOut, sku_id: str) -> SkuPrices | None:
    repository = carry_out.storage.repositories[SKU_PRICES.rank]
    [statement] = repository.load(Keys([(sku_id, Mode.READ)]))
    rows = await carry_out.session.run([statement])
    found: SkuPrices | None = repository.assemble(Keys([(sku_id, Mode.READ)]), rows)[sku_id]
    return found


async def stored_book(carry_out: CarryOut) -> PriceBook:
    repository = carry_out.storage.repositories[PRICE_BOOK.rank]
    keys = Keys([(PRICE_BOOK_KEY, Mode.READ)])
    [statement] = repository.load(keys)
    book: PriceBook = repository.assemble(keys, await carry_out.session.run([statement]))[PRICE_BOOK_KEY]
    return book


async def time_passes(carry_out: CarryOut, price_list_id: str) -> None:
    """The list's window opens."""
    await carry_out.fetch(
        "UPDATE price_lists SET start_time = clock_timestamp() WHERE price_list_id = %s",
        price_list_id,
    )


async def due_lists(carry_out: CarryOut) -> list[Row]:
    return await carry_out.fetch(DUE_PRICE_LISTS)


async def show_due_lists(carry_out: CarryOut, sku_count_max: int = 500) -> int:
    """What the scheduler does; returns how many SKUs changed their prices."""
    changed_count = 0
    for list_id, version, listed_time in await due_lists(carry_out):
        after_sku_id, last_chunk = "", False
        while not last_chunk:
            sku_ids = await skus_of(carry_out, list_id, after_sku_id, sku_count_max)
            last_chunk = len(sku_ids) < sku_count_max
            marks = listed_time if last_chunk else None
            changed_count += await carry_out(ApplyPriceWindow(list_id, tuple(sku_ids), version, marks))
            after_sku_id = sku_ids[-1] if sku_ids else after_sku_id
    return changed_count


async def skus_of(
    carry_out: CarryOut, list_id: str, after_sku_id: str = "", sku_count_max: int = 500
) -> list[str]:
    facts = {"price_list_id": list_id, "after_sku_id": after_sku_id, "sku_count_max": sku_count_max}
    async with await psycopg.AsyncConnection.connect(carry_out.database_url) as connection:
        cursor = await connection.execute(PRICE_LIST_SKUS.encode(), facts)
        return [sku_id for (sku_id,) in await cursor.fetchall()]


@asynccontextmanager
async def another_process(carry_out: CarryOut) -> AsyncIterator[CarryOut]:
    session = Session(carry_out.database_url, "another process")
    await session.connect()
    yield CarryOut(carry_out.database_url, session)
    await session.close()


# --- price lists ----------------------------------------------------------------------------------


async def test_a_list_is_created_changed_and_left_as_it_is(carry_out: CarryOut) -> None:
    renamed = price_list("retail", title="Shop")
    assert states(await carry_out(UpsertPriceLists((RETAIL,)))) == [RowState.CREATED]
    assert states(await carry_out(UpsertPriceLists((RETAIL,)))) == [RowState.UNCHANGED]
    assert states(await carry_out(UpsertPriceLists((renamed,)))) == [RowState.UPDATED]
    assert (await stored_book(carry_out)).price_lists["retail"].title == "Shop"
    assert await told_lists(carry_out) == [("retail", True), ("retail", True)]


async def test_the_currency_of_a_list_never_changes(carry_out: CarryOut) -> None:
    await carry_out(UpsertPriceLists((RETAIL,)))
    in_euros = price_list("retail", currency_code="EUR")
    refused, created = await carry_out(UpsertPriceLists((in_euros, SALE)))
    assert refused == RowOutcome(
        0,
        "retail",
        RowState.REFUSED,
        "PRICE_LIST_CURRENCY_FIXED",
        "Price list retail is in GBP, for good.",
    )
    assert created.state is RowState.CREATED
    assert (await stored_book(carry_out)).price_lists["retail"].currency_code == "GBP"


async def test_a_list_that_was_only_locked_is_not_in_the_book(carry_out: CarryOut) -> None:
    with pytest.raises(PriceListNotFound):
        await carry_out(UpsertPrices("retail", (MUG,)))
    await carry_out.fetch("INSERT INTO price_lists (price_list_id) VALUES ('key-row')")
    assert await stored_book(carry_out) == PriceBook({}, {})
    assert await due_lists(carry_out) == []


# --- prices ---------------------------------------------------------------------------------------


async def test_prices_follow_their_list_in_one_batch_and_are_told_at_once(carry_out: CarryOut) -> None:
    _, outcomes = await carry_out.together(
        [UpsertPriceLists((RETAIL,)), UpsertPrices("retail", (MUG, CUP))]
    )
    assert outcomes == (
        RowOutcome(0, "mug", RowState.CREATED),
        RowOutcome(1, "cup", RowState.CREATED),
    )
    stored = await stored_prices(carry_out, "mug")
    assert stored is not None
    assert stored.tiers_by_list == {"retail": MUG.tiers}
    mug, cup = await told_prices(carry_out)
    assert (mug.sku_id, cup.sku_id) == ("mug", "cup")
    [price] = mug.prices
    assert (price.price_list_id, price.currency_code, price.tax_inclusive) == ("retail", "GBP", True)
    assert [(tier.min_quantity, tier.unit_price_minor) for tier in price.tiers] == [(1, 255), (10, 200)]
    assert not price.HasField("end_time")


async def test_prices_are_replaced_taken_off_and_left_as_they_are(carry_out: CarryOut) -> None:
    await carry_out.together([UpsertPriceLists((RETAIL,)), UpsertPrices("retail", (MUG, CUP))])
    cheaper = PriceRow("mug", tiers((1, 1)))
    outcomes = await carry_out(
        UpsertPrices("retail", (cheaper, PriceRow("cup", ()), PriceRow("pin", ())))
    )
    assert states(outcomes) == [RowState.UPDATED, RowState.UPDATED, RowState.UNCHANGED]
    assert await carry_out.fetch("SELECT sku_id, unit_price_minor FROM prices") == [("mug", 1)]
    assert await stored_prices(carry_out, "cup") is None
    last_mug, last_cup = (await told_prices(carry_out))[2:]
    assert last_mug.prices[0].tiers[0].unit_price_minor == 1
    assert (last_cup.sku_id, list(last_cup.prices)) == ("cup", [])


async def test_prices_for_an_unknown_list_are_refused(carry_out: CarryOut) -> None:
    with pytest.raises(PriceListNotFound):
        await carry_out(UpsertPrices("nowhere", (MUG,)))
    assert await carry_out.fetch("SELECT * FROM prices") == []
    assert await told_prices(carry_out) == []


async def test_what_is_told_holds_the_prices_of_every_list_in_force_best_first(
    carry_out: CarryOut,
) -> None:
    lists = (RETAIL, SALE, price_list("trade", customer_group="trade", priority=9, end_time=LATER))
    await carry_out(UpsertPriceLists(lists))
    for each in lists:
        await carry_out(UpsertPrices(each.price_list_id, (MUG,)))
    told = await told_prices(carry_out)
    # The sale is not in force: its prices are kept, and nothing is told of them.
    assert [[price.price_list_id for price in each.prices] for each in told] == [
        ["retail"],
        ["trade", "retail"],
    ]
    assert told[-1].prices[0].end_time.ToDatetime(tzinfo=UTC) == LATER


async def test_two_processes_that_price_one_sku_in_two_lists_tell_both_prices_in_the_end(
    carry_out: CarryOut,
) -> None:
    await carry_out(UpsertPriceLists((RETAIL, price_list("trade"))))
    async with another_process(carry_out) as other:
        for unit_price_minor in range(1, 21):
            row = PriceRow("mug", tiers((1, unit_price_minor)))
            await asyncio.gather(
                carry_out(UpsertPrices("retail", (row,))), other(UpsertPrices("trade", (row,)))
            )
            last = (await told_prices(carry_out))[-1]
            assert [price.tiers[0].unit_price_minor for price in last.prices] == [unit_price_minor] * 2


async def test_a_rehearsal_predicts_the_answer_and_changes_nothing(carry_out: CarryOut) -> None:
    await carry_out.together([UpsertPriceLists((SALE,)), UpsertPrices("sale", (MUG,))])
    await time_passes(carry_out, "sale")
    show = ApplyPriceWindow("sale", ("mug",), 2, None)
    upsert = UpsertPrices("sale", (MUG, CUP))
    assert states(await carry_out.rehearse(upsert)) == [RowState.UNCHANGED, RowState.CREATED]
    assert await carry_out.rehearse(show) == 1
    assert await told_prices(carry_out) == []
    assert await carry_out.fetch("SELECT sku_id FROM sku_price_roots") == [("mug",)]
    assert await carry_out(show) == 1
    assert await carry_out.rehearse(show) == 0


# --- windows --------------------------------------------------------------------------------------


async def test_a_new_list_and_its_prices_leave_nothing_due(carry_out: CarryOut) -> None:
    await carry_out.together([UpsertPriceLists((RETAIL, SALE)), UpsertPrices("retail", (MUG,))])
    assert await due_lists(carry_out) == []


async def test_a_window_that_opens_is_due_until_all_its_skus_are_shown(carry_out: CarryOut) -> None:
    await carry_out.together(
        [
            UpsertPriceLists((RETAIL, SALE)),
            UpsertPrices("retail", (MUG, CUP)),
            UpsertPrices("sale", (MUG, CUP)),
        ]
    )
    await time_passes(carry_out, "sale")
    [(list_id, version, listed_time)] = await due_lists(carry_out)
    assert list_id == "sale"
    assert await carry_out(ApplyPriceWindow("sale", ("cup",), version, None)) == 1
    assert await carry_out(ApplyPriceWindow("sale", ("cup",), version, None)) == 0
    assert len(await due_lists(carry_out)) == 1
    assert await carry_out(ApplyPriceWindow("sale", ("mug",), version, listed_time)) == 1
    assert await due_lists(carry_out) == []
    assert [price.price_list_id for price in (await told_prices(carry_out))[-1].prices] == [
        "sale",
        "retail",
    ]
    assert (await told_lists(carry_out))[-1] == ("sale", True)


async def test_the_scheduler_shows_a_long_list_in_chunks(carry_out: CarryOut) -> None:
    rows = tuple(PriceRow(f"sku-{n}", tiers((1, 100), (5, 90))) for n in range(7))
    await carry_out.together([UpsertPriceLists((SALE,)), UpsertPrices("sale", rows)])
    await time_passes(carry_out, "sale")
    assert await show_due_lists(carry_out, sku_count_max=3) == 7
    assert await due_lists(carry_out) == []
    assert await show_due_lists(carry_out) == 0


@pytest.mark.parametrize(
    "changed",
    [
        price_list("retail", priority=7),
        price_list("retail", customer_group="trade"),
        price_list("retail", tax_inclusive=False),
        price_list("retail", named_only=True),
        price_list("retail", end_time=LATER),
        price_list("retail", start_time=LATER),
    ],
)
async def test_a_change_of_a_list_is_shown_with_the_prices_of_its_skus(
    carry_out: CarryOut, changed: PriceList
) -> None:
    await carry_out.together([UpsertPriceLists((RETAIL,)), UpsertPrices("retail", (MUG,))])
    await carry_out(UpsertPriceLists((changed,)))
    assert len(await due_lists(carry_out)) == 1
    assert await show_due_lists(carry_out) == 1
    assert await due_lists(carry_out) == []


async def test_a_change_that_nobody_can_see_is_not_due(carry_out: CarryOut) -> None:
    await carry_out.together([UpsertPriceLists((RETAIL, SALE)), UpsertPrices("sale", (MUG,))])
    await carry_out(UpsertPriceLists((price_list("retail", title="Shop"),)))
    await carry_out(UpsertPriceLists((price_list("sale", priority=6, start_time=LATER),)))
    assert await due_lists(carry_out) == []


async def test_a_list_changed_while_it_is_shown_stays_due(carry_out: CarryOut) -> None:
    await carry_out.together([UpsertPriceLists((SALE,)), UpsertPrices("sale", (MUG,))])
    await time_passes(carry_out, "sale")
    [(_, version, listed_time)] = await due_lists(carry_out)
    await carry_out(UpsertPriceLists((price_list("sale", priority=8),)))
    await carry_out(ApplyPriceWindow("sale", ("mug",), version, listed_time))
    assert len(await due_lists(carry_out)) == 1
    await show_due_lists(carry_out)
    assert await due_lists(carry_out) == []


async def test_a_sku_added_after_the_scheduler_listed_them_keeps_the_list_due(
    carry_out: CarryOut,
) -> None:
    await carry_out.together([UpsertPriceLists((SALE,)), UpsertPrices("sale", (MUG,))])
    await time_passes(carry_out, "sale")
    [(_, version, listed_time)] = await due_lists(carry_out)
    await carry_out(UpsertPrices("sale", (CUP,)))
    await carry_out(ApplyPriceWindow("sale", ("mug",), version, listed_time))
    assert len(await due_lists(carry_out)) == 1


async def test_a_window_that_closed_meanwhile_keeps_the_list_due(carry_out: CarryOut) -> None:
    await carry_out.together([UpsertPriceLists((SALE,)), UpsertPrices("sale", (MUG,))])
    await time_passes(carry_out, "sale")
    [(_, version, listed_time)] = await due_lists(carry_out)
    await carry_out(ApplyPriceWindow("sale", ("mug",), version, None))
    await carry_out.fetch("UPDATE price_lists SET end_time = now()")
    await carry_out(ApplyPriceWindow("sale", (), version, listed_time))
    assert await show_due_lists(carry_out) == 1
    assert list((await told_prices(carry_out))[-1].prices) == []
    assert await due_lists(carry_out) == []


async def test_a_window_that_opened_and_closed_unseen_is_taken_back_where_it_was_told(
    carry_out: CarryOut,
) -> None:
    await carry_out.together([UpsertPriceLists((RETAIL, SALE)), UpsertPrices("sale", (MUG,))])
    await time_passes(carry_out, "sale")
    # Another list's change tells the sale price on the way.
    await carry_out(UpsertPrices("retail", (MUG,)))
    assert len((await told_prices(carry_out))[-1].prices) == 2
    await carry_out.fetch("UPDATE price_lists SET end_time = now() WHERE price_list_id = 'sale'")
    assert await show_due_lists(carry_out) == 1
    assert [p.price_list_id for p in (await told_prices(carry_out))[-1].prices] == ["retail"]


async def test_marking_a_list_twice_tells_it_once(carry_out: CarryOut) -> None:
    await carry_out(UpsertPriceLists((SALE,)))
    await time_passes(carry_out, "sale")
    [(_, version, listed_time)] = await due_lists(carry_out)
    for _ in range(2):
        await carry_out(ApplyPriceWindow("sale", (), version, listed_time))
    assert await told_lists(carry_out) == [("sale", False), ("sale", True)]


async def test_the_window_of_an_unknown_list_is_refused(carry_out: CarryOut) -> None:
    with pytest.raises(PriceListNotFound):
        await carry_out(ApplyPriceWindow("nowhere", ("mug",), 1, LATER))


# --- the database's own rules ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE prices SET unit_price_minor = -1",
        "UPDATE prices SET min_quantity = 0",
        "UPDATE price_lists SET end_time = now(), start_time = now()",
        "UPDATE price_lists SET currency_code = 'gbp'",
    ],
)
async def test_the_database_refuses_prices_that_cannot_be(carry_out: CarryOut, change: str) -> None:
    await carry_out.together([UpsertPriceLists((RETAIL,)), UpsertPrices("retail", (CUP,))])
    with pytest.raises(psycopg.errors.CheckViolation):
        await carry_out.fetch(change)
