"""Products with their SKUs, and SKUs, as they are shown."""

from google.protobuf.message import Message

from projections.retelling import Retelling, ViewMissing
from read_models.partitions import DocumentAddress
from read_models.views import PRODUCT, SKU
from shopkeeper.catalog.v1.catalog_events_pb2 import ProductUpserted, SkuUpserted
from shopkeeper.catalog.v1.catalog_pb2 import Sku
from shopkeeper.catalog.v1.catalog_query_service_pb2 import ProductView

NOT_SHOWN: dict[str, str] = {}


def product_after_upsert(view: ProductView | None, event: ProductUpserted) -> ProductView:
    """The product as it now is, with the SKUs that it had."""
    return ProductView(product=event.product, skus=view.skus if view is not None else ())


def product_after_sku(view: ProductView | None, event: SkuUpserted) -> ProductView:
    """The product with one of its SKUs as it now is."""
    product = view.product if view is not None else None
    others = view.skus if view is not None else ()
    skus = [sku for sku in others if sku.sku_id != event.sku.sku_id]
    skus.append(event.sku)
    skus.sort(key=lambda sku: sku.sku_id)
    return ProductView(product=product, skus=skus)


def product_without_sku(view: ProductView | None, event: SkuUpserted) -> ProductView:
    """The product that one of its SKUs has left for another.

    Raises:
        ViewMissing: there is no such product.
    """
    if view is None:
        raise ViewMissing(f"product {event.previous_product_id}")
    others = [sku for sku in view.skus if sku.sku_id != event.sku.sku_id]
    return ProductView(product=view.product, skus=others)


def sku_after_upsert(_view: Sku | None, event: SkuUpserted) -> Sku:
    """The SKU as it now is."""
    return event.sku


def _of_product(event: ProductUpserted) -> DocumentAddress:
    return PRODUCT.address(event.product.product_id)


def _of_sku(event: SkuUpserted) -> DocumentAddress:
    return SKU.address(event.sku.sku_id)


def _of_product_of_sku(event: SkuUpserted) -> DocumentAddress:
    return PRODUCT.address(event.sku.product_id)


def _of_product_left(event: SkuUpserted) -> DocumentAddress | None:
    return PRODUCT.address(event.previous_product_id) if event.previous_product_id else None


RETELLINGS: dict[type[Message], tuple[Retelling, ...]] = {
    ProductUpserted: (Retelling(ProductView, _of_product, product_after_upsert),),
    SkuUpserted: (
        Retelling(Sku, _of_sku, sku_after_upsert),
        Retelling(ProductView, _of_product_of_sku, product_after_sku),
        Retelling(ProductView, _of_product_left, product_without_sku),
    ),
}
