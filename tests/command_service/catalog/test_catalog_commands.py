"""Products and SKUs, upserted and paused, on PostgreSQL."""

import asyncio
from dataclasses import replace

import psycopg
import pytest

from command_service.catalog.commands import SetSaleState, UpsertProducts, UpsertSkus
from command_service.catalog.domain import SKU, Dimensions, Product, SaleState, Sku
from command_service.errors import SkuNotFound
from command_service.row_outcome import RowOutcome, RowState
from command_service.session import Session
from command_service.unit_of_work import Keys
from command_service.world import Mode
from shopkeeper.catalog.v1 import catalog_events_pb2
from tests.command_service.conftest import CarryOut

MUGS = Product("mugs", "Mugs", {"material": "tin"}, active=True)
MUG = Sku(
    sku_id="mug-red",
    product_id="mugs",
    title="Red mug",
    attributes={"colour": "red"},
    weight_grams=250,
    dimensions=Dimensions(100, 90, 80),
    active=True,
    sale_state=SaleState.ON_SALE,
    product_active=False,
)


def states(outcomes: tuple[RowOutcome, ...]) -> list[RowState]:
    return [outcome.state for outcome in outcomes]


async def stored_sku(carry_out: CarryOut, sku_id: str) -> Sku | None:
    """The SKU as a later command reads it."""
    repository = carry_out.storage.repositories[SKU.rank]
    keys = Keys([(sku_id, Mode.READ)])
    found = repository.assemble(keys, await carry_out.session.run(repository.load(keys)))
    sku: Sku | None = found[sku_id]
    return sku


async def events(carry_out: CarryOut) -> list[tuple[str, str]]:
    return await carry_out.fetch("SELECT type, key FROM events ORDER BY position")


async def test_a_product_and_its_skus_are_created_in_one_batch(carry_out: CarryOut) -> None:
    product_outcomes, sku_outcomes = await carry_out.together(
        [UpsertProducts((MUGS,)), UpsertSkus((MUG, replace(MUG, sku_id="mug-bare", weight_grams=None)))]
    )
    assert product_outcomes == (RowOutcome(0, "mugs", RowState.CREATED),)
    assert states(sku_outcomes) == [RowState.CREATED, RowState.CREATED]
    assert await stored_sku(carry_out, "mug-red") == replace(MUG, product_active=True)
    assert await events(carry_out) == [
        ("shopkeeper.catalog.v1.ProductUpserted", "mugs"),
        ("shopkeeper.catalog.v1.SkuUpserted", "mug-red"),
        ("shopkeeper.catalog.v1.SkuUpserted", "mug-bare"),
    ]


async def test_what_is_unknown_stays_unknown(carry_out: CarryOut) -> None:
    bare = replace(MUG, weight_grams=None, dimensions=None, attributes={}, product_active=True)
    await carry_out.together([UpsertProducts((MUGS,)), UpsertSkus((bare,))])
    assert await stored_sku(carry_out, "mug-red") == bare
    [(payload,)] = await carry_out.fetch("SELECT payload FROM events WHERE key = 'mug-red'")
    told = catalog_events_pb2.SkuUpserted.FromString(payload).sku
    assert not told.HasField("weight_grams")
    assert not told.HasField("dimensions")


async def test_a_sku_that_moves_tells_which_product_it_left_and_only_then(carry_out: CarryOut) -> None:
    await carry_out(UpsertProducts((MUGS, replace(MUGS, product_id="cups"))))
    await carry_out(UpsertSkus((MUG,)))
    moved = replace(MUG, product_id="cups")
    await carry_out(UpsertSkus((moved,)))
    await carry_out(UpsertSkus((replace(moved, title="Red cup"),)))
    rows = await carry_out.fetch("SELECT payload FROM events WHERE key = 'mug-red' ORDER BY position")
    told = [catalog_events_pb2.SkuUpserted.FromString(payload) for (payload,) in rows]
    assert [(each.previous_product_id, each.sku.product_id) for each in told] == [
        ("", "mugs"),
        ("mugs", "cups"),
        ("", "cups"),
    ]


async def test_saying_again_what_is_so_changes_and_tells_nothing(carry_out: CarryOut) -> None:
    await carry_out.together([UpsertProducts((MUGS,)), UpsertSkus((MUG,))])
    assert states(await carry_out(UpsertProducts((MUGS,)))) == [RowState.UNCHANGED]
    assert states(await carry_out(UpsertSkus((MUG,)))) == [RowState.UNCHANGED]
    assert len(await events(carry_out)) == 2
    assert await carry_out.fetch("SELECT version FROM skus UNION ALL SELECT version FROM products") == [
        (1,),
        (1,),
    ]


