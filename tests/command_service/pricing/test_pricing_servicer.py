"""What the pricing servicer makes of requests, and which it refuses before anything is done."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from command_service.errors import InvalidField
from command_service.pricing.commands import (
    ApplyPriceWindow,
    PriceRow,
    UpsertCoupons,
    UpsertPriceLists,
    UpsertPrices,
    UpsertPromotions,
)
from command_service.pricing.domain import AmountOff, BuyXGetY, FreeShipping, PercentageOff
from command_service.pricing.servicer import PricingServicer
from command_service.servicing import Door
from serving.interceptor import ServicerContext
from shopkeeper.pricing.v1 import pricing_command_service_pb2 as service
from shopkeeper.pricing.v1 import pricing_pb2 as pb
from shopkeeper.types.v1 import money_pb2
from tests.command_service.pricing.shop import tiers

NO_CONTEXT = cast("ServicerContext", None)


class RecordingDoor:
    """Stands for the door: keeps the command, answers nothing."""

    def __init__(self) -> None:
        self.command: Any = None

    async def carry_out(
        self, request: Message, context: object, command: object, respond: Callable[[Any], Message]
    ) -> None:
        self.command = command


@pytest.fixture
def door() -> RecordingDoor:
    return RecordingDoor()


@pytest.fixture
def servicer(door: RecordingDoor) -> PricingServicer:
    return PricingServicer(cast("Door", door))


def tier(min_quantity: int, unit_price_minor: int = 100) -> pb.PriceTier:
    return pb.PriceTier(min_quantity=min_quantity, unit_price_minor=unit_price_minor)


def moment(seconds: int) -> Timestamp:
    return Timestamp(seconds=seconds)


async def test_a_price_list_is_read_with_its_window(
    servicer: PricingServicer, door: RecordingDoor
) -> None:
    rows = [
        pb.PriceList(
            price_list_id="sale", currency_code="GBP", start_time=moment(0), end_time=moment(1)
        ),
        pb.PriceList(price_list_id="retail", currency_code="GBP"),
    ]
    await servicer.UpsertPriceLists(service.UpsertPriceListsRequest(price_lists=rows), NO_CONTEXT)
    assert isinstance(door.command, UpsertPriceLists)
    sale, retail = door.command.price_lists
    assert (sale.start_time, sale.end_time) == (
        datetime(1970, 1, 1, tzinfo=UTC),
        datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC),
    )
    assert (retail.start_time, retail.end_time) == (None, None)


@pytest.mark.parametrize(
    ("start_seconds", "end_seconds", "field"),
    [
        (1, 1, "price_lists[0].end_time"),
        (2, 1, "price_lists[0].end_time"),
        (-(10**15), 1, "price_lists[0].start_time"),
        (1, 10**15, "price_lists[0].end_time"),
        (-62135596800, 1, "price_lists[0].start_time"),
        (1, 253402300799, "price_lists[0].end_time"),
    ],
)
async def test_a_window_that_cannot_be_is_refused(
    servicer: PricingServicer, door: RecordingDoor, start_seconds: int, end_seconds: int, field: str
) -> None:
    row = pb.PriceList(
        price_list_id="sale",
        currency_code="GBP",
        start_time=moment(start_seconds),
        end_time=moment(end_seconds),
    )
    with pytest.raises(InvalidField) as refused:
        await servicer.UpsertPriceLists(service.UpsertPriceListsRequest(price_lists=[row]), NO_CONTEXT)
    assert list(refused.value.description_by_field) == [field]
    assert door.command is None


async def test_prices_are_read_with_their_tiers(servicer: PricingServicer, door: RecordingDoor) -> None:
    rows = [
        service.PriceRow(sku_id="mug", tiers=[tier(1, 255), tier(10, 200)]),
        service.PriceRow(sku_id="cup"),
    ]
    request = service.UpsertPricesRequest(price_list_id="retail", rows=rows)
    await servicer.UpsertPrices(request, NO_CONTEXT)
    assert door.command == UpsertPrices(
        "retail", (PriceRow("mug", tiers((1, 255), (10, 200))), PriceRow("cup", ()))
    )


@pytest.mark.parametrize("quantities", [[2], [1, 1], [1, 5, 3], [3, 1]])
async def test_tiers_that_do_not_rise_from_one_are_refused_by_row(
    servicer: PricingServicer, door: RecordingDoor, quantities: list[int]
) -> None:
    rows = [
        service.PriceRow(sku_id="mug", tiers=[tier(1)]),
        service.PriceRow(sku_id="cup", tiers=[tier(quantity) for quantity in quantities]),
    ]
    with pytest.raises(InvalidField) as refused:
        await servicer.UpsertPrices(service.UpsertPricesRequest(rows=rows), NO_CONTEXT)
    assert list(refused.value.description_by_field) == ["rows[1].tiers"]
    assert door.command is None


@pytest.mark.parametrize(
    ("field", "value", "benefit"),
    [
        ("percentage_off", pb.PercentageOff(basis_points=1250), PercentageOff(1250)),
        (
            "amount_off",
            pb.AmountOff(amount=money_pb2.Money(currency_code="JPY", amount_minor=5)),
            AmountOff("JPY", 5),
        ),
        ("buy_x_get_y", pb.BuyXGetY(buy_quantity=2, get_quantity=1), BuyXGetY(2, 1)),
        ("free_shipping", pb.FreeShipping(), FreeShipping()),
    ],
)
async def test_a_promotion_is_read_with_its_benefit(
    servicer: PricingServicer, door: RecordingDoor, field: str, value: Message, benefit: object
) -> None:
    row = pb.Promotion(promotion_id="p", title="P", **cast("dict[str, Any]", {field: value}))
    await servicer.UpsertPromotions(service.UpsertPromotionsRequest(promotions=[row]), NO_CONTEXT)
    assert isinstance(door.command, UpsertPromotions)
    [read] = door.command.promotions
    assert (read.benefit, read.minimum_subtotal) == (benefit, None)


@pytest.mark.parametrize("amount_minor", [0, -1])
async def test_an_amount_that_takes_nothing_off_is_refused(
    servicer: PricingServicer, amount_minor: int
) -> None:
    amount = money_pb2.Money(currency_code="GBP", amount_minor=amount_minor)
    row = pb.Promotion(promotion_id="p", amount_off=pb.AmountOff(amount=amount))
    with pytest.raises(InvalidField) as refused:
        await servicer.UpsertPromotions(service.UpsertPromotionsRequest(promotions=[row]), NO_CONTEXT)
    assert list(refused.value.description_by_field) == ["promotions[0].amount_off.amount"]


async def test_a_coupon_is_read_in_capitals_and_its_count_is_not(
    servicer: PricingServicer, door: RecordingDoor
) -> None:
    rows = [
        pb.Coupon(coupon_code="xmas", promotion_id="ten", usage_limit=0, used_count=7),
        pb.Coupon(coupon_code="free", promotion_id="ten"),
    ]
    await servicer.UpsertCoupons(service.UpsertCouponsRequest(coupons=rows), NO_CONTEXT)
    assert isinstance(door.command, UpsertCoupons)
    xmas, free = door.command.coupons
    assert (xmas.coupon_code, xmas.usage_limit, xmas.used_count) == ("XMAS", 0, 0)
    assert (free.usage_limit, free.usage_limit_per_customer) == (None, None)


async def test_the_last_chunk_says_when_its_skus_were_listed(
    servicer: PricingServicer, door: RecordingDoor
) -> None:
    chunk = service.ApplyPriceWindowRequest(price_list_id="sale", sku_ids=["mug"], list_version=3)
    await servicer.ApplyPriceWindow(chunk, NO_CONTEXT)
    assert door.command == ApplyPriceWindow("sale", ("mug",), 3, None)
    chunk.last_chunk = True
    with pytest.raises(InvalidField) as refused:
        await servicer.ApplyPriceWindow(chunk, NO_CONTEXT)
    assert list(refused.value.description_by_field) == ["listed_time"]
    chunk.listed_time.FromSeconds(60)
    await servicer.ApplyPriceWindow(chunk, NO_CONTEXT)
    assert door.command == ApplyPriceWindow("sale", ("mug",), 3, datetime(1970, 1, 1, 0, 1, tzinfo=UTC))


TWICE_A = [pb.Coupon(coupon_code="a"), pb.Coupon(coupon_code="A")]


@pytest.mark.parametrize(
    ("method", "request_message", "field"),
    [
        (
            "UpsertPriceLists",
            service.UpsertPriceListsRequest(price_lists=[pb.PriceList(price_list_id="a")] * 2),
            "price_lists[1].price_list_id",
        ),
        (
            "UpsertPrices",
            service.UpsertPricesRequest(rows=[service.PriceRow(sku_id="a")] * 2),
            "rows[1].sku_id",
        ),
        (
            "UpsertPromotions",
            service.UpsertPromotionsRequest(promotions=[pb.Promotion(promotion_id="a")] * 2),
            "promotions[1].promotion_id",
        ),
        (
            "UpsertCoupons",
            service.UpsertCouponsRequest(coupons=TWICE_A),
            "coupons[1].coupon_code",
        ),
        (
            "ApplyPriceWindow",
            service.ApplyPriceWindowRequest(sku_ids=["a", "a"]),
            "sku_ids[1]",
        ),
    ],
)
async def test_an_id_that_appears_twice_is_refused_by_its_place(
    servicer: PricingServicer, door: RecordingDoor, method: str, request_message: Message, field: str
) -> None:
    with pytest.raises(InvalidField) as refused:
        await getattr(servicer, method)(request_message, NO_CONTEXT)
    assert list(refused.value.description_by_field) == [field]
    assert door.command is None
