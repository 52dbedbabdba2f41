"""PricingCommandService: requests to commands, answers to responses."""

from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp

from command_service.errors import InvalidField
from command_service.pricing.commands import (
    ApplyPriceWindow,
    ApplyPromotionWindow,
    PriceRow,
    UpsertCoupons,
    UpsertPriceLists,
    UpsertPrices,
    UpsertPromotions,
)
from command_service.pricing.coupons import normalised_code
from command_service.pricing.domain import (
    AmountOff,
    Benefit,
    BuyXGetY,
    Coupon,
    FreeShipping,
    PercentageOff,
    PriceList,
    PriceTier,
    Promotion,
)
from command_service.servicing import Door, outcome_messages, refuse_repeated
from serving.interceptor import ServicerContext
from shopkeeper.pricing.v1 import pricing_command_service_pb2 as service
from shopkeeper.pricing.v1 import pricing_command_service_pb2_grpc, pricing_pb2

# Nearer to the ends of what a datetime can hold, a time could not be read back in each time zone.
YEAR_2_SECONDS = int(datetime(2, 1, 1, tzinfo=UTC).timestamp())
YEAR_9999_SECONDS = int(datetime(9999, 1, 1, tzinfo=UTC).timestamp())


class PricingServicer(pricing_command_service_pb2_grpc.PricingCommandServiceServicer):
    """Changes prices, promotions and coupons."""

    def __init__(self, door: Door) -> None:
        self._door = door

    async def UpsertPriceLists(
        self, request: service.UpsertPriceListsRequest, context: ServicerContext
    ) -> service.UpsertPriceListsResponse:
        """Creates or replaces price lists."""
        ids = [row.price_list_id for row in request.price_lists]
        refuse_repeated(ids, "price_lists[{}].price_list_id")
        rows = enumerate(request.price_lists)
        command = UpsertPriceLists(tuple(_price_list(row, f"price_lists[{n}]") for n, row in rows))
        return await self._door.carry_out(
            request,
            context,
            command,
            lambda outcomes: service.UpsertPriceListsResponse(outcomes=outcome_messages(outcomes)),
        )

    async def UpsertPrices(
        self, request: service.UpsertPricesRequest, context: ServicerContext
    ) -> service.UpsertPricesResponse:
        """Sets the prices of SKUs in one list."""
        refuse_repeated([row.sku_id for row in request.rows], "rows[{}].sku_id")
        rows = [
            PriceRow(row.sku_id, _tiers(row, f"rows[{n}].tiers")) for n, row in enumerate(request.rows)
        ]
        return await self._door.carry_out(
            request,
            context,
            UpsertPrices(request.price_list_id, tuple(rows)),
            lambda outcomes: service.UpsertPricesResponse(outcomes=outcome_messages(outcomes)),
        )

    async def UpsertPromotions(
        self, request: service.UpsertPromotionsRequest, context: ServicerContext
    ) -> service.UpsertPromotionsResponse:
        """Creates or replaces promotions."""
        ids = [row.promotion_id for row in request.promotions]
        refuse_repeated(ids, "promotions[{}].promotion_id")
        rows = enumerate(request.promotions)
        command = UpsertPromotions(tuple(_promotion(row, f"promotions[{n}]") for n, row in rows))
        return await self._door.carry_out(
            request,
            context,
            command,
            lambda outcomes: service.UpsertPromotionsResponse(outcomes=outcome_messages(outcomes)),
        )

    async def UpsertCoupons(
        self, request: service.UpsertCouponsRequest, context: ServicerContext
    ) -> service.UpsertCouponsResponse:
        """Creates or replaces coupons."""
        codes = [normalised_code(row.coupon_code) for row in request.coupons]
        refuse_repeated(codes, "coupons[{}].coupon_code")
        return await self._door.carry_out(
            request,
            context,
            UpsertCoupons(tuple(_coupon(row) for row in request.coupons)),
            lambda outcomes: service.UpsertCouponsResponse(outcomes=outcome_messages(outcomes)),
        )

    async def ApplyPriceWindow(
        self, request: service.ApplyPriceWindowRequest, context: ServicerContext
    ) -> service.ApplyPriceWindowResponse:
        """Shows a list as it is now for some of its SKUs."""
        refuse_repeated(request.sku_ids, "sku_ids[{}]")
        if request.last_chunk and not request.HasField("listed_time"):
            raise InvalidField(field="listed_time", description="is required with the last chunk")
        command = ApplyPriceWindow(
            price_list_id=request.price_list_id,
            sku_ids=tuple(request.sku_ids),
            list_version=request.list_version,
            listed_time=_moment(request.listed_time, "listed_time") if request.last_chunk else None,
        )
        return await self._door.carry_out(
            request,
            context,
            command,
            lambda changed_count: service.ApplyPriceWindowResponse(changed_count=changed_count),
        )

    async def ApplyPromotionWindow(
        self, request: service.ApplyPromotionWindowRequest, context: ServicerContext
    ) -> service.ApplyPromotionWindowResponse:
        """Tells that a promotion's window opened or closed."""
        return await self._door.carry_out(
            request,
            context,
            ApplyPromotionWindow(request.promotion_id),
            lambda in_force: service.ApplyPromotionWindowResponse(in_force=in_force),
        )


