"""Where a view differs from what it must show, told for people."""

from typing import Any

from google.protobuf.message import DecodeError, Message

from ops.verify.expectations import SOURCES, Views
from read_models.entries import TIME_DIGITS, to_entry
from read_models.partitions import Address, EntryAddress
from read_models.views import (
    CART,
    ORDER,
    ORDER_MONEY,
    PAYMENT,
    PRICES,
    PRODUCT,
    SKU,
    STOCK,
    Document,
)
from shopkeeper.ordering.v1.ordering_pb2 import OrderSummary
from shopkeeper.pricing.v1.pricing_pb2 import SkuPrices

_DOCUMENTS: tuple[Document[Any], ...] = (
    *(PRODUCT, SKU, PRICES, STOCK, CART),
    *(ORDER, PAYMENT, ORDER_MONEY),
)
_MESSAGE_BY_NAME: dict[str, type[Message]] = {each.name: each.message_type for each in _DOCUMENTS}

CART_SKUS = "cart-skus"


def view_name(address: Address) -> str:
    """Which view it is: "stock", "orders-by-state"."""
    return address.name.partition(":")[0]


def subject(address: Address) -> str:
    """What the view at an address is about: "stock:A", "orders-by-state:3 order o1"."""
    if isinstance(address, EntryAddress):
        return f"{address.name} order {_entry_id(address)}"
    return address.name


def owner(address: Address) -> tuple[str, str] | None:
    """The kind and the id of what a view is made of; None for a key that no view has."""
    name, _, identifier = address.name.partition(":")
    if isinstance(address, EntryAddress):
        return ORDER.name, _entry_id(address)
    if name == CART_SKUS:
        return CART.name, identifier
    return (name, identifier) if name in SOURCES else None


def _entry_id(address: EntryAddress) -> str:
    return to_entry(address.sort_key).sort_key[TIME_DIGITS:].decode()


def difference(address: Address, expected: Views, served: bytes | None) -> str | None:
    """How what is served differs from what the tables say; None when it does not."""
    if owner(address) is None:
        return "it stands there, though no view has such a name"
    wanted = expected.get(address)
    if isinstance(wanted, bytes) or (wanted is None and view_name(address) == CART_SKUS):
        return _of_bytes(wanted, served)
    try:
        shown = _shown(address, served)
    except DecodeError:
        return "it is not a serialized view"
    if wanted is None or shown is None:
        return _of_presence(is_wanted=wanted is not None, is_shown=shown is not None)
    return first_difference(shown, wanted)


def _shown(address: Address, served: bytes | None) -> Message | None:
    if served is None:
        return None
    if isinstance(address, EntryAddress):
        return OrderSummary.FromString(served)
    message: Message = _MESSAGE_BY_NAME[view_name(address)].FromString(served)
    # A SKU whose prices all went away is shown without any; the tables then know nothing of it.
    is_empty = isinstance(message, SkuPrices) and not message.prices
    return None if is_empty else message


def _of_bytes(wanted: bytes | None, served: bytes | None) -> str | None:
    if wanted == served:
        return None
    if wanted is None or served is None:
        return _of_presence(is_wanted=wanted is not None, is_shown=served is not None)
    return f"it is {served!r}, the tables say {wanted!r}"


def _of_presence(*, is_wanted: bool, is_shown: bool) -> str | None:
    if is_wanted == is_shown:
        return None
    return "it is missing" if is_wanted else "it is shown, though the tables do not know it"


def first_difference(shown: Message, wanted: Message, path: str = "") -> str | None:
    """The first field, in the order of the proto, that differs; None when all are equal."""
    if shown == wanted:
        return None
    for field in wanted.DESCRIPTOR.fields:
        name = f"{path}{field.name}"
        told = _field_difference(field, getattr(shown, field.name), getattr(wanted, field.name), name)
        if told is not None:
            return told
        if field.has_presence and shown.HasField(field.name) != wanted.HasField(field.name):
            return f"{name} is {'set' if shown.HasField(field.name) else 'absent'}, it must not be"
    return f"{path or 'it '}holds a field that is not known here"


def _field_difference(field: Any, shown: Any, wanted: Any, name: str) -> str | None:
    if shown == wanted:
        return None
    is_message = field.message_type is not None and not field.message_type.GetOptions().map_entry
    if not is_message:
        return f"{name} is {_text(field, shown)}, the tables say {_text(field, wanted)}"
    if not field.is_repeated:
        return first_difference(shown, wanted, f"{name}.")
    if len(shown) != len(wanted):
        return f"{name} are {len(shown)}, the tables say {len(wanted)}"
    parts = enumerate(zip(shown, wanted, strict=True))
    told = (first_difference(a, b, f"{name}[{index}].") for index, (a, b) in parts)
    return next((each for each in told if each is not None), None)


def _text(field: Any, value: Any) -> str:
    if field.enum_type is not None and not field.is_repeated:
        known = field.enum_type.values_by_number.get(value)
        return known.name if known is not None else str(value)
    if field.message_type is not None:
        return str(dict(value))
    return str(list(value)) if field.is_repeated else repr(value)
