"""The commands of the catalog: pure. Rows are decided one by one; a refused one leaves the others be."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import ClassVar

from command_service.catalog.domain import PRODUCT, SKU, Product, SaleState, Sku
from command_service.catalog.events import ProductUpserted, SkuUpserted
from command_service.errors import ProductNotFound, SkuNotFound
from command_service.row_outcome import Outcomes, RowOutcome, RowState, refused_row, upserted
from command_service.world import Command, Decision, Touch, World


@dataclass(frozen=True, slots=True)
class UpsertProducts(Command[Outcomes]):
    """Creates or replaces products; each id appears once."""

    is_bulk: ClassVar[bool] = True
    products: tuple[Product, ...]

    @property
    def row_count(self) -> int:
        """As many as it names."""
        return len(self.products)

    def touches(self) -> Iterable[Touch]:
        """The products. Their SKUs are left alone: they read `active` from their product."""
        return (PRODUCT.create(product.product_id) for product in self.products)

    def decide(self, world: World, now: datetime) -> Decision[Outcomes]:
        """Writes and tells what differs."""
        before = [world.get(PRODUCT, product.product_id) for product in self.products]
        changed = [new for old, new in zip(before, self.products, strict=True) if new != old]
        return Decision(
            tuple(
                RowOutcome(index, new.product_id, upserted(old, new))
                for index, (old, new) in enumerate(zip(before, self.products, strict=True))
            ),
            [PRODUCT.changed(product.product_id, product) for product in changed],
            [ProductUpserted(product) for product in changed],
        )


@dataclass(frozen=True, slots=True)
class UpsertSkus(Command[Outcomes]):
    """Creates or replaces SKUs; each id appears once. Their product_active is found, not given."""

    is_bulk: ClassVar[bool] = True
    skus: tuple[Sku, ...]

    @property
    def row_count(self) -> int:
        """As many as it names."""
        return len(self.skus)

    def touches(self) -> Iterable[Touch]:
        """The SKUs, and their products, which are never removed and so need no lock."""
        for sku in self.skus:
            yield PRODUCT.read(sku.product_id)
            yield SKU.create(sku.sku_id)

    def decide(self, world: World, now: datetime) -> Decision[Outcomes]:
        """Writes and tells what differs; refuses rows whose product is unknown."""
        outcomes, changed = [], []
        for index, row in enumerate(self.skus):
            product = world.get(PRODUCT, row.product_id)
            if product is None:
                refusal = ProductNotFound(product_id=row.product_id)
                outcomes.append(refused_row(index, row.sku_id, refusal))
                continue
            old, new = world.get(SKU, row.sku_id), replace(row, product_active=product.active)
            state = upserted(old and replace(old, product_active=product.active), new)
            outcomes.append(RowOutcome(index, row.sku_id, state))
            if state is not RowState.UNCHANGED:
                changed.append(SkuUpserted(new, _moved_from(old, new)))
        return Decision(
            tuple(outcomes), [SKU.changed(each.sku.sku_id, each.sku) for each in changed], changed
        )


@dataclass(frozen=True, slots=True)
class SetSaleState(Command[Sku]):
    """Pauses or resumes the sale of a SKU."""

    sku_id: str
    sale_state: SaleState

    def touches(self) -> Iterable[Touch]:
        """The SKU."""
        return (SKU.change(self.sku_id),)

    def decide(self, world: World, now: datetime) -> Decision[Sku]:
        """Answers the SKU as it then is.

        Raises:
            SkuNotFound: there is none.
        """
        sku = world.get(SKU, self.sku_id)
        if sku is None:
            raise SkuNotFound(sku_id=self.sku_id)
        if sku.sale_state is self.sale_state:
            return Decision(sku)
        after = replace(sku, sale_state=self.sale_state)
        return Decision(after, [SKU.changed(self.sku_id, after)], [SkuUpserted(after)])


def _moved_from(old: Sku | None, new: Sku) -> str:
    """The product that the SKU leaves; empty when it leaves none."""
    return "" if old is None or old.product_id == new.product_id else old.product_id