def _price_list(row: pricing_pb2.PriceList, path: str) -> PriceList:
    start_time, end_time = _window(row, path)
    return PriceList(
        price_list_id=row.price_list_id,
        title=row.title,
        currency_code=row.currency_code,
        customer_group=row.customer_group,
        priority=row.priority,
        tax_inclusive=row.tax_inclusive,
        start_time=start_time,
        end_time=end_time,
        named_only=row.named_only,
    )


def _tiers(row: service.PriceRow, path: str) -> tuple[PriceTier, ...]:
    quantities = [tier.min_quantity for tier in row.tiers]
    if quantities and quantities[0] != 1:
        raise InvalidField(field=path, description="the first tier must hold from quantity 1 on")
    if quantities != sorted(set(quantities)):
        raise InvalidField(field=path, description="must stand by rising quantity, each once")
    return tuple(PriceTier(tier.min_quantity, tier.unit_price_minor) for tier in row.tiers)


def _promotion(row: pricing_pb2.Promotion, path: str) -> Promotion:
    start_time, end_time = _window(row, path)
    minimum = row.minimum_subtotal if row.HasField("minimum_subtotal") else None
    if minimum is not None and minimum.amount_minor < 0:
        raise InvalidField(field=f"{path}.minimum_subtotal", description="must not be negative")
    return Promotion(
        promotion_id=row.promotion_id,
        title=row.title,
        benefit=_benefit(row, path),
        sku_ids=frozenset(row.sku_ids),
        minimum_subtotal_minor=None if minimum is None else minimum.amount_minor,
        minimum_subtotal_currency_code=None if minimum is None else minimum.currency_code,
        priority=row.priority,
        coupon_required=row.coupon_required,
        start_time=start_time,
        end_time=end_time,
        active=row.active,
        exclusive=row.exclusive,
    )


def _benefit(row: pricing_pb2.Promotion, path: str) -> Benefit:
    match row.WhichOneof("benefit"):
        case "percentage_off":
            return PercentageOff(row.percentage_off.basis_points)
        case "buy_x_get_y":
            return BuyXGetY(row.buy_x_get_y.buy_quantity, row.buy_x_get_y.get_quantity)
        case "amount_off":
            amount = row.amount_off.amount
            if amount.amount_minor <= 0:
                raise InvalidField(field=f"{path}.amount_off.amount", description="must be above 0")
            return AmountOff(amount.currency_code, amount.amount_minor)
        case _:
            return FreeShipping()


def _coupon(row: pricing_pb2.Coupon) -> Coupon:
    return Coupon(
        coupon_code=normalised_code(row.coupon_code),
        promotion_id=row.promotion_id,
        usage_limit=row.usage_limit if row.HasField("usage_limit") else None,
        usage_limit_per_customer=(
            row.usage_limit_per_customer if row.HasField("usage_limit_per_customer") else None
        ),
        active=row.active,
        # Output only: what is counted stays counted.
        used_count=0,
    )


def _window(
    row: pricing_pb2.PriceList | pricing_pb2.Promotion, path: str
) -> tuple[datetime | None, datetime | None]:
    start_time = _moment(row.start_time, f"{path}.start_time") if row.HasField("start_time") else None
    end_time = _moment(row.end_time, f"{path}.end_time") if row.HasField("end_time") else None
    if start_time is not None and end_time is not None and end_time <= start_time:
        raise InvalidField(field=f"{path}.end_time", description="must be after start_time")
    return start_time, end_time


def _moment(message: Timestamp, path: str) -> datetime:
    if not YEAR_2_SECONDS <= message.seconds < YEAR_9999_SECONDS:
        raise InvalidField(field=path, description="must be a time between the years 2 and 9998")
    return message.ToDatetime(tzinfo=UTC)
