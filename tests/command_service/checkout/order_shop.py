"""A shop in memory that also has stock and orders; strict about what a command names."""

from dataclasses import replace
from datetime import timedelta
from itertools import count
from typing import TypeVar

from command_service.checkout.place_order import PlaceOrder
from command_service.checkout.record_payment import RecordPayment
from command_service.checkout.record_refund import RecordRefund
from command_service.inventory.domain import (
    LOCATION,
    RESERVATION,
    STOCK,
    Level,
    Location,
    Reservation,
    Stock,
)
from command_service.money import Money
from command_service.ordering.contact import Contact, PostalAddress
from command_service.ordering.domain import ORDER, Order, PaymentMode
from command_service.ordering.lines import Units
from command_service.pricing.domain import COUPON, COUPON_CUSTOMER, PercentageOff
from command_service.world import FIRST_DEPENDENT_RANK, Command, Decision, Touch, World
from event_log.codec import encode_event
from tests.command_service.checkout.shop_in_memory import ShopInMemory, add, create

AnswerT = TypeVar("AnswerT")

HOLD = timedelta(minutes=15)

ADDRESS = PostalAddress(
    recipient="Ada Lovelace",
    address_lines=("12 St James's Square",),
    locality="London",
    administrative_area="",
    postal_code="SW1Y 4LB",
    region_code="GB",
)
CONTACT = Contact(
    email="Ada@Example.com",
    full_name="Ada Lovelace",
    phone="+44 20 7946 0000",
    shipping_address=ADDRESS,
    billing_address=None,
    notes="Leave it with the neighbour",
)


class OrderShop(ShopInMemory):
    """Sells a mug for 2.50 and a lamp for 10.01 from one location."""

    def __init__(self) -> None:
        super().__init__()
        self._order_serials = count(1)
        self._payment_serials = count(1)
        self.open_location("main")
        self.sell("mug", 250)
        self.sell("lamp", 1_001)
        self.stock("mug", 10)
        self.stock("lamp", 10)

    def carry_out(self, command: Command[AnswerT]) -> AnswerT:
        """As a batch of one: the command sees nothing but what it named."""
        seen = World()
        for touch in command.touches():
            self._show(seen, touch)
        for touch in list(command.needs(seen)):
            assert touch.kind.rank >= FIRST_DEPENDENT_RANK
            self._show(seen, touch)
        decision: Decision[AnswerT] = command.decide(seen, self.now)
        seen.apply(decision.changes)
        self.world.apply(decision.changes)
        for event in decision.events:
            encode_event(event)
        self.events.extend(decision.events)
        return decision.answer

    def _show(self, seen: World, touch: Touch) -> None:
        self._load([touch])
        seen.load(touch.kind, {touch.key: self.world.get(touch.kind, touch.key)})

    # --- what staff have done ----------------------------------------------------------------------

    def open_location(self, location_id: str, *, rank: int = 0, active: bool = True) -> None:
        self.world.load(LOCATION, {location_id: Location(location_id, location_id, rank, active)})

    def stock(self, sku_id: str, on_hand: int, location_id: str = "main") -> None:
        """Puts units on a shelf before any trade; adds a level to what is there."""
        self._load([STOCK.read(sku_id)])
        before = self.world.get(STOCK, sku_id) or Stock(sku_id, ())
        level = replace(before.level_at(location_id) or Level(location_id, 0), on_hand=on_hand)
        self.world.load(STOCK, {sku_id: before.with_level(level)})
        self.world.apply([STOCK.changed(sku_id, before.with_level(level))])

    # --- what buyers do ----------------------------------------------------------------------------

    def fill_cart(self, cart_id: str = "c1", customer_id: str = "", /, **quantities: int) -> None:
        self.carry_out(create(cart_id, customer_id=customer_id))
        for sku_id, quantity in quantities.items():
            self.carry_out(add(sku_id, quantity, cart_id=cart_id))

    def placing(self, cart_id: str = "c1", **changed: object) -> PlaceOrder:
        """The command that orders the cart just as it is now."""
        serial = next(self._order_serials)
        cart = self.cart(cart_id)
        command = PlaceOrder(
            order_id=f"o{serial}",
            order_number=f"{serial:03}",
            cart_id=cart_id,
            etag=cart.etag,
            expected_total=cart.total,
            customer_id="",
            contact=None,
            payment_mode=PaymentMode.ONLINE,
            hold_duration=HOLD,
        )
        return replace(command, **changed)  # type: ignore[arg-type]  # a test's own choice of fields

    def place(self, cart_id: str = "c1", customer_id: str = "", /, **quantities: int) -> Order:
        """Fills a cart and orders it."""
        self.fill_cart(cart_id, customer_id, **quantities)
        return self.carry_out(self.placing(cart_id))

    def pay(self, order: Order, amount_minor: int | None = None) -> Order:
        return self.carry_out(self.payment(order, amount_minor)).order

    def payment(self, order: Order, amount_minor: int | None = None) -> RecordPayment:
        """A payment of an amount, or of the total, under a new reference."""
        amount = Money(order.currency_code, amount_minor or order.total_minor)
        return RecordPayment(order.order_id, f"pay-{next(self._payment_serials)}", amount)

    def refund(self, order: Order, amount_minor: int) -> RecordRefund:
        """A refund of an amount under a new reference."""
        amount = Money(order.currency_code, amount_minor)
        reference = f"refund-{next(self._payment_serials)}"
        return RecordRefund(order.order_id, reference, amount, ())

    def refund_of_units(self, order: Order, *units: Units) -> RecordRefund:
        """A refund of units under a new reference."""
        return RecordRefund(order.order_id, f"refund-{next(self._payment_serials)}", None, units)

    # --- what there is -----------------------------------------------------------------------------

    def order(self, order_id: str = "o1") -> Order:
        order = self.world.get(ORDER, order_id)
        assert order is not None
        return order

    def reservation(self, order_id: str = "o1") -> Reservation:
        reservation = self.world.get(RESERVATION, order_id)
        assert reservation is not None
        return reservation

    def level(self, sku_id: str, location_id: str = "main") -> Level:
        stock = self.world.get(STOCK, sku_id)
        level = None if stock is None else stock.level_at(location_id)
        assert level is not None
        return level

    def counters(self, sku_id: str, location_id: str = "main") -> tuple[int, int, int]:
        """(on_hand, reserved, allocated)."""
        level = self.level(sku_id, location_id)
        return level.on_hand, level.reserved, level.allocated

    def coupon_uses(self, coupon_code: str) -> int:
        coupon = self.world.get(COUPON, coupon_code)
        assert coupon is not None
        return coupon.used_count

    def coupon_uses_of(self, coupon_code: str, customer_id: str) -> int:
        self._load([COUPON_CUSTOMER.read((coupon_code, customer_id))])
        uses = self.world.get(COUPON_CUSTOMER, (coupon_code, customer_id))
        return uses.used_count if uses else 0


def shop_with_coupon(**limits: int) -> OrderShop:
    """A shop with the coupon TENTH: ten percent off."""
    shop = OrderShop()
    shop.promote("tenth", PercentageOff(1_000))
    shop.give_coupon("TENTH", "tenth", **limits)
    return shop
