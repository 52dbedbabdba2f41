"""Which repository keeps which kind, and which ledgers are written: the wiring of the write side."""

from typing import Any

from command_service.cart.repository import CartRepository
from command_service.catalog.repository import ProductRepository, SkuRepository
from command_service.inventory.ledger import StockDriftRepository, StockLedger
from command_service.inventory.repository import (
    LocationRepository,
    ReservationRepository,
    StockRepository,
)
from command_service.ordering.repository import OrderRepository, PaymentRepository
from command_service.pricing.repository import (
    CouponCustomerRepository,
    CouponRepository,
    PriceBookRepository,
    PriceListRepository,
    PromotionRepository,
    SkuPricesRepository,
)
from command_service.repository import Repository
from command_service.transaction import Storage
from serving.status import encode_failure


def storage() -> Storage:
    """Everything that a transaction writes to."""
    repositories: list[Repository[Any, Any]] = [
        CartRepository(),
        OrderRepository(),
        ReservationRepository(),
        PaymentRepository(),
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
    return Storage({r.kind.rank: r for r in repositories}, [StockLedger()], encode_failure)
