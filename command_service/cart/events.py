"""What happened to carts; each event has a twin of the same name in cart_events.proto."""

from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from command_service.cart.domain import Cart, CartLine, CartState, changed_lines, removed_line_ids
from command_service.money import Money
from event_log.events import Event


@dataclass(frozen=True, slots=True)
class CartCreated(Event):
    """A cart was made."""

    context: ClassVar[str] = "cart"
    cart: Cart

    @property
    def key(self) -> str:
        """The cart's id."""
        return self.cart.cart_id


@dataclass(frozen=True, slots=True)
class CartChanged(Event):
    """A cart was changed or priced anew."""

    context: ClassVar[str] = "cart"
    cart_id: str
    etag: str
    changed_lines: tuple[CartLine, ...]
    removed_line_ids: tuple[str, ...]
    coupon_codes: tuple[str, ...]
    customer_id: str
    subtotal_minor: int
    discount_minor: int
    total: Money
    free_shipping: bool
    tax_inclusive: bool
    priced_time: datetime
    prices_valid_until: datetime | None
    expire_time: datetime

    @classmethod
    def between(cls, before: Cart, after: Cart) -> "CartChanged":
        """What tells one version of a cart from the next: of its lines only those that differ."""
        return cls(
            cart_id=after.cart_id,
            etag=after.etag,
            changed_lines=changed_lines(before, after),
            removed_line_ids=removed_line_ids(before, after),
            coupon_codes=after.coupon_codes,
            customer_id=after.customer_id,
            subtotal_minor=after.subtotal_minor,
            discount_minor=after.discount_minor,
            total=after.total,
            free_shipping=after.free_shipping,
            tax_inclusive=after.tax_inclusive,
            priced_time=after.priced_time,
            prices_valid_until=after.prices_valid_until,
            expire_time=after.expire_time,
        )

    @property
    def key(self) -> str:
        """The cart's id."""
        return self.cart_id


@dataclass(frozen=True, slots=True)
class CartClosed(Event):
    """A cart was closed. successor_id: the order or the cart that it became; "" when it expired."""

    context: ClassVar[str] = "cart"
    cart_id: str
    etag: str
    state: CartState
    successor_id: str
    close_time: datetime

    @classmethod
    def of(cls, closed: Cart, successor_id: str = "") -> "CartClosed":
        """What a view has to learn of a cart that was just closed."""
        return cls(closed.cart_id, closed.etag, closed.state, successor_id, closed.update_time)

    @property
    def key(self) -> str:
        """The cart's id."""
        return self.cart_id


@dataclass(frozen=True, slots=True)
class CartForgotten(Event):
    """A cart that was closed long ago is not kept any longer; the same id may be another cart's."""

    context: ClassVar[str] = "cart"
    cart_id: str

    @property
    def key(self) -> str:
        """The cart's id."""
        return self.cart_id