async def test_a_row_whose_product_is_unknown_is_refused_and_its_neighbour_is_not(
    carry_out: CarryOut,
) -> None:
    await carry_out(UpsertProducts((MUGS,)))
    lost = replace(MUG, sku_id="lost", product_id="nowhere")
    refused, created = await carry_out(UpsertSkus((lost, MUG)))
    assert refused == RowOutcome(
        0, "lost", RowState.REFUSED, "PRODUCT_NOT_FOUND", "There is no product nowhere."
    )
    assert created.state is RowState.CREATED
    assert await stored_sku(carry_out, "lost") is None
    assert [key for _, key in await events(carry_out)] == ["mugs", "mug-red"]


async def test_a_row_that_was_refused_can_be_sent_again(carry_out: CarryOut) -> None:
    await carry_out(UpsertSkus((MUG,)))
    await carry_out(UpsertProducts((MUGS,)))
    assert states(await carry_out(UpsertSkus((MUG,)))) == [RowState.CREATED]


async def test_a_product_taken_off_sale_takes_its_skus_with_it_and_rewrites_none(
    carry_out: CarryOut,
) -> None:
    await carry_out.together([UpsertProducts((MUGS,)), UpsertSkus((MUG,))])
    await carry_out(UpsertProducts((replace(MUGS, active=False),)))
    sku = await stored_sku(carry_out, "mug-red")
    assert sku is not None
    assert not sku.is_on_sale
    assert await carry_out.fetch("SELECT version FROM skus") == [(1,)]
    # The product's state is no part of the SKU: it does not make the row differ.
    assert states(await carry_out(UpsertSkus((MUG,)))) == [RowState.UNCHANGED]


async def test_sale_is_paused_and_resumed(carry_out: CarryOut) -> None:
    await carry_out.together([UpsertProducts((MUGS,)), UpsertSkus((MUG,))])
    paused = await carry_out(SetSaleState("mug-red", SaleState.PAUSED))
    assert (paused.sale_state, paused.is_on_sale) == (SaleState.PAUSED, False)
    assert (await carry_out(SetSaleState("mug-red", SaleState.PAUSED))) == paused
    resumed = await carry_out(SetSaleState("mug-red", SaleState.ON_SALE))
    assert resumed.is_on_sale
    assert len(await events(carry_out)) == 4


async def test_the_sale_of_an_unknown_sku_cannot_be_paused(carry_out: CarryOut) -> None:
    with pytest.raises(SkuNotFound):
        await carry_out(SetSaleState("mug-red", SaleState.PAUSED))
    assert await carry_out.fetch("SELECT * FROM skus") == []
    assert await events(carry_out) == []


async def test_two_processes_that_create_the_same_skus_create_each_once(carry_out: CarryOut) -> None:
    await carry_out(UpsertProducts((MUGS,)))
    session = Session(carry_out.database_url, "another process")
    await session.connect()
    other = CarryOut(carry_out.database_url, session)
    for turn in range(10):
        rows = tuple(replace(MUG, sku_id=f"mug-{turn}-{n}") for n in range(20))
        first, second = await asyncio.gather(
            carry_out(UpsertSkus(rows)), other(UpsertSkus(tuple(reversed(rows))))
        )
        for here, there in zip(first, reversed(second), strict=True):
            assert {here.state, there.state} == {RowState.CREATED, RowState.UNCHANGED}
    await session.close()


async def test_500_rows_are_one_command(carry_out: CarryOut) -> None:
    rows = tuple(replace(MUG, sku_id=f"mug-{n}") for n in range(500))
    await carry_out(UpsertProducts((MUGS,)))
    before = carry_out.session.statement_count
    assert set(states(await carry_out(UpsertSkus(rows)))) == {RowState.CREATED}
    assert carry_out.session.statement_count - before <= 15


@pytest.mark.parametrize(
    "change",
    ["weight_grams = 0", "height_mm = NULL", "length_mm = -1", "sale_state = 3", "product_id = NULL"],
)
async def test_the_database_refuses_a_sku_that_cannot_be(carry_out: CarryOut, change: str) -> None:
    await carry_out.together([UpsertProducts((MUGS,)), UpsertSkus((MUG,))])
    with pytest.raises(psycopg.errors.CheckViolation):
        await carry_out.fetch(f"UPDATE skus SET {change}")
