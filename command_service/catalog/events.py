"""What happened to products and SKUs."""

from dataclasses import dataclass
from typing import ClassVar

from command_service.catalog.domain import Product, Sku
from event_log.events import Event


@dataclass(frozen=True, slots=True)
class ProductUpserted(Event):
    """A product was created or replaced."""

    context: ClassVar[str] = "catalog"
    product: Product

    @property
    def key(self) -> str:
        """The product."""
        return self.product.product_id


@dataclass(frozen=True, slots=True)
class SkuUpserted(Event):
    """A SKU was created or replaced, moved to another product, or its sale paused or resumed.

    previous_product_id: empty unless it was moved: the views of both products change.
    """

    context: ClassVar[str] = "catalog"
    sku: Sku
    previous_product_id: str = ""

    @property
    def key(self) -> str:
        """The SKU."""
        return self.sku.sku_id
