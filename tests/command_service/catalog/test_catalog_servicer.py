"""What the catalog servicer makes of requests, and which it refuses before anything is done."""

from collections.abc import Callable
from typing import Any, cast

import pytest
from google.protobuf.message import Message

from command_service.catalog.commands import SetSaleState, UpsertProducts, UpsertSkus
from command_service.catalog.domain import Dimensions, Product, SaleState
from command_service.catalog.servicer import CatalogServicer
from command_service.errors import InvalidField
from command_service.row_outcome import RowOutcome, RowState
from command_service.servicing import Door
from serving.interceptor import ServicerContext
from shopkeeper.catalog.v1 import catalog_command_service_pb2 as service
from shopkeeper.catalog.v1 import catalog_pb2 as pb

NO_CONTEXT = cast("ServicerContext", None)


class RecordingDoor:
    """Stands for the door: keeps the command, gives the answer that it was told to."""

    def __init__(self) -> None:
        self.command: Any = None
        self.answer: Any = ()

    async def carry_out(
        self, request: Message, context: object, command: object, respond: Callable[[Any], Message]
    ) -> Message:
        self.command = command
        return respond(self.answer)


@pytest.fixture
def door() -> RecordingDoor:
    return RecordingDoor()


@pytest.fixture
def servicer(door: RecordingDoor) -> CatalogServicer:
    return CatalogServicer(cast("Door", door))


async def test_products_are_read_and_their_outcomes_told(
    servicer: CatalogServicer, door: RecordingDoor
) -> None:
    door.answer = (RowOutcome(0, "mugs", RowState.REFUSED, "WHY", "Because."),)
    row = pb.Product(product_id="mugs", title="Mugs", attributes={"material": "tin"}, active=True)
    response = await servicer.UpsertProducts(service.UpsertProductsRequest(products=[row]), NO_CONTEXT)
    assert door.command == UpsertProducts((Product("mugs", "Mugs", {"material": "tin"}, active=True),))
    [outcome] = response.outcomes
    assert (outcome.index, outcome.key, outcome.state) == (0, "mugs", 4)
    assert (outcome.reason, outcome.message) == ("WHY", "Because.")


async def test_what_a_sku_does_not_say_is_unknown(
    servicer: CatalogServicer, door: RecordingDoor
) -> None:
    size = pb.Dimensions(length_mm=3, width_mm=2, height_mm=1)
    rows = [
        pb.Sku(sku_id="whole", sale_state=pb.SALE_STATE_PAUSED, weight_grams=9, dimensions=size),
        pb.Sku(sku_id="bare", sale_state=pb.SALE_STATE_ON_SALE),
    ]
    await servicer.UpsertSkus(service.UpsertSkusRequest(skus=rows), NO_CONTEXT)
    assert isinstance(door.command, UpsertSkus)
    whole, bare = door.command.skus
    assert (whole.weight_grams, whole.dimensions) == (9, Dimensions(3, 2, 1))
    assert (bare.weight_grams, bare.dimensions) == (None, None)
    assert (whole.sale_state, bare.sale_state) == (SaleState.PAUSED, SaleState.ON_SALE)


async def test_the_sku_is_told_after_its_sale_was_paused(
    servicer: CatalogServicer, door: RecordingDoor
) -> None:
    await servicer.UpsertSkus(
        service.UpsertSkusRequest(skus=[pb.Sku(sku_id="mug", sale_state=pb.SALE_STATE_PAUSED)]),
        NO_CONTEXT,
    )
    [door.answer] = door.command.skus
    request = service.SetSaleStateRequest(sku_id="mug", sale_state=pb.SALE_STATE_PAUSED)
    response = await servicer.SetSaleState(request, NO_CONTEXT)
    assert door.command == SetSaleState("mug", SaleState.PAUSED)
    assert response.sku == pb.Sku(sku_id="mug", sale_state=pb.SALE_STATE_PAUSED)


async def test_an_id_that_appears_twice_is_refused_by_its_place(
    servicer: CatalogServicer, door: RecordingDoor
) -> None:
    products = service.UpsertProductsRequest(products=[pb.Product(product_id="a")] * 2)
    with pytest.raises(InvalidField, match=r"products\[1\].product_id: appears twice"):
        await servicer.UpsertProducts(products, NO_CONTEXT)
    skus = service.UpsertSkusRequest(skus=[pb.Sku(sku_id="a", sale_state=pb.SALE_STATE_PAUSED)] * 2)
    with pytest.raises(InvalidField, match=r"skus\[1\].sku_id: appears twice"):
        await servicer.UpsertSkus(skus, NO_CONTEXT)
    assert door.command is None
