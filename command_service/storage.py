"""Which repository keeps which kind, and which ledgers are written: the wiring of the write side."""

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from command_service.cart.repository import CARTS, CartRepository
from command_service.catalog.repository import PRODUCTS, SKUS, ProductRepository, SkuRepository
from command_service.checkout.money_ledger import MoneyLedger
from command_service.inventory.ledger import StockDriftRepository, StockLedger
from command_service.inventory.repository import (
    LOCATIONS,
    RESERVATIONS,
    STOCK_ITEMS,
    LocationRepository,
    ReservationRepository,
    StockRepository,
)
from command_service.ordering.repository import MONEY_RECORDS, MoneyRecordRepository, OrderRepository
from command_service.payment.repository import OrderPaymentsRepository
from command_service.postgresql import Ledger, Storage
from command_service.pricing.repository import (
    CouponCustomerRepository,
    CouponRepository,
    PriceBookRepository,
    PriceListRepository,
    PromotionRepository,
    SkuPricesRepository,
)
from command_service.pricing.tables import COUPONS, PRICE_LISTS, PROMOTIONS, SKU_PRICE_ROOTS
from command_service.repository import Repository
from command_service.world import LockRank
from serving.status import encode_failure

# The kinds whose absence can be locked. The others are created under the lock of another kind, or under
# an id made up by us that nobody else can name.
KEY_TABLES: Mapping[LockRank, sa.Table] = {
    LockRank.CART: CARTS,
    LockRank.RESERVATION: RESERVATIONS,
    LockRank.MONEY_RECORD: MONEY_RECORDS,
    LockRank.COUPON: COUPONS,
    LockRank.LOCATION: LOCATIONS,
    LockRank.STOCK: STOCK_ITEMS,
    LockRank.PRODUCT: PRODUCTS,
    LockRank.SKU: SKUS,
    LockRank.PRICE_LIST: PRICE_LISTS,
    LockRank.PROMOTION: PROMOTIONS,
    LockRank.SKU_PRICES: SKU_PRICE_ROOTS,
}


def storage() -> Storage:
    """Everything that a transaction writes to."""
    repositories: list[Repository[Any, Any]] = [
        CartRepository(),
        OrderRepository(),
        OrderPaymentsRepository(),
        ReservationRepository(),
        MoneyRecordRepository(),
        CouponRepository(),
        CouponCustomerRepository(),
        LocationRepository(),
        StockRepository(),
        StockDriftRepository(),
        ProductRepository(),
        SkuRepository(),
        PriceListRepository(),
        PromotionRepository(),
        SkuPricesRepository(),
        PriceBookRepository(),
    ]
    ledgers: list[Ledger] = [StockLedger(), MoneyLedger()]
    return Storage({r.kind.rank: r for r in repositories}, ledgers, encode_failure, KEY_TABLES)
