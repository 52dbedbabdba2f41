"""Carts as they are shown; beside each, the ids of its SKUs."""

from collections.abc import Mapping

from google.protobuf.message import Message

from projections.retelling import Retelling, ViewMissing
from read_models.partitions import Address, DocumentAddress
from read_models.views import CART, cart_skus_address, to_cart_skus
from shopkeeper.cart.v1.cart_events_pb2 import CartChanged, CartClosed, CartCreated, CartForgotten
from shopkeeper.cart.v1.cart_pb2 import Cart, CartLine

NOT_SHOWN: dict[str, str] = {}


def cart_after_creation(_view: Cart | None, event: CartCreated) -> Cart:
    """The new cart: a copy, since later events change it."""
    cart = Cart()
    cart.CopyFrom(event.cart)
    return cart


def cart_after_change(view: Cart | None, event: CartChanged) -> Cart:
    """The cart with what the event tells of it; lines keep their order, new ones come last.

    Raises:
        ViewMissing: there is no such cart.
    """
    if view is None:
        raise ViewMissing(f"cart {event.cart_id}")
    lines = _lines_after(view, event)
    view.ClearField("lines")
    view.lines.extend(lines)
    view.coupon_codes[:] = event.coupon_codes
    for name in _COPIED_FIELDS:
        setattr(view, name, getattr(event, name))
    view.total.CopyFrom(event.total)
    view.priced_time.CopyFrom(event.priced_time)
    view.expire_time.CopyFrom(event.expire_time)
    view.ClearField("prices_valid_until")
    if event.HasField("prices_valid_until"):
        view.prices_valid_until.CopyFrom(event.prices_valid_until)
    # A change prices the cart anew: both happen in the same moment.
    view.update_time.CopyFrom(event.priced_time)
    return view


def cart_after_closing(view: Cart | None, event: CartClosed) -> Cart:
    """The cart, closed; its lines stay to be looked at.

    Raises:
        ViewMissing: there is no such cart.
    """
    if view is None:
        raise ViewMissing(f"cart {event.cart_id}")
    view.etag = event.etag
    view.state = event.state
    view.update_time.CopyFrom(event.close_time)
    return view


def cart_after_forgetting(_view: Cart | None, _event: CartForgotten) -> None:
    """No cart any more."""


def skus_beside(cart: Cart) -> Mapping[Address, bytes]:
    """The ids of the cart's SKUs, each once, in the order of the lines."""
    sku_ids = list(dict.fromkeys(line.sku_id for line in cart.lines))
    return {cart_skus_address(cart.cart_id): to_cart_skus(sku_ids)}


_COPIED_FIELDS = (
    "etag",
    "customer_id",
    "subtotal_minor",
    "discount_minor",
    "free_shipping",
    "tax_inclusive",
)


def _lines_after(view: Cart, event: CartChanged) -> list[CartLine]:
    lines = {line.line_id: line for line in view.lines}
    for line_id in event.removed_line_ids:
        lines.pop(line_id, None)
    lines |= {line.line_id: line for line in event.changed_lines}
    # Copies: the originals lie in the list that is about to be cleared.
    return [_line_copy(line) for line in lines.values()]


def _line_copy(line: CartLine) -> CartLine:
    copy = CartLine()
    copy.CopyFrom(line)
    return copy


def _of_creation(event: CartCreated) -> DocumentAddress:
    return CART.address(event.cart.cart_id)


def _of_cart(event: CartChanged | CartClosed | CartForgotten) -> DocumentAddress:
    return CART.address(event.cart_id)


RETELLINGS: dict[type[Message], tuple[Retelling, ...]] = {
    CartCreated: (Retelling(Cart, _of_creation, cart_after_creation, skus_beside),),
    CartChanged: (Retelling(Cart, _of_cart, cart_after_change, skus_beside),),
    CartClosed: (Retelling(Cart, _of_cart, cart_after_closing, skus_beside),),
    CartForgotten: (Retelling(Cart, _of_cart, cart_after_forgetting, skus_beside),),
}
