"""Every way in which a command can fail: one tree, one file. To add an error, add a class here.

The categories, their gRPC codes and how a class becomes an answer stand in serving.failures. Refusals
are decisions of the domain: they are stored under the request id and replayed like successes. All
else is not stored, since the same request may succeed later.
"""

from collections.abc import Iterable, Sequence

from serving.failures import (
    AlreadyExists,
    Invalid,
    NotFound,
    Overloaded,
    Stale,
    Unavailable,
    listed,
)

# The rest of the tree, so that this file is the one place to import errors from.
from serving.failures import Code as Code
from serving.failures import DeadlineMissed as DeadlineMissed
from serving.failures import Failure as Failure
from serving.failures import Internal as Internal
from serving.failures import InvalidField as InvalidField
from serving.failures import Refusal as Refusal
from serving.failures import Violation as Violation

# --- requests ---------------------------------------------------------------------------------


class RequestIdReused(Invalid):
    """The request id was used before with another payload or method."""

    def __init__(self) -> None:
        super().__init__({"request_id": "was used before with another payload or method"})


class QueueFull(Overloaded):
    """The queue of commands is full; try again shortly."""


class DatabaseUnavailable(Unavailable):
    """The database cannot be reached; send the same request again."""


class RequestInProgress(Unavailable):
    """The request was begun and its outcome is not known yet; send the same again for its answer."""


class Draining(Unavailable):
    """The service is shutting down; send the same request to another one."""


# --- catalog ----------------------------------------------------------------------------------


class ProductNotFound(NotFound):
    """There is no product {product_id}."""


class SkuNotFound(NotFound):
    """There is no SKU {sku_id}."""


class SkuNotOnSale(Refusal):
    """SKU {sku_id} is not on sale."""


# --- pricing ----------------------------------------------------------------------------------


class PriceListNotFound(NotFound):
    """There is no price list {price_list_id}."""


class PriceListCurrencyFixed(Refusal):
    """Price list {price_list_id} is in {currency_code}, for good."""


class PriceListForAnotherGroup(Refusal):
    """Price list {price_list_id} is for customers of the group {customer_group}."""


class PriceNotFound(Refusal):
    """SKU {sku_id} has no price in {currency_code} for this cart."""


class AmountTooLarge(Refusal):
    """The lines are worth more than {amount_minor_max} minor units, the most that an amount can be."""


class PromotionNotFound(NotFound):
    """There is no promotion {promotion_id}."""


class CouponNotFound(NotFound):
    """There is no coupon {coupon_code}."""


class CouponNotValid(Refusal):
    """Coupon {coupon_code} is not valid now."""


class CouponUsedUp(Refusal):
    """Coupon {coupon_code} has been used as often as it may be."""


class CouponNeedsCustomer(Refusal):
    """Coupon {coupon_code} is limited per customer: the cart needs a customer id."""


class CouponNotApplied(Refusal):
    """Coupon {coupon_code} is not on the cart."""


class CurrencyMismatch(Refusal):
    """The amount is in {actual_currency_code}, expected {expected_currency_code}."""


# --- inventory --------------------------------------------------------------------------------


class LocationNotFound(NotFound):
    """There is no active location {location_id}."""


class LocationNotEmpty(Refusal):
    """Location {location_id} still has stock: move it before closing the location."""


class StockNotFound(NotFound):
    """SKU {sku_id} never had stock at {location_id}."""


class SkuNeverStocked(NotFound):
    """SKU {sku_id} never had stock."""


class StockChanged(Stale):
    """SKU {sku_id} has {on_hand} on hand at {location_id}, no longer {expected_on_hand}: count again."""


class OutOfStock(Refusal):
    """Not enough stock: {shortages}."""

    def __init__(self, shortages: Iterable[Violation]) -> None:
        self._shortages = sorted(shortages)
        super().__init__(
            shortages=listed([f"{sku_id}: {description}" for sku_id, description in self._shortages]),
            short_count=len(self._shortages),
        )

    @property
    def violations(self) -> Sequence[Violation]:
        """Each SKU that is short, and by how much."""
        return self._shortages


class UnitsNotHeld(Refusal):
    """{quantity} units of SKU {sku_id} are not held at {location_id}: {held_quantity} are."""


class BackorderLimitInUse(Refusal):
    """Promises for SKU {sku_id} at {location_id} rest on a backorder limit of {needed} or more."""


class QuantityTooLarge(Refusal):
    """The quantity would exceed {quantity_max}."""


class ReservationNotFound(NotFound):
    """There is no reservation {reservation_id}."""


class ReservationAlreadyExists(AlreadyExists):
    """There already is a reservation {reservation_id}."""


class ReservationNotHeld(Refusal):
    """Reservation {reservation_id} no longer holds: it is {state}."""


class ReservationNotCommitted(Refusal):
    """Reservation {reservation_id} is {state}, not committed."""


