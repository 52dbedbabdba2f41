"""Products and SKUs: pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from command_service.world import Kind, LockRank


class SaleState(IntEnum):
    """Whether a SKU may be bought right now; numbers as in catalog.proto."""

    ON_SALE = 1
    PAUSED = 2


@dataclass(frozen=True, slots=True)
class Product:
    """A product as people see it."""

    product_id: str
    title: str
    attributes: Mapping[str, str]
    active: bool


@dataclass(frozen=True, slots=True)
class Dimensions:
    """Outer dimensions of one packed unit in millimetres."""

    length_mm: int
    width_mm: int
    height_mm: int


@dataclass(frozen=True, slots=True)
class Sku:
    """The thing that is counted, priced and sold."""

    sku_id: str
    product_id: str
    title: str
    attributes: Mapping[str, str]
    weight_grams: int | None
    dimensions: Dimensions | None
    active: bool
    sale_state: SaleState
    product_active: bool
    """Whether its product is active, as read with it."""
    is_on_sale: bool = field(init=False, compare=False)
    """True when it may be added to carts and ordered."""

    def __post_init__(self) -> None:
        # Asked of every line of every cart that is priced.
        is_on_sale = self.active and self.product_active and self.sale_state is SaleState.ON_SALE
        object.__setattr__(self, "is_on_sale", is_on_sale)


PRODUCT: Kind[str, Product] = Kind("product", LockRank.PRODUCT)
SKU: Kind[str, Sku] = Kind("SKU", LockRank.SKU)
