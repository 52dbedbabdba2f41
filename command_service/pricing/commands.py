"""The commands of pricing: pure. Rows are decided one by one; a refused one leaves the others be.

Three facts are told from here: what a list or promotion is, and which prices of a SKU are in force.
The last depends on time and on several lists, so whoever changes a list only notes that its SKUs'
prices are no longer told as they are (`shown_time`); the scheduler finds the note, and finds windows
that opened or closed since then, and sends ApplyPriceWindow for all SKUs of the list, in chunks.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import ClassVar

from command_service.errors import (
    PriceListCurrencyFixed,
    PriceListNotFound,
    PromotionNotFound,
    Refusal,
)
from command_service.pricing.domain import (
    COUPON,
    PRICE_BOOK,
    PRICE_BOOK_KEY,
    PRICE_LIST,
    PROMOTION,
    SKU_PRICES,
    Coupon,
    PriceBook,
    PriceList,
    PriceTier,
    Promotion,
    SkuPrices,
    holds_at,
    prices_in_force,
)
from command_service.pricing.events import (
    CouponUpserted,
    PriceListUpserted,
    PromotionUpserted,
    SkuPricesChanged,
)
from command_service.row_outcome import Outcomes, RowOutcome, RowState, refused_row, upserted
from command_service.world import Change, Command, Decision, Touch, World
from event_log.events import Event


@dataclass(frozen=True, slots=True)
class UpsertPriceLists(Command[Outcomes]):
    """Creates or replaces price lists; each id appears once."""

    is_bulk: ClassVar[bool] = True
    price_lists: tuple[PriceList, ...]

    @property
    def row_count(self) -> int:
        """As many as it names."""
        return len(self.price_lists)

    def touches(self) -> Iterable[Touch]:
        """The lists, and the book, which shows them to later commands of the batch."""
        yield from (PRICE_LIST.create(row.price_list_id) for row in self.price_lists)
        yield PRICE_BOOK.change(PRICE_BOOK_KEY)

    def decide(self, world: World, now: datetime) -> Decision[Outcomes]:
        """Writes and tells what differs; refuses rows that would change a list's currency."""
        outcomes: list[RowOutcome] = []
        changed: list[PriceList] = []
        for index, row in enumerate(self.price_lists):
            old = world.get(PRICE_LIST, row.price_list_id)
            if old is not None and old.currency_code != row.currency_code:
                outcomes.append(refused_row(index, row.price_list_id, _currency_fixed(old)))
                continue
            new = _next_price_list(old, row, now)
            outcomes.append(RowOutcome(index, row.price_list_id, upserted(old, new)))
            if new != old:
                changed.append(new)
        book = _book(world)
        lists = {**book.price_lists, **{new.price_list_id: new for new in changed}}
        return Decision(
            tuple(outcomes),
            [
                *(PRICE_LIST.changed(new.price_list_id, new) for new in changed),
                PRICE_BOOK.changed(PRICE_BOOK_KEY, replace(book, price_lists=lists)),
            ],
            [PriceListUpserted(new, holds_at(new, now)) for new in changed],
        )


def _currency_fixed(price_list: PriceList) -> Refusal:
    return PriceListCurrencyFixed(
        price_list_id=price_list.price_list_id, currency_code=price_list.currency_code
    )


def _next_price_list(old: PriceList | None, row: PriceList, now: datetime) -> PriceList:
    """The list as the row wants it, with what is known of how its SKUs' prices are shown."""
    if old is None:
        # A list begins without prices: there is nothing to tell.
        return replace(row, version=1, shown_time=now)
    new = replace(row, version=old.version, shown_time=old.shown_time)
    if new == old:
        return old
    stays_hidden = old.is_hidden(now) and not holds_at(new, now)
    is_only_renamed = replace(new, title=old.title) == old
    shown_time = old.shown_time if stays_hidden or is_only_renamed else None
    return replace(new, version=old.version + 1, shown_time=shown_time)


@dataclass(frozen=True, slots=True)
class PriceRow:
    """The tiers of one SKU by rising quantity; none takes it off the list."""

    sku_id: str
    tiers: tuple[PriceTier, ...]