class ReservationNotExpired(Refusal):
    """Reservation {reservation_id} holds until {expire_time}."""


class ReservationOwnedByOrder(Refusal):
    """Reservation {reservation_id} belongs to an order: change the order instead."""


# --- cart -------------------------------------------------------------------------------------


class CartNotFound(NotFound):
    """There is no cart {cart_id}."""


class CartAlreadyExists(AlreadyExists):
    """There already is a cart {cart_id}."""


class CartNotOpen(Refusal):
    """Cart {cart_id} is {state}."""


class CartChanged(Stale):
    """Cart {cart_id} was changed: its etag is now {etag}."""


class CartEmpty(Refusal):
    """Cart {cart_id} is empty."""


class CartFull(Refusal):
    """Cart {cart_id} has {line_count_max} lines, as many as a cart may have."""


class CartCouponsFull(Refusal):
    """Cart {cart_id} has {coupon_count_max} coupons, as many as a cart may have."""


class CartOfAnotherCustomer(Refusal):
    """Cart {cart_id} belongs to another customer than the one for whom it shall be."""


class CartLineNotFound(NotFound):
    """Cart {cart_id} has no line {line_id}."""


class CartLineSkuFixed(Refusal):
    """Line {line_id} of cart {cart_id} is for SKU {sku_id}, for good."""


class CartNotExpired(Refusal):
    """Cart {cart_id} does not expire before {expire_time}."""


class CartNotForgettable(Refusal):
    """Cart {cart_id} is {state} and still kept."""


class CartsNotMergeable(Refusal):
    """Carts {from_cart_id} and {into_cart_id} cannot be merged: {why}."""


# --- ordering ---------------------------------------------------------------------------------


class OrderNotFound(NotFound):
    """There is no order {order_id}."""


class PriceChanged(Refusal):
    """Now {total_minor} {currency_code} {terms}, no longer {expected_total_minor} {expected_terms}."""


class OrderChanged(Stale):
    """Order {order_id} was changed: its etag is now {etag}."""


class OrderNotPaid(Refusal):
    """Order {order_id} is {state}: only units of a paid order are shipped or called off."""


class OrderAlreadyPaid(Refusal):
    """Order {order_id} is {state}: it has been paid and no longer expires; call it off instead."""


class OrderNotExpired(Refusal):
    """Order {order_id} holds its stock until {expire_time}."""


class OrderAlreadyShipped(Refusal):
    """Order {order_id} is {state}: only what has not been shipped can be shipped or called off."""


class OrderAlreadyClosed(Refusal):
    """Order {order_id} is {state} and holds nothing any more: all that is left is to give money back."""


class NothingToShip(Refusal):
    """Order {order_id} has only units left whose price was refunded: call them off instead."""


class OrderLineNotFound(NotFound):
    """Order {order_id} has no line {line_id}."""


class TooManyUnits(Refusal):
    """Line {line_id} allows {quantity_max} units, not {quantity}."""


class PaymentAlreadyRecorded(AlreadyExists):
    """Payment {payment_reference} is already recorded for order {order_id}."""


class RefundAlreadyRecorded(AlreadyExists):
    """Refund {refund_reference} is already recorded for order {order_id}."""


class RecordedRefundFailed(Refusal):
    """Refund {refund_reference}, recorded by hand for order {order_id}, failed at its provider."""


class NothingToRefund(Refusal):
    """There is nothing to refund: order {order_id} has no money left, or its units come to none."""


class RefundExceedsPayments(Refusal):
    """Only {refundable_minor} can be refunded, not {amount_minor}."""


# --- payment ----------------------------------------------------------------------------------


class OrderNotAwaitingPayment(Refusal):
    """Order {order_id} is {state} and takes no new payment."""


class PaymentExceedsOrder(Refusal):
    """Order {order_id} lacks only {missing_minor}: what is held, or on its way, counts as paid."""


class PaymentNotFound(NotFound):
    """There is no payment {payment_id}."""


class PaymentInProgress(Refusal):
    """Payment {payment_id} is {state}: its provider is being asked; look again in a moment."""


class PaymentNotAuthorized(Refusal):
    """Payment {payment_id} is {state}: only authorized money can be captured."""


class CaptureExceedsAuthorization(Refusal):
    """Only {authorized_minor} is authorized, not {amount_minor}."""


class PaymentAlreadyCaptured(Refusal):
    """Payment {payment_id} is captured: refund it instead."""


class TooManyPayments(Refusal):
    """Order {order_id} has {payment_count_max} payments, as many as an order may have."""


class TooManyRefunds(Refusal):
    """Order {order_id} has {refund_count_max} refunds, as many as an order may have."""


class CaptureNotReported(Unavailable):
    """Payment {payment_id} has a refund, yet its capture was not reported so far; report that first."""


class PaymentProviderUnavailable(Unavailable):
    """The payment provider gives no answer, or cannot act yet; send the same request again."""
