"""Prices in force, as they are shown."""

from google.protobuf.message import Message

from projections.retelling import Retelling
from read_models.partitions import DocumentAddress
from read_models.views import PRICES
from shopkeeper.pricing.v1.pricing_events_pb2 import SkuPricesChanged
from shopkeeper.pricing.v1.pricing_pb2 import SkuPrices

NOT_SHOWN = {
    "PriceListUpserted": "what it changes is told SKU by SKU by SkuPricesChanged",
    "PromotionUpserted": "promotions show in priced carts only",
    "CouponUpserted": "coupons are not listed to anyone: their codes are secrets",
    "CouponUseHeld": "as CouponUpserted",
    "CouponUseReturned": "as CouponUpserted",
}


def prices_after_change(_view: SkuPrices | None, event: SkuPricesChanged) -> SkuPrices:
    """All prices of the SKU: the event tells them whole."""
    return event.prices


def _of_change(event: SkuPricesChanged) -> DocumentAddress:
    return PRICES.address(event.prices.sku_id)


RETELLINGS: dict[type[Message], tuple[Retelling, ...]] = {
    SkuPricesChanged: (Retelling(SkuPrices, _of_change, prices_after_change),),
}