@dataclass(frozen=True, slots=True)
class UpsertPrices(Command[Outcomes]):
    """Sets the prices of SKUs in one list; each SKU appears once."""

    is_bulk: ClassVar[bool] = True
    price_list_id: str
    rows: tuple[PriceRow, ...]

    @property
    def row_count(self) -> int:
        """As many as it names."""
        return len(self.rows)

    def touches(self) -> Iterable[Touch]:
        """The list, so that it stays as it is meanwhile, the SKUs' prices, and all lists."""
        yield PRICE_LIST.change(self.price_list_id)
        yield from (SKU_PRICES.create(row.sku_id) for row in self.rows)
        yield PRICE_BOOK.read(PRICE_BOOK_KEY)

    def decide(self, world: World, now: datetime) -> Decision[Outcomes]:
        """Writes what differs; tells the SKUs whose prices in force changed.

        Raises:
            PriceListNotFound: there is no such list.
        """
        price_list = _price_list(world, self.price_list_id)
        book = _book(world)
        outcomes: list[RowOutcome] = []
        changes: list[Change] = []
        events: list[Event] = []
        for index, row in enumerate(self.rows):
            old = world.get(SKU_PRICES, row.sku_id) or SkuPrices(row.sku_id, {})
            new, state = self._applied(row, old)
            outcomes.append(RowOutcome(index, row.sku_id, state))
            if state is not RowState.UNCHANGED:
                shown, told = _shown(new, book, now)
                changes.append(SKU_PRICES.changed(row.sku_id, shown))
                events.extend(told)
        if any(outcome.state is RowState.CREATED for outcome in outcomes):
            # Whoever has listed the SKUs of the list has not seen all of them any more.
            new_list = replace(price_list, version=price_list.version + 1)
            changes.append(PRICE_LIST.changed(self.price_list_id, new_list))
        return Decision(tuple(outcomes), changes, events)

    def _applied(self, row: PriceRow, old: SkuPrices) -> tuple[SkuPrices, RowState]:
        old_tiers = old.tiers_by_list.get(self.price_list_id, ())
        if old_tiers == row.tiers:
            return old, RowState.UNCHANGED
        tiers_by_list = {**old.tiers_by_list, self.price_list_id: row.tiers}
        if not row.tiers:
            del tiers_by_list[self.price_list_id]
        state = RowState.UPDATED if old_tiers else RowState.CREATED
        return replace(old, tiers_by_list=tiers_by_list), state


@dataclass(frozen=True, slots=True)
class ApplyPriceWindow(Command[int]):
    """Shows a list as it is now for some of its SKUs; answers how many changed their prices.

    The last chunk brings listed_time, and the list is marked as shown as of then, if its version still
    is what it was before its SKUs were listed. If not, it stays due.
    """

    is_bulk: ClassVar[bool] = True
    price_list_id: str
    sku_ids: tuple[str, ...]
    list_version: int
    listed_time: datetime | None

    @property
    def row_count(self) -> int:
        """As many as it names."""
        return len(self.sku_ids)

    def touches(self) -> Iterable[Touch]:
        """The list, the SKUs' prices, and all lists."""
        yield PRICE_LIST.change(self.price_list_id)
        yield from (SKU_PRICES.change(sku_id) for sku_id in self.sku_ids)
        yield PRICE_BOOK.read(PRICE_BOOK_KEY)

    def decide(self, world: World, now: datetime) -> Decision[int]:
        """Tells the SKUs whose prices in force changed.

        Raises:
            PriceListNotFound: there is no such list.
        """
        price_list = _price_list(world, self.price_list_id)
        book = _book(world)
        changes: list[Change] = []
        events: list[Event] = []
        for sku_id in self.sku_ids:
            prices = world.get(SKU_PRICES, sku_id)
            if prices is not None:
                shown, told = _shown(prices, book, now)
                changes.extend(SKU_PRICES.changed(sku_id, shown) for _ in told)
                events.extend(told)
        changed_count = len(events)
        marked = self._marked(price_list, now)
        if marked is not price_list:
            changes.append(PRICE_LIST.changed(self.price_list_id, marked))
            events.append(PriceListUpserted(marked, holds_at(marked, now)))
        return Decision(changed_count, changes, events)

    def _marked(self, price_list: PriceList, now: datetime) -> PriceList:
        """The list, marked as shown if the chunks held all its SKUs and it was not marked before."""
        if self.listed_time is None or self.list_version != price_list.version:
            return price_list
        if price_list.shown_time is not None and self.listed_time <= price_list.shown_time:
            return price_list
        return replace(price_list, shown_time=min(self.listed_time, now))


def _price_list(world: World, price_list_id: str) -> PriceList:
    price_list = world.get(PRICE_LIST, price_list_id)
    if price_list is None:
        raise PriceListNotFound(price_list_id=price_list_id)
    return price_list


def _shown(
    prices: SkuPrices, book: PriceBook, now: datetime
) -> tuple[SkuPrices, list[SkuPricesChanged]]:
    """The prices, those in force noted as told; and the event that tells them, if they differ."""
    in_force = prices_in_force(prices, book, now)
    if in_force.digest == prices.shown_digest:
        return prices, []
    return replace(prices, shown_digest=in_force.digest), [SkuPricesChanged(in_force)]


