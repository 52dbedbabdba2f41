"""A shop without a database: commands are decided one after another on aggregates in memory."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import pytest

from command_service.cart.domain import CART, Cart
from command_service.catalog.domain import SKU, SaleState, Sku
from command_service.checkout.add_cart_line import AddCartLine
from command_service.checkout.apply_coupon import ApplyCoupon, RemoveCoupon
from command_service.checkout.create_cart import CreateCart
from command_service.checkout.merge_carts import MergeCarts
from command_service.checkout.reprice_cart import RepriceCart
from command_service.checkout.set_cart_line_quantity import SetCartLineQuantity
from command_service.errors import Refusal
from command_service.pricing.domain import (
    COUPON,
    COUPON_CUSTOMER,
    PRICE_BOOK,
    PRICE_BOOK_KEY,
    PRICE_LIST,
    SKU_PRICES,
    Benefit,
    Coupon,
    CouponCustomer,
    PercentageOff,
    PriceBook,
    PriceTier,
    SkuPrices,
)
from command_service.world import Command, Decision, NotLoadedError, Touch, World
from event_log.codec import encode_event
from event_log.events import Event
from tests.command_service.pricing.shop import price_list, promotion

AnswerT = TypeVar("AnswerT")

CART_IDLE = timedelta(hours=2)
OPENING = datetime(2010, 12, 1, 8, 0, tzinfo=UTC)


def create(cart_id: str = "c1", currency_code: str = "GBP", **chosen: str) -> CreateCart:
    names = {"customer_id": "", "customer_group": "", "price_list_id": "", **chosen}
    return CreateCart(cart_id=cart_id, currency_code=currency_code, cart_idle=CART_IDLE, **names)


def add(
    sku_id: str,
    quantity: int = 1,
    *,
    cart_id: str = "c1",
    line_id: str = "",
    etag: str | None = None,
) -> AddCartLine:
    return AddCartLine(cart_id, etag, line_id or sku_id, sku_id, quantity, CART_IDLE)


def set_quantity(
    line_id: str, quantity: int, *, cart_id: str = "c1", etag: str | None = None
) -> SetCartLineQuantity:
    return SetCartLineQuantity(cart_id, etag, line_id, quantity, CART_IDLE)


def apply(coupon_code: str, *, cart_id: str = "c1", etag: str | None = None) -> ApplyCoupon:
    return ApplyCoupon(cart_id, etag, coupon_code, CART_IDLE)


def take_off(coupon_code: str, *, cart_id: str = "c1") -> RemoveCoupon:
    return RemoveCoupon(cart_id, None, coupon_code, CART_IDLE)


def reprice(*, cart_id: str = "c1", customer_id: str | None = None) -> RepriceCart:
    return RepriceCart(cart_id, customer_id, CART_IDLE)


def merge(from_cart_id: str, into_cart_id: str) -> MergeCarts:
    return MergeCarts(from_cart_id, into_cart_id, CART_IDLE)


class ShopInMemory:
    """Holds what is sold at which price; carries commands out as a batch of one would."""

    def __init__(self) -> None:
        self.world = World()
        self.now = OPENING
        self.events: list[Event] = []
        self.world.load(PRICE_BOOK, {PRICE_BOOK_KEY: PriceBook({}, {})})
        self.keep_list("retail")

    def carry_out(self, command: Command[AnswerT]) -> AnswerT:
        """Raises the refusal if it is refused, and then nothing has changed."""
        self._load(command.touches())
        self._load(command.needs(self.world))
        decision: Decision[AnswerT] = command.decide(self.world, self.now)
        self.world.apply(decision.changes)
        for event in decision.events:
            encode_event(event)
        self.events.extend(decision.events)
        return decision.answer

    def cart(self, cart_id: str = "c1") -> Cart:
        cart = self.world.get(CART, cart_id)
        assert cart is not None
        return cart

    def snapshot(self) -> object:
        """All aggregates and the number of facts: equal before and after a refusal."""
        rows = {
            (rank, key): self.world.get(self.world._kinds[rank], key)
            for rank, loaded in self.world._loaded.items()
            for key in loaded
        }
        return {place: row for place, row in rows.items() if row is not None}, len(self.events)

    def pass_time(self, span: timedelta) -> None:
        self.now += span

    # --- what staff have decided -------------------------------------------------------------

    def keep_list(
        self, price_list_id: str, currency_code: str = "GBP", *, tax_inclusive: bool = True, **other: Any
    ) -> None:
        facts = {"title": price_list_id, "currency_code": currency_code, **other}
        found = price_list(price_list_id, tax_inclusive=tax_inclusive, **facts)
        self.world.load(PRICE_LIST, {price_list_id: found})
        book = self.book
        self._keep_book(replace(book, price_lists={**book.price_lists, price_list_id: found}))

    def sell(self, sku_id: str, unit_price_minor: int, *, price_list_id: str = "retail") -> None:
        sku = Sku(
            sku_id=sku_id,
            product_id=sku_id,
            title=f"a {sku_id}",
            attributes={},
            weight_grams=None,
            dimensions=None,
            active=True,
            sale_state=SaleState.ON_SALE,
            product_active=True,
        )
        tiers = {price_list_id: (PriceTier(1, unit_price_minor),)}
        self.world.load(SKU, {sku_id: sku})
        self.world.load(SKU_PRICES, {sku_id: SkuPrices(sku_id, tiers)})

    def pause(self, sku_id: str) -> None:
        sku = self.world.get(SKU, sku_id)
        assert sku is not None
        self.world.load(SKU, {sku_id: replace(sku, sale_state=SaleState.PAUSED)})

    def unprice(self, sku_id: str) -> None:
        self.world.load(SKU_PRICES, {sku_id: SkuPrices(sku_id, {})})

    def promote(
        self,
        promotion_id: str,
        benefit: Benefit | None = None,
        *,
        coupon_required: bool = True,
        end_time: datetime | None = None,
    ) -> None:
        found = promotion(
            promotion_id,
            benefit if benefit is not None else PercentageOff(1_000),
            title=promotion_id,
            coupon_required=coupon_required,
            end_time=end_time,
        )
        book = self.book
        self._keep_book(replace(book, promotions={**book.promotions, promotion_id: found}))

    def give_coupon(
        self,
        coupon_code: str,
        promotion_id: str,
        *,
        usage_limit: int | None = None,
        usage_limit_per_customer: int | None = None,
        used_count: int = 0,
    ) -> None:
        coupon = Coupon(
            coupon_code=coupon_code,
            promotion_id=promotion_id,
            usage_limit=usage_limit,
            usage_limit_per_customer=usage_limit_per_customer,
            active=True,
            used_count=used_count,
        )
        self.world.load(COUPON, {coupon_code: coupon})

    def count_use(self, coupon_code: str, customer_id: str) -> None:
        uses = CouponCustomer(coupon_code, customer_id, 1)
        self.world.load(COUPON_CUSTOMER, {(coupon_code, customer_id): uses})

    @property
    def book(self) -> PriceBook:
        book = self.world.get(PRICE_BOOK, PRICE_BOOK_KEY)
        assert book is not None
        return book

    def _keep_book(self, book: PriceBook) -> None:
        self.world.load(PRICE_BOOK, {PRICE_BOOK_KEY: book})

    def _load(self, touches: Iterable[Touch]) -> None:
        """What was never mentioned does not exist."""
        for touch in touches:
            try:
                self.world.get(touch.kind, touch.key)
            except NotLoadedError:
                self.world.load(touch.kind, {touch.key: None})


def refused(shop: ShopInMemory, command: Command[Any], refusal: type[Refusal]) -> dict[str, str]:
    """The refusal's facts, once it is certain that nothing has changed."""
    before = shop.snapshot()
    with pytest.raises(refusal) as caught:
        shop.carry_out(command)
    assert shop.snapshot() == before
    return caught.value.facts


def event_names(shop: ShopInMemory, since: int) -> list[str]:
    """What was told since so many events."""
    return [type(event).__name__ for event in shop.events[since:]]
