"""Staff: who ships, counts and carries, and who minds the money. Chance as in `workload`."""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from google.protobuf.duration_pb2 import Duration

from shopkeeper.catalog.v1 import catalog_command_service_pb2 as catalog_pb
from shopkeeper.catalog.v1.catalog_pb2 import Product
from shopkeeper.inventory.v1 import inventory_command_service_pb2 as inventory_pb
from shopkeeper.inventory.v1 import inventory_query_service_pb2 as stock_pb
from shopkeeper.inventory.v1.inventory_pb2 import Location, ReservationLine, Stock
from shopkeeper.ordering.v1 import ordering_command_service_pb2 as ordering_pb
from shopkeeper.ordering.v1.ordering_pb2 import Order, OrderLine, OrderLineUnits
from shopkeeper.payment.v1 import payment_command_service_pb2 as payment_pb
from shopkeeper.payment.v1.payment_pb2 import Payment
from shopkeeper.pricing.v1 import pricing_command_service_pb2 as pricing_pb
from shopkeeper.pricing.v1.pricing_pb2 import Coupon, PriceTier
from shopkeeper.types.v1.money_pb2 import Money
from tests.system.client import DEADLINE_SECONDS, LOCATION, PRICE_LIST, Client, sku
from tests.system.client import new_id as client_made_id
from tests.torture.calls import Caller
from tests.torture.workload import (
    HOLD_SECONDS_MAX,
    PRICE_MINOR_MAX,
    PRICE_MINOR_MIN,
    SCARCE,
    SKU_IDS,
    Person,
    new_id,
)

ANNEX = "annex"
"""Another place, from which orders are filled when the first is empty."""
PLACES = (LOCATION, ANNEX)
PROMOTION_ID = "tenth off"
QUEUE_MAX = 200
"""Orders that wait for somebody."""
COUPON_USES_MAX = 4
MISCOUNT_MAX = 3
"""Units that a count finds more, or fewer, than the counter thought."""
TWICE_PROBABILITY = 0.2
"""That two of the staff do the same thing at once, each by a command of their own."""
MIND_CHANGED_PROBABILITY = 0.05
"""That money is called off while it is asked for, at each attempt."""
REST_SECONDS_MAX = 0.2
"""Of who minds the money: most orders are left alone."""
LATER_PROBABILITY = 0.9
"""That money which could not be taken is tried for again: mostly the customer has yet to pay."""
RECORDED_PROBABILITY = 0.4
"""That somebody sees in the provider's tools what is just being given back, and records it."""


async def furnish(client: Client) -> None:
    """Opens the annex, and the promotion that coupons are for."""
    annex = Location(location_id=ANNEX, title="Annex", rank=1, active=True)
    await client.inventory.UpsertLocations(
        inventory_pb.UpsertLocationsRequest(request_id=client_made_id(), locations=[annex]),
        timeout=DEADLINE_SECONDS,
    )
    await client.add_promotion(PROMOTION_ID)


