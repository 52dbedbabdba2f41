"""CatalogCommandService: requests to commands, products and SKUs to responses."""

from command_service.catalog.commands import SetSaleState, UpsertProducts, UpsertSkus
from command_service.catalog.domain import Dimensions, Product, SaleState, Sku
from command_service.servicing import Door, outcome_messages, refuse_repeated
from event_log.codec import to_message
from serving.interceptor import ServicerContext
from shopkeeper.catalog.v1 import catalog_command_service_pb2 as service
from shopkeeper.catalog.v1 import catalog_command_service_pb2_grpc, catalog_pb2


class CatalogServicer(catalog_command_service_pb2_grpc.CatalogCommandServiceServicer):
    """Changes products and SKUs."""

    def __init__(self, door: Door) -> None:
        self._door = door

    async def UpsertProducts(
        self, request: service.UpsertProductsRequest, context: ServicerContext
    ) -> service.UpsertProductsResponse:
        """Creates or replaces products."""
        refuse_repeated([product.product_id for product in request.products], "products[{}].product_id")
        command = UpsertProducts(tuple(_product(product) for product in request.products))
        return await self._door.carry_out(
            request,
            context,
            command,
            lambda outcomes: service.UpsertProductsResponse(outcomes=outcome_messages(outcomes)),
        )

    async def UpsertSkus(
        self, request: service.UpsertSkusRequest, context: ServicerContext
    ) -> service.UpsertSkusResponse:
        """Creates or replaces SKUs."""
        refuse_repeated([sku.sku_id for sku in request.skus], "skus[{}].sku_id")
        command = UpsertSkus(tuple(_sku(sku) for sku in request.skus))
        return await self._door.carry_out(
            request,
            context,
            command,
            lambda outcomes: service.UpsertSkusResponse(outcomes=outcome_messages(outcomes)),
        )

    async def SetSaleState(
        self, request: service.SetSaleStateRequest, context: ServicerContext
    ) -> service.SetSaleStateResponse:
        """Pauses or resumes the sale of a SKU."""
        command = SetSaleState(request.sku_id, SaleState(request.sale_state))
        return await self._door.carry_out(
            request,
            context,
            command,
            lambda sku: service.SetSaleStateResponse(sku=to_message(sku, catalog_pb2.Sku)),
        )


def _product(product: catalog_pb2.Product) -> Product:
    return Product(product.product_id, product.title, dict(product.attributes), product.active)


def _sku(sku: catalog_pb2.Sku) -> Sku:
    return Sku(
        sku_id=sku.sku_id,
        product_id=sku.product_id,
        title=sku.title,
        attributes=dict(sku.attributes),
        weight_grams=sku.weight_grams if sku.HasField("weight_grams") else None,
        dimensions=_dimensions(sku.dimensions) if sku.HasField("dimensions") else None,
        active=sku.active,
        sale_state=SaleState(sku.sale_state),
        # Found by the command: the request cannot know.
        product_active=False,
    )


def _dimensions(dimensions: catalog_pb2.Dimensions) -> Dimensions:
    return Dimensions(dimensions.length_mm, dimensions.width_mm, dimensions.height_mm)
