"""A shop in PostgreSQL that sells a hundred things."""

from command_service.catalog.commands import UpsertProducts, UpsertSkus
from command_service.catalog.domain import Product, SaleState, Sku
from command_service.pricing.commands import (
    PriceRow,
    UpsertCoupons,
    UpsertPriceLists,
    UpsertPrices,
    UpsertPromotions,
)
from command_service.pricing.domain import Coupon, PercentageOff, PriceTier
from tests.command_service.conftest import CarryOut
from tests.command_service.pricing.shop import price_list, promotion

SKU_COUNT = 100

TENTH = promotion("tenth", PercentageOff(1_000), title="a tenth off", coupon_required=True)


def sku(number: int) -> Sku:
    return Sku(
        sku_id=f"sku{number}",
        product_id="things",
        title=f"thing {number}",
        attributes={},
        weight_grams=None,
        dimensions=None,
        active=True,
        sale_state=SaleState.ON_SALE,
        product_active=True,
    )


async def open_shop(carry_out: CarryOut) -> None:
    """sku0 to sku99 at 1.00, 1.01, ...; TENTH and ONCE (one use a customer) take 10 % off."""
    await carry_out(UpsertProducts((Product("things", "Things", {}, active=True),)))
    await carry_out(UpsertSkus(tuple(sku(n) for n in range(SKU_COUNT))))
    await carry_out(UpsertPriceLists((price_list("retail"),)))
    rows = tuple(PriceRow(f"sku{n}", (PriceTier(1, 100 + n),)) for n in range(SKU_COUNT))
    await carry_out(UpsertPrices("retail", rows))
    await carry_out(UpsertPromotions((TENTH,)))
    await carry_out(
        UpsertCoupons(
            (
                Coupon("TENTH", "tenth", None, None, active=True, used_count=0),
                Coupon("ONCE", "tenth", None, 1, active=True, used_count=0),
                Coupon("NEVER", "tenth", 0, None, active=True, used_count=0),
            )
        )
    )