class Clerk(Person):
    """Minds the stock: goods come and go, are carried about and counted, put aside, and labelled."""

    async def act(self) -> None:
        """One thing to do."""
        weights = {
            self._receive: 22,
            self._ship: 34,
            self._call_off: 5,
            self._take_back: 10,
            self._put_aside: 14,
            self._carry: 6,
            self._count: 4,
            self._label: 5,
        }
        [deed] = self._chance.choices(list(weights), weights=list(weights.values()))
        await deed()

    async def _receive(self) -> None:
        wanted = self._chance.sample(SKU_IDS, self._chance.randint(1, 3))
        units = {
            sku_id: self._chance.randint(1, 2 if sku_id == SCARCE else 12) for sku_id in sorted(wanted)
        }
        location_id = self._chance.choice(PLACES)
        rows = [
            inventory_pb.StockRow(sku_id=sku_id, location_id=location_id, quantity=quantity)
            for sku_id, quantity in units.items()
        ]
        request = inventory_pb.ReceiveStockRequest(request_id=self.new_id(), rows=rows)
        await self.command(request, units=units)

    async def _ship(self) -> None:
        """All that is left of an order, or some; now and then somebody calls units off meanwhile."""
        order = self._taken_from(self._market.to_ship)
        if order is None:
            return
        is_whole = self._chance.random() < 0.7
        units = [(each, n if is_whole else self._chance.randint(0, n)) for each, n in _unshipped(order)]
        lines = [OrderLineUnits(line_id=each.line_id, quantity=n) for each, n in units if n]
        if not lines:
            return
        shipping = self.command(
            ordering_pb.FulfillOrderLinesRequest(
                request_id=self.new_id(), order_id=order.order_id, lines=lines
            ),
            units=_by_sku((each, -n) for each, n in units if n),
        )
        if self._chance.random() < TWICE_PROBABILITY:
            shipped, _ = await asyncio.gather(shipping, self.command(self._calling_off(order)))
        else:
            shipped = await shipping
        if shipped is not None:
            self._put_into(self._market.to_return, shipped.order)
            if not is_whole:
                self._put_into(self._market.to_ship, shipped.order)

    async def _call_off(self) -> None:
        order = self._taken_from(self._market.to_ship)
        if order is None or not _unshipped(order):
            return
        called_off = await self.command(self._calling_off(order))
        self._put_into(self._market.to_ship, order if called_off is None else called_off.order)

    def _calling_off(self, order: Order) -> ordering_pb.CancelOrderLinesRequest:
        line, quantity = self._chance.choice(_unshipped(order))
        units = OrderLineUnits(line_id=line.line_id, quantity=self._chance.randint(1, quantity))
        return ordering_pb.CancelOrderLinesRequest(
            request_id=self.new_id(), order_id=order.order_id, lines=[units]
        )

    async def _take_back(self) -> None:
        """Some of what was shipped, to a shelf or not; now and then two take back the same units."""
        order = self._taken_from(self._market.to_return)
        away = [] if order is None else _away(order)
        if order is None or not away:
            return
        line, quantity = self._chance.choice(away)
        quantity = self._chance.randint(1, quantity)
        restock = self._chance.random() < 0.8
        returned = ordering_pb.ReturnedUnits(
            line_id=line.line_id,
            quantity=quantity,
            restock=restock,
            location_id=self._chance.choice(["", *PLACES]) if restock else "",
        )
        count = 2 if self._chance.random() < TWICE_PROBABILITY else 1
        answers = await asyncio.gather(
            *(
                self.command(
                    ordering_pb.ReturnOrderLinesRequest(
                        request_id=self.new_id(), order_id=order.order_id, lines=[returned]
                    ),
                    units={line.sku_id: quantity} if restock else {},
                )
                for _ in range(count)
            )
        )
        for answer in answers[:1]:
            if answer is not None:
                self._put_into(self._market.to_return, answer.order)

    def _taken_from(self, waiting: list[Order]) -> Order | None:
        return waiting.pop(self._chance.randrange(len(waiting))) if waiting else None

    def _put_into(self, waiting: list[Order], order: Order) -> None:
        if len(waiting) < QUEUE_MAX:
            waiting.append(order)

    async def _carry(self) -> None:
        """Units that nobody holds, from one place to the other."""
        from_id, to_id = self._chance.sample(PLACES, 2)
        await self.command(
            inventory_pb.TransferStockRequest(
                request_id=self.new_id(),
                sku_id=self._chance.choice(SKU_IDS),
                from_location_id=from_id,
                to_location_id=to_id,
                quantity=self._chance.randint(1, 8),
            )
        )

    async def _count(self) -> None:
        """A shelf, of which something else is found than what is known of it."""
        sku_id, location_id = self._chance.choice(SKU_IDS), self._chance.choice(PLACES)
        _, shown = await self._caller.query(
            stock_pb.GetStockRequest(sku_id=sku_id, at_least_as_fresh=self._market.newest_token)
        )
        if shown is None:
            return
        on_hand = _on_hand(shown.stock, location_id)
        difference = self._chance.choice([-1, 1]) * self._chance.randint(1, MISCOUNT_MAX)
        await self.command(
            inventory_pb.AdjustStockRequest(
                request_id=self.new_id(),
                sku_id=sku_id,
                location_id=location_id,
                counted_quantity=max(0, on_hand + difference),
                expected_on_hand=on_hand,
            )
        )

    async def _put_aside(self) -> None:
        """A reservation for nobody in particular: left to expire, given back, kept, or sold."""
        reservation_id = self.new_id()
        sku_id, quantity = self._chance.choice(SKU_IDS), self._chance.randint(1, 3)
        made = await self.command(
            inventory_pb.ReserveStockRequest(
                request_id=self.new_id(),
                reservation_id=reservation_id,
                reference="put aside",
                lines=[ReservationLine(sku_id=sku_id, quantity=quantity)],
                hold_duration=Duration(seconds=self._chance.randint(1, HOLD_SECONDS_MAX)),
            )
        )
        if made is None:
            return
        fate = self._chance.choices(["left", "released", "kept", "sold"], weights=[30, 30, 15, 25])[0]
        match fate:
            case "released":
                await self._release(reservation_id)
            case "kept":
                await self.command(
                    inventory_pb.ExtendReservationRequest(
                        request_id=self.new_id(),
                        reservation_id=reservation_id,
                        hold_duration=Duration(seconds=self._chance.randint(1, HOLD_SECONDS_MAX)),
                    )
                )
            case "sold":
                await self._sell(reservation_id, sku_id, quantity)

    async def _sell(self, reservation_id: str, sku_id: str, quantity: int) -> None:
        """What was put aside: it leaves, some of it perhaps only, and perhaps it comes back."""
        committed = await self.command(
            inventory_pb.CommitReservationRequest(
                request_id=self.new_id(), reservation_id=reservation_id
            )
        )
        if committed is None:
            return
        sold_quantity = self._chance.randint(1, quantity)
        shipped = await self.command(
            inventory_pb.ShipReservationRequest(
                request_id=self.new_id(),
                reservation_id=reservation_id,
                lines=[ReservationLine(sku_id=sku_id, quantity=sold_quantity)],
            ),
            units={sku_id: -sold_quantity},
        )
        if shipped is None or sold_quantity < quantity:
            await self._release(reservation_id)
        if shipped is not None and self._chance.random() < 0.5:
            row = inventory_pb.StockRow(
                sku_id=sku_id, location_id=self._chance.choice(PLACES), quantity=sold_quantity
            )
            await self.command(
                inventory_pb.ReturnStockRequest(
                    request_id=self.new_id(), rows=[row], reference=reservation_id
                ),
                units={sku_id: sold_quantity},
            )

    async def _release(self, reservation_id: str) -> None:
        await self.command(
            inventory_pb.ReleaseReservationRequest(
                request_id=self.new_id(), reservation_id=reservation_id
            )
        )

    async def _label(self) -> None:
        """Another title or price, under which somebody is about to order."""
        sku_id, title = self._chance.choice(SKU_IDS), f"Things, print {self._chance.getrandbits(32)}"
        labelled = sku(sku_id)
        labelled.title = title
        price_minor = self._chance.randint(PRICE_MINOR_MIN, PRICE_MINOR_MAX)
        priced = pricing_pb.PriceRow(
            sku_id=sku_id, tiers=[PriceTier(min_quantity=1, unit_price_minor=price_minor)]
        )
        product = Product(product_id=labelled.product_id, title=title, active=True)
        requests = [
            catalog_pb.UpsertProductsRequest(request_id=self.new_id(), products=[product]),
            catalog_pb.UpsertSkusRequest(request_id=self.new_id(), skus=[labelled]),
            pricing_pb.UpsertPricesRequest(
                request_id=self.new_id(), price_list_id=PRICE_LIST, rows=[priced]
            ),
        ]
        await self.command(self._chance.choice(requests))