@dataclass(frozen=True, slots=True)
class UpsertPromotions(Command[Outcomes]):
    """Creates or replaces promotions; each id appears once."""

    is_bulk: ClassVar[bool] = True
    promotions: tuple[Promotion, ...]

    @property
    def row_count(self) -> int:
        """As many as it names."""
        return len(self.promotions)

    def touches(self) -> Iterable[Touch]:
        """The promotions, and the book, which shows them to later commands of the batch."""
        yield from (PROMOTION.create(row.promotion_id) for row in self.promotions)
        yield PRICE_BOOK.change(PRICE_BOOK_KEY)

    def decide(self, world: World, now: datetime) -> Decision[Outcomes]:
        """Writes and tells what differs."""
        outcomes: list[RowOutcome] = []
        changed: list[Promotion] = []
        for index, row in enumerate(self.promotions):
            old = world.get(PROMOTION, row.promotion_id)
            same = old is not None and replace(row, shown_in_force=old.shown_in_force) == old
            new = old if same else replace(row, shown_in_force=row.is_in_force(now))
            outcomes.append(RowOutcome(index, row.promotion_id, upserted(old, new)))
            if new is not None and new is not old:
                changed.append(new)
        book = _book(world)
        promotions = {**book.promotions, **{new.promotion_id: new for new in changed}}
        return Decision(
            tuple(outcomes),
            [
                *(PROMOTION.changed(new.promotion_id, new) for new in changed),
                PRICE_BOOK.changed(PRICE_BOOK_KEY, replace(book, promotions=promotions)),
            ],
            [PromotionUpserted(new, new.shown_in_force) for new in changed],
        )


@dataclass(frozen=True, slots=True)
class ApplyPromotionWindow(Command[bool]):
    """Tells that a promotion's window opened or closed; answers whether it is in force."""

    promotion_id: str

    def touches(self) -> Iterable[Touch]:
        """The promotion."""
        return (PROMOTION.change(self.promotion_id),)

    def decide(self, world: World, now: datetime) -> Decision[bool]:
        """Tells it once.

        Raises:
            PromotionNotFound: there is none.
        """
        promotion = world.get(PROMOTION, self.promotion_id)
        if promotion is None:
            raise PromotionNotFound(promotion_id=self.promotion_id)
        in_force = promotion.is_in_force(now)
        if promotion.shown_in_force is in_force:
            return Decision(in_force)
        after = replace(promotion, shown_in_force=in_force)
        return Decision(
            in_force,
            [PROMOTION.changed(self.promotion_id, after)],
            [PromotionUpserted(after, in_force)],
        )


@dataclass(frozen=True, slots=True)
class UpsertCoupons(Command[Outcomes]):
    """Creates or replaces coupons; each code, in capitals, appears once. Uses stay counted.

    A limit below what is used already is allowed: then nothing more can be used.
    """

    is_bulk: ClassVar[bool] = True
    coupons: tuple[Coupon, ...]

    @property
    def row_count(self) -> int:
        """As many as it names."""
        return len(self.coupons)

    def touches(self) -> Iterable[Touch]:
        """The coupons, and their promotions, which are never removed and so need no lock."""
        for row in self.coupons:
            yield COUPON.create(row.coupon_code)
            yield PROMOTION.read(row.promotion_id)

    def decide(self, world: World, now: datetime) -> Decision[Outcomes]:
        """Writes and tells what differs; refuses rows whose promotion is unknown."""
        outcomes: list[RowOutcome] = []
        changed: list[Coupon] = []
        for index, row in enumerate(self.coupons):
            if world.get(PROMOTION, row.promotion_id) is None:
                refusal = PromotionNotFound(promotion_id=row.promotion_id)
                outcomes.append(refused_row(index, row.coupon_code, refusal))
                continue
            old = world.get(COUPON, row.coupon_code)
            new = row if old is None else _with_uses_of(old, row)
            outcomes.append(RowOutcome(index, row.coupon_code, upserted(old, new)))
            if new != old:
                changed.append(new)
        return Decision(
            tuple(outcomes),
            [COUPON.changed(new.coupon_code, new) for new in changed],
            [CouponUpserted(new) for new in changed],
        )


def _with_uses_of(old: Coupon, row: Coupon) -> Coupon:
    return replace(row, used_count=old.used_count, held_under_limit=old.held_under_limit)


def _book(world: World) -> PriceBook:
    book = world.get(PRICE_BOOK, PRICE_BOOK_KEY)
    assert book is not None, "the price book is always there"
    return book
