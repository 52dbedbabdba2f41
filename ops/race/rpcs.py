"""The RPCs that the race calls; those of the demo, and what the demo has no use for."""

from ops.demo.rpcs import (
    ADD_CART_LINE,
    ADJUST_STOCK,
    CREATE_CART,
    EXPLAIN_STOCK,
    PLACE_ORDER,
    RECEIVE_STOCK,
    REMOVE_CART_LINE,
    UPSERT_LOCATIONS,
    UPSERT_PRICE_LISTS,
    UPSERT_PRICES,
    UPSERT_PRODUCTS,
    UPSERT_SKUS,
    rpc,
)
from shopkeeper.ordering.v1 import ordering_command_service_pb2 as ordering_command
from shopkeeper.pricing.v1 import pricing_query_service_pb2 as pricing_query

__all__ = [
    "ADD_CART_LINE",
    "ADJUST_STOCK",
    "CANCEL_ORDER",
    "CREATE_CART",
    "EXPLAIN_STOCK",
    "GET_PRICES",
    "PLACE_ORDER",
    "RECEIVE_STOCK",
    "REMOVE_CART_LINE",
    "UPSERT_LOCATIONS",
    "UPSERT_PRICES",
    "UPSERT_PRICE_LISTS",
    "UPSERT_PRODUCTS",
    "UPSERT_SKUS",
]

CANCEL_ORDER = rpc(
    ordering_command,
    "CancelOrder",
    ordering_command.CancelOrderRequest,
    ordering_command.CancelOrderResponse,
)
GET_PRICES = rpc(
    pricing_query, "GetPrices", pricing_query.GetPricesRequest, pricing_query.GetPricesResponse
)