class Cashier(Person):
    """Minds the money: takes what waits for it, gives back, calls off, and hands out coupons."""

    async def act(self) -> None:
        """One thing to do, and a rest."""
        weights = {self._capture: 50, self._refund: 35, self._void: 7, self._hand_out: 8}
        [deed] = self._chance.choices(list(weights), weights=list(weights.values()))
        await deed()
        await asyncio.sleep(self._chance.uniform(0.0, REST_SECONDS_MAX))

    async def _capture(self) -> None:
        """All that is held, or a part of it; now and then somebody calls it off meanwhile."""
        waiting = self._market.to_capture
        if not waiting:
            return
        # Who has just paid is not known to have.
        payment = waiting.popleft()
        amount = self._part_of(payment) if self._chance.random() < 0.2 else None
        capturing = self.command(
            payment_pb.CapturePaymentRequest(
                request_id=self.new_id(), payment_id=payment.payment_id, amount=amount
            )
        )
        if self._chance.random() < MIND_CHANGED_PROBABILITY:
            captured, _ = await asyncio.gather(capturing, self.command(self._voiding(payment)))
        else:
            captured = await capturing
        if captured is None and self._chance.random() < LATER_PROBABILITY:
            waiting.append(payment)

    async def _void(self) -> None:
        if self._market.payments:
            await self.command(self._voiding(self._chance.choice(self._market.payments)))

    def _voiding(self, payment: Payment) -> payment_pb.VoidPaymentRequest:
        return payment_pb.VoidPaymentRequest(request_id=self.new_id(), payment_id=payment.payment_id)

    async def _refund(self) -> None:
        """An amount, units, or all that is left; now and then twice at once, of what is there once."""
        if not self._market.paid_online:
            return
        payment = self._chance.choice(self._market.paid_online)
        count = 2 if self._chance.random() < TWICE_PROBABILITY else 1
        wanted = self._wanted_back(payment)
        asking = [
            self.command(
                payment_pb.RefundPaymentRequest(
                    request_id=self.new_id(), order_id=payment.order_id, **wanted
                )
            )
            for _ in range(count)
        ]
        if self._chance.random() < RECORDED_PROBABILITY:
            await asyncio.gather(*asking, self._record(payment.order_id))
        else:
            await asyncio.gather(*asking)

    async def _record(self, order_id: str) -> None:
        """Somebody sees a refund in the provider's tools, of which the shop may not have heard yet."""
        await asyncio.sleep(self._chance.uniform(0.0, REST_SECONDS_MAX))
        seen = self._market.till.newest_refund(order_id)
        if seen is not None:
            await self.command(
                ordering_pb.RecordRefundRequest(
                    request_id=self.new_id(),
                    order_id=order_id,
                    refund_reference=seen[0],
                    amount=Money(currency_code="GBP", amount_minor=seen[1]),
                )
            )

    def _wanted_back(self, payment: Payment) -> dict[str, Any]:
        of_one = {"payment_id": payment.payment_id} if self._chance.random() < 0.3 else {}
        orders = [each for each in self._market.orders if each.order_id == payment.order_id]
        match self._chance.choice(["amount", "units", "all"]):
            case "amount":
                # Mostly less than half: of what several give back there is enough then, for a while.
                part = min(self._part_of(payment), self._part_of(payment), key=lambda m: m.amount_minor)
                return {"amount": part, **of_one}
            case "units" if orders:
                line = self._chance.choice(orders[0].lines)
                quantity = self._chance.randint(1, line.quantity)
                return {"lines": [OrderLineUnits(line_id=line.line_id, quantity=quantity)], **of_one}
        return of_one

    def _part_of(self, payment: Payment) -> Money:
        amount_minor = self._chance.randint(1, payment.amount_minor)
        return Money(currency_code=payment.currency_code, amount_minor=amount_minor)

    async def _hand_out(self) -> None:
        """A coupon of a few uses, for anybody or for one each."""
        per_customer = self._chance.choice([None, 1])
        coupon = Coupon(
            coupon_code=f"C{self._chance.getrandbits(48):X}",
            promotion_id=PROMOTION_ID,
            usage_limit=self._chance.randint(1, COUPON_USES_MAX),
            usage_limit_per_customer=per_customer,
            active=True,
        )
        made = await self.command(
            pricing_pb.UpsertCouponsRequest(request_id=self.new_id(), coupons=[coupon])
        )
        if made is not None:
            self._market.coupons.append(coupon.coupon_code)


