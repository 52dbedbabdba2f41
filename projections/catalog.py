"""Products with their SKUs, and SKUs, as they are shown."""

from bisect import bisect_left

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
    product = view if view is not None else ProductView()
    product.product.CopyFrom(event.product)
    return product


def product_after_sku(view: ProductView | None, event: SkuUpserted) -> ProductView:
    """The product with one of its SKUs as it now is."""
    # A product may have thousands of SKUs: those that the event does not tell of stay where they are.
    product = view if view is not None else ProductView()
    place = _place_of(product, event.sku)
    if _has(product, place, event.sku):
        product.skus[place].CopyFrom(event.sku)
    else:
        product.skus.insert(place, event.sku)
    return product


def product_without_sku(view: ProductView | None, event: SkuUpserted) -> ProductView:
    """The product that one of its SKUs has left for another.

    Raises:
        ViewMissing: there is no such product.
    """
    if view is None:
        raise ViewMissing(f"product {event.previous_product_id}")
    place = _place_of(view, event.sku)
    if _has(view, place, event.sku):
        del view.skus[place]
    return view


def sku_after_upsert(_view: Sku | None, event: SkuUpserted) -> Sku:
    """The SKU as it now is."""
    return event.sku


def _place_of(product: ProductView, sku: Sku) -> int:
    """Where the SKU stands among those of the product, or is to stand: they are sorted by id."""
    return bisect_left(product.skus, sku.sku_id, key=lambda each: each.sku_id)


def _has(product: ProductView, place: int, sku: Sku) -> bool:
    return place < len(product.skus) and product.skus[place].sku_id == sku.sku_id


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
