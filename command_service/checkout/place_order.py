"""PlaceOrder: a cart becomes an order in one atomic decision. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from command_service.cart.domain import CART, Cart, CartLine, CartState, open_cart
from command_service.checkout.holdings import Holdings, demands_of, holding_touches
from command_service.checkout.pricing_of_cart import priced, pricing_touches
from command_service.errors import CartEmpty, CurrencyMismatch, PriceChanged
from command_service.inventory.domain import RESERVATION, Reservation, ReservationState
from command_service.money import Money
from command_service.ordering.contact import Contact
from command_service.ordering.domain import (
    ORDER,
    LineAdjustment,
    Order,
    OrderLine,
    OrderState,
    PaymentMode,
)
from command_service.ordering.events import OrderPlaced
from command_service.pricing.domain import PRICE_BOOK, PRICE_BOOK_KEY
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
        cart = self._for_customer(seen)
        self._check_currency(cart)
        holdings = Holdings.of_none(
            world,
            order_id=self.order_id,
            customer_id=cart.customer_id,
            sku_ids={line.sku_id for line in cart.lines},
            coupon_codes=cart.coupon_codes,
        )
        # Before the price: a coupon that is used up by now is the better answer than another total.
        holdings = holdings.take_coupons(world.get(PRICE_BOOK, PRICE_BOOK_KEY), now)
        order = self._order(priced(cart, world, now), now)
        self._check_total(order)
        holdings = holdings.take_stock(demands_of(order))
        reservation_state = ReservationState.HELD
        if order.total_minor == 0:
            order, holdings = order.settle(), holdings.commit_stock()
            reservation_state = ReservationState.COMMITTED
        # As it was seen: the prices of this moment are the order's, and no event tells them of the cart.
        closed, cart_closed = seen.closed(CartState.ORDERED, self.order_id, now)
        return Decision(
            order,
            [
                CART.changed(self.cart_id, closed),
                ORDER.changed(self.order_id, order),
                *holdings.changes(self._reservation(order), reservation_state),
            ],
            [OrderPlaced(order), *holdings.events, cart_closed],
        )

    def _for_customer(self, cart: Cart) -> Cart:
        return replace(cart, customer_id=self.customer_id or cart.customer_id)

    def _check_currency(self, cart: Cart) -> None:
        if self.expected_total.currency_code != cart.currency_code:
            raise CurrencyMismatch(
                actual_currency_code=self.expected_total.currency_code,
                expected_currency_code=cart.currency_code,
            )

    def _check_total(self, order: Order) -> None:
        if order.total != self.expected_total:
            raise PriceChanged(
                total_minor=order.total_minor,
                currency_code=order.currency_code,
                expected_total_minor=self.expected_total.amount_minor,
            )

    def _order(self, cart: Cart, now: datetime) -> Order:
        return Order(
            order_id=self.order_id,
            order_number=self.order_number,
            version=1,
            state=_AWAITING_BY_PAYMENT_MODE[self.payment_mode],
            customer_id=cart.customer_id,
            cart_id=cart.cart_id,
            currency_code=cart.currency_code,
            lines=tuple(_order_line(line) for line in cart.lines),
            coupon_codes=cart.coupon_codes,
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
        adjustments=tuple(
            LineAdjustment(
                promotion_id=adjustment.promotion_id,
                title=adjustment.title,
                coupon_code=adjustment.coupon_code,
                amount_minor=adjustment.amount_minor,
                exact_amount_minor=adjustment.exact_amount_minor,
            )
            for adjustment in line.adjustments
        ),
    )