Counted = tuple[OrderLine, int]
"""A line, and how many of its units."""


def _unshipped(order: Order) -> list[Counted]:
    counted = [
        (each, each.quantity - each.fulfilled_quantity - each.cancelled_quantity) for each in order.lines
    ]
    return [(line, quantity) for line, quantity in counted if quantity]


def _away(order: Order) -> list[Counted]:
    """What was shipped and has not come back."""
    counted = [(each, each.fulfilled_quantity - each.returned_quantity) for each in order.lines]
    return [(line, quantity) for line, quantity in counted if quantity]


def _by_sku(units: Iterable[Counted]) -> dict[str, int]:
    found: dict[str, int] = {}
    for line, quantity in units:
        found[line.sku_id] = found.get(line.sku_id, 0) + quantity
    return found


def _on_hand(stock: Stock, location_id: str) -> int:
    return sum(level.on_hand for level in stock.levels if level.location_id == location_id)


async def give_back(caller: Caller, surplus_minor: Mapping[str, int]) -> None:
    """Staff returns what customers paid at the counter for orders that are closed, by order."""
    for order_id, amount_minor in sorted(surplus_minor.items()):
        await caller.command(
            ordering_pb.RecordRefundRequest(
                request_id=new_id(caller.chance),
                order_id=order_id,
                refund_reference=new_id(caller.chance),
                amount=Money(currency_code="GBP", amount_minor=amount_minor),
            )
        )
