"""PlaceOrder: a cart becomes an order in one atomic decision. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from command_service.cart.domain import CART, Cart, CartLine, CartState, check_owner, open_cart
from command_service.cart.events import CartClosed
from command_service.checkout.holdings import Holdings, demands_of, holding_touches
from command_service.checkout.pricing_of_cart import (
    PricedCart,
    checked_coupon,
    priced,
    pricing_touches,
)
from command_service.errors import (
    CartEmpty,
    CurrencyMismatch,
    PriceChanged,
)
from command_service.inventory.domain import RESERVATION, Reservation, ReservationState
from command_service.money import Money
from command_service.ordering.contact import Contact
from command_service.ordering.domain import ORDER, Order, OrderState, PaymentMode
from command_service.ordering.events import OrderPlaced
from command_service.ordering.lines import OrderLine
from command_service.world import Command, Decision, Touch, World

_AWAITING_BY_PAYMENT_MODE = {
    PaymentMode.ONLINE: OrderState.AWAITING_PAYMENT,
    PaymentMode.IN_STORE: OrderState.AWAITING_INSTORE_PAYMENT,
}


@dataclass(frozen=True, slots=True)
class PlaceOrder(Command[Order]):
    """Turns a cart, as the buyer saw it, into an order that holds its stock for `hold_duration`.

    order_id, order_number: made for this command. customer_id: "" stands for the cart's.
    """

    order_id: str
    order_number: str
    cart_id: str
    etag: str
    expected_total: Money
    customer_id: str
    contact: Contact | None
    payment_mode: PaymentMode
    hold_duration: timedelta

    def touches(self) -> Iterable[Touch]:
        """The cart; order and reservation are new, with one id."""
        return (
            CART.change(self.cart_id),
            ORDER.fresh(self.order_id),
            RESERVATION.fresh(self.order_id),
        )

    def needs(self, world: World) -> Iterable[Touch]:
        """What the cart's lines and coupons rest on; nothing when it will be refused anyway."""
        cart = world.get(CART, self.cart_id)
        if cart is None or cart.etag != self.etag or cart.state is not CartState.OPEN:
            return
        cart = self._for_customer(cart)
        sku_ids = {line.sku_id for line in cart.lines}
        yield from pricing_touches(cart)
        yield from holding_touches(sku_ids, cart.coupon_codes, cart.customer_id)

    def decide(self, world: World, now: datetime) -> Decision[Order]:
        """Checks what the buyer saw, takes coupon uses and stock, freezes the prices."""
        seen = open_cart(world.get(CART, self.cart_id), self.cart_id, self.etag, now)
        if not seen.lines_by_id:
            raise CartEmpty(cart_id=self.cart_id)
        check_owner(seen, self.customer_id or seen.customer_id)
        cart = self._for_customer(seen)
        self._check_currency(cart)
        # Before the price: a coupon that is used up by now is the better answer than another total.
        for coupon_code in cart.coupon_codes:
            checked_coupon(coupon_code, cart.customer_id, world, now)
        order = self._order(priced(cart, world, now), now)
        self._check_terms(seen, order)
        holdings = Holdings.of_none(
            world,
            order_id=self.order_id,
            customer_id=order.customer_id,
            sku_ids={line.sku_id for line in order.lines},
            coupon_codes=order.coupon_codes,
        )
        holdings = holdings.take_coupons().take_stock(demands_of(order))
        reservation_state = ReservationState.HELD
        if order.total_minor == 0:
            order, holdings = order.settle(), holdings.commit_stock()
            reservation_state = ReservationState.COMMITTED
        # As it was seen: the prices of this moment are the order's, and no event tells them of the cart.
        closed = seen.closed(CartState.ORDERED, now)
        return Decision(
            order,
            [
                CART.changed(self.cart_id, closed),
                ORDER.changed(self.order_id, order),
                *holdings.changes(self._reservation(order), reservation_state),
            ],
            [OrderPlaced(order), *holdings.events, CartClosed.of(closed, self.order_id)],
        )

    def _for_customer(self, cart: Cart) -> Cart:
        if self.customer_id in ("", cart.customer_id):
            return cart
        return replace(cart, customer_id=self.customer_id)

    def _check_currency(self, cart: Cart) -> None:
        if self.expected_total.currency_code != cart.currency_code:
            raise CurrencyMismatch(
                actual_currency_code=self.expected_total.currency_code,
                expected_currency_code=cart.currency_code,
            )

    def _check_terms(self, seen: Cart, order: Order) -> None:
        """Refuses another total, and the same total with less in it: tax or shipping."""
        lacks_tax = seen.tax_inclusive and not order.tax_inclusive
        lacks_shipping = seen.free_shipping and not order.free_shipping
        if order.total != self.expected_total or lacks_tax or lacks_shipping:
            raise PriceChanged(
                total_minor=order.total_minor,
                currency_code=order.currency_code,
                terms=_terms(order),
                expected_total_minor=self.expected_total.amount_minor,
                expected_terms=_terms(seen),
            )

    def _order(self, priced_cart: PricedCart, now: datetime) -> Order:
        cart = priced_cart.cart
        return Order(
            order_id=self.order_id,
            order_number=self.order_number,
            version=1,
            state=_AWAITING_BY_PAYMENT_MODE[self.payment_mode],
            customer_id=cart.customer_id,
            cart_id=cart.cart_id,
            currency_code=cart.currency_code,
            lines=tuple(_order_line(line) for line in cart.lines),
            coupon_codes=priced_cart.coupon_codes_in_effect,
            free_shipping=cart.free_shipping,
            tax_inclusive=cart.tax_inclusive,
            payment_mode=self.payment_mode,
            placed_time=now,
            update_time=now,
            expire_time=now + self.hold_duration,
            contact=self.contact,
        )

    def _reservation(self, order: Order) -> Reservation:
        return Reservation(
            reservation_id=order.order_id,
            is_of_order=True,
            reference=order.order_number,
            state=ReservationState.HELD,
            lines=(),
            expire_time=order.expire_time,
        )


def _terms(priced_thing: Cart | Order) -> str:
    """What a total includes, in words."""
    tax = "with tax" if priced_thing.tax_inclusive else "without tax"
    return f"{tax}, free shipping" if priced_thing.free_shipping else tax


def _order_line(line: CartLine) -> OrderLine:
    return OrderLine(
        line_id=line.line_id,
        sku_id=line.sku_id,
        title=line.title,
        quantity=line.quantity,
        unit_price_minor=line.unit_price_minor,
        discount_minor=line.discount_minor,
        price_list_id=line.price_list_id,
        price_tier_min_quantity=line.price_tier_min_quantity,
        adjustments=line.adjustments,
    )
