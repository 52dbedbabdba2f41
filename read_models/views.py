"""Which views there are: the name, the message and the owner of each."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from read_models.entries import Place
from read_models.partitions import DocumentAddress, EntryAddress, partition_of
from shopkeeper.cart.v1.cart_pb2 import Cart
from shopkeeper.catalog.v1.catalog_pb2 import Sku
from shopkeeper.catalog.v1.catalog_query_service_pb2 import ProductView
from shopkeeper.inventory.v1.inventory_pb2 import Stock
from shopkeeper.ordering.v1.ordering_pb2 import Order
from shopkeeper.payment.v1.payment_pb2 import OrderMoney, Payment
from shopkeeper.pricing.v1.pricing_pb2 import SkuPrices

MessageT = TypeVar("MessageT", bound=Message)


@dataclass(frozen=True, slots=True)
class Document(Generic[MessageT]):
    """A view by key: the serialized message."""

    name: str
    message_type: type[MessageT]

    def address(self, document_id: str) -> DocumentAddress:
        """Where the document of this id stands."""
        return DocumentAddress(partition_of(document_id), f"{self.name}:{document_id}")

    def names(self, document_ids: Iterable[str]) -> list[str]:
        """The names at which the documents of these ids stand in their partitions."""
        beginning = f"{self.name}:"
        return [beginning + document_id for document_id in document_ids]


PRODUCT = Document("product", ProductView)
SKU = Document("sku", Sku)
PRICES = Document("prices", SkuPrices)
STOCK = Document("stock", Stock)
CART = Document("cart", Cart)
ORDER = Document("order", Order)
PAYMENT = Document("payment", Payment)
ORDER_MONEY = Document("order-money", OrderMoney)

_CUSTOMER_ORDERS = "customer-orders:"
_ORDERS_BY_STATE = "orders-by-state:"


def cart_skus_address(cart_id: str) -> DocumentAddress:
    """Where the ids of a cart's SKUs stand, in the partition of the cart."""
    return DocumentAddress(partition_of(cart_id), f"cart-skus:{cart_id}")


def to_cart_skus(sku_ids: list[str]) -> bytes:
    """The ids as they are stored."""
    return "\0".join(sku_ids).encode()


def from_cart_skus(stored: bytes) -> list[str]:
    """The ids of a cart's SKUs."""
    return stored.decode().split("\0") if stored else []


def customer_orders_name(customer_id: str) -> str:
    """The index of a customer's orders, in the customer's partition."""
    return f"{_CUSTOMER_ORDERS}{customer_id}"


def orders_by_state_name(state: int) -> str:
    """A partition's part of the index of the orders in a state."""
    return f"{_ORDERS_BY_STATE}{state}"


def customer_order_address(customer_id: str, place: Place) -> EntryAddress:
    """Where an order stands among its customer's."""
    return EntryAddress(partition_of(customer_id), customer_orders_name(customer_id), place.sort_key)


def order_by_state_address(state: int, place: Place) -> EntryAddress:
    """Where an order stands among those in its state: in the partition of the order."""
    return EntryAddress(partition_of(place.id), orders_by_state_name(state), place.sort_key)


def order_place(order_id: str, placed_time: Timestamp) -> Place:
    """The place of an order in every index."""
    return Place(placed_time.ToMicroseconds(), order_id)


def is_index(name: str) -> bool:
    """True for names of sorted sets."""
    return name.startswith((_CUSTOMER_ORDERS, _ORDERS_BY_STATE))
