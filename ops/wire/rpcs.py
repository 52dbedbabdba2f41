"""The RPCs that demo and race call: path and types of each.

The generated stubs parse answers; the demo compares the bytes of answers that must be identical.
"""

from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from google.protobuf.message import Message

from shopkeeper.cart.v1 import cart_command_service_pb2 as cart_command
from shopkeeper.cart.v1 import cart_query_service_pb2 as cart_query
from shopkeeper.catalog.v1 import catalog_command_service_pb2 as catalog_command
from shopkeeper.catalog.v1 import catalog_query_service_pb2 as catalog_query
from shopkeeper.inventory.v1 import inventory_command_service_pb2 as inventory_command
from shopkeeper.inventory.v1 import inventory_history_service_pb2 as inventory_history
from shopkeeper.inventory.v1 import inventory_query_service_pb2 as inventory_query
from shopkeeper.log.v1 import log_service_pb2 as log_service
from shopkeeper.ordering.v1 import ordering_command_service_pb2 as ordering_command
from shopkeeper.ordering.v1 import ordering_query_service_pb2 as ordering_query
from shopkeeper.payment.v1 import payment_command_service_pb2 as payment_command
from shopkeeper.pricing.v1 import pricing_command_service_pb2 as pricing_command
from shopkeeper.pricing.v1 import pricing_query_service_pb2 as pricing_query


class Request(Protocol):
    """What every request can do."""

    def SerializeToString(self) -> bytes:  # noqa: N802 protobuf's name
        """The request as it goes over the wire."""
        ...


class CommandRequest(Request, Protocol):
    """What every request of a command has, beside its own fields."""

    request_id: str


RequestT = TypeVar("RequestT", bound=Request)
CommandRequestT = TypeVar("CommandRequestT", bound=CommandRequest)
ResponseT = TypeVar("ResponseT", bound=Message)


@dataclass(frozen=True, slots=True)
class Rpc(Generic[RequestT, ResponseT]):
    """One RPC: `path` is what goes over the wire, the types let mypy check who calls it."""

    path: str
    request_type: type[RequestT]
    response_type: type[ResponseT]


def rpc(
    services: Any, name: str, request_type: type[RequestT], response_type: type[ResponseT]
) -> Rpc[RequestT, ResponseT]:
    """The RPC of that name of the one service that a generated module declares."""
    (service,) = services.DESCRIPTOR.services_by_name.values()
    method = service.methods_by_name[name]
    return Rpc(f"/{service.full_name}/{method.name}", request_type, response_type)


UPSERT_PRODUCTS = rpc(
    catalog_command,
    "UpsertProducts",
    catalog_command.UpsertProductsRequest,
    catalog_command.UpsertProductsResponse,
)
UPSERT_SKUS = rpc(
    catalog_command,
    "UpsertSkus",
    catalog_command.UpsertSkusRequest,
    catalog_command.UpsertSkusResponse,
)
UPSERT_PRICE_LISTS = rpc(
    pricing_command,
    "UpsertPriceLists",
    pricing_command.UpsertPriceListsRequest,
    pricing_command.UpsertPriceListsResponse,
)
UPSERT_PRICES = rpc(
    pricing_command,
    "UpsertPrices",
    pricing_command.UpsertPricesRequest,
    pricing_command.UpsertPricesResponse,
)
UPSERT_LOCATIONS = rpc(
    inventory_command,
    "UpsertLocations",
    inventory_command.UpsertLocationsRequest,
    inventory_command.UpsertLocationsResponse,
)
RECEIVE_STOCK = rpc(
    inventory_command,
    "ReceiveStock",
    inventory_command.ReceiveStockRequest,
    inventory_command.ReceiveStockResponse,
)
ADJUST_STOCK = rpc(
    inventory_command,
    "AdjustStock",
    inventory_command.AdjustStockRequest,
    inventory_command.AdjustStockResponse,
)
REPAIR_STOCK = rpc(
    inventory_command,
    "RepairStock",
    inventory_command.RepairStockRequest,
    inventory_command.RepairStockResponse,
)
CREATE_CART = rpc(
    cart_command, "CreateCart", cart_command.CreateCartRequest, cart_command.CreateCartResponse
)
ADD_CART_LINE = rpc(
    cart_command, "AddCartLine", cart_command.AddCartLineRequest, cart_command.AddCartLineResponse
)
REMOVE_CART_LINE = rpc(
    cart_command,
    "RemoveCartLine",
    cart_command.RemoveCartLineRequest,
    cart_command.RemoveCartLineResponse,
)
PLACE_ORDER = rpc(
    ordering_command,
    "PlaceOrder",
    ordering_command.PlaceOrderRequest,
    ordering_command.PlaceOrderResponse,
)
CANCEL_ORDER = rpc(
    ordering_command,
    "CancelOrder",
    ordering_command.CancelOrderRequest,
    ordering_command.CancelOrderResponse,
)
START_PAYMENT = rpc(
    payment_command,
    "StartPayment",
    payment_command.StartPaymentRequest,
    payment_command.StartPaymentResponse,
)
REFUND_PAYMENT = rpc(
    payment_command,
    "RefundPayment",
    payment_command.RefundPaymentRequest,
    payment_command.RefundPaymentResponse,
)
FULFILL_ORDER_LINES = rpc(
    ordering_command,
    "FulfillOrderLines",
    ordering_command.FulfillOrderLinesRequest,
    ordering_command.FulfillOrderLinesResponse,
)
RETURN_ORDER_LINES = rpc(
    ordering_command,
    "ReturnOrderLines",
    ordering_command.ReturnOrderLinesRequest,
    ordering_command.ReturnOrderLinesResponse,
)

AS_THINGS_ARE = frozenset({START_PAYMENT.path, REFUND_PAYMENT.path})
"""Commands whose repetition answers how far their provider has come since, and so not the same bytes."""

GET_SKU = rpc(catalog_query, "GetSku", catalog_query.GetSkuRequest, catalog_query.GetSkuResponse)
GET_CART = rpc(cart_query, "GetCart", cart_query.GetCartRequest, cart_query.GetCartResponse)
GET_ORDER = rpc(
    ordering_query, "GetOrder", ordering_query.GetOrderRequest, ordering_query.GetOrderResponse
)
LIST_ORDERS_BY_STATE = rpc(
    ordering_query,
    "ListOrdersByState",
    ordering_query.ListOrdersByStateRequest,
    ordering_query.ListOrdersByStateResponse,
)
GET_STOCK = rpc(
    inventory_query, "GetStock", inventory_query.GetStockRequest, inventory_query.GetStockResponse
)
BATCH_GET_STOCK = rpc(
    inventory_query,
    "BatchGetStock",
    inventory_query.BatchGetStockRequest,
    inventory_query.BatchGetStockResponse,
)
GET_PRICES = rpc(
    pricing_query, "GetPrices", pricing_query.GetPricesRequest, pricing_query.GetPricesResponse
)

EXPLAIN_STOCK = rpc(
    inventory_history,
    "ExplainStock",
    inventory_history.ExplainStockRequest,
    inventory_history.ExplainStockResponse,
)
READ_EVENTS = rpc(
    log_service, "ReadEvents", log_service.ReadEventsRequest, log_service.ReadEventsResponse
)
