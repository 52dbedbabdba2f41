"""Price lists, prices, promotions and coupons: rows of `tables` to aggregates and back."""

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import groupby
from operator import itemgetter
from typing import Any

from command_service.database_failures import Interrupted
from command_service.keyed_rows import (
    assemble_rows,
    columns,
    load_rows,
    lock_roots,
    without_root,
)
from command_service.pipeline import Row, Statement
from command_service.pricing.domain import (
    COUPON,
    COUPON_CUSTOMER,
    PRICE_BOOK,
    PRICE_BOOK_KEY,
    PRICE_LIST,
    PROMOTION,
    SKU_PRICES,
    AmountOff,
    Benefit,
    BuyXGetY,
    Coupon,
    CouponCustomer,
    FreeShipping,
    PercentageOff,
    PriceBook,
    PriceList,
    PriceTier,
    Promotion,
    SkuPrices,
)
from command_service.pricing.tables import (
    ADD_PRICES,
    LOCK_SKU_PRICE_ROOTS,
    MAKE_COUPONS,
    MAKE_PRICE_LISTS,
    MAKE_PROMOTIONS,
    MAKE_SKU_PRICE_ROOTS,
    PRICE_LISTS,
    PROMOTIONS,
    READ_COUPON_CUSTOMERS,
    READ_COUPONS,
    READ_PRICE_BOOK,
    READ_PRICE_LISTS,
    READ_PRICES,
    READ_PROMOTIONS,
    REMOVE_PRICES,
    SAVE_COUPON_CUSTOMERS,
    SAVE_COUPONS,
    SAVE_PRICE_LISTS,
    SAVE_PROMOTIONS,
    SAVE_SHOWN_DIGESTS,
)
from command_service.unit_of_work import Changed, Keys

# --- price lists ----------------------------------------------------------------------------------


class PriceListRepository:
    """Keeps price lists, without their prices."""

    kind = PRICE_LIST

    def load(self, keys: Keys[str]) -> list[Statement]:
        """Locks and reads price lists."""
        return load_rows(keys, table="price_lists", make=MAKE_PRICE_LISTS, read=READ_PRICE_LISTS)

    def assemble(self, keys: Keys[str], results: Sequence[Sequence[Row]]) -> dict[str, PriceList | None]:
        """Each price list, or None."""
        return assemble_rows(keys, results, _price_list)

    def save(self, changed: Sequence[Changed[str, PriceList]]) -> list[Statement]:
        """Writes changed price lists."""
        return [Statement(SAVE_PRICE_LISTS, columns(_price_list_row(p) for _, _, p in changed))]


def _price_list(price_list_id: str, version: int, *rest: Any) -> PriceList:
    title, currency_code, customer_group, priority, tax_inclusive, *window, named_only, shown_time = rest
    start_time, end_time = window
    return PriceList(
        price_list_id=price_list_id,
        title=title,
        currency_code=currency_code,
        customer_group=customer_group,
        priority=priority,
        tax_inclusive=tax_inclusive,
        start_time=start_time,
        end_time=end_time,
        named_only=named_only,
        version=version,
        shown_time=shown_time,
    )


def _price_list_row(p: PriceList) -> tuple[object, ...]:
    return (
        p.price_list_id,
        p.version,
        p.title,
        p.currency_code,
        p.customer_group,
        p.priority,
        p.tax_inclusive,
        p.start_time,
        p.end_time,
        p.named_only,
        p.shown_time,
    )


# --- prices ---------------------------------------------------------------------------------------


SKUS_KEPT_MAX = 20_000
"""Rows are read anew each time, but few differ from what they were: 400 bytes for each row."""

ROWS_KEPT_MAX = 12
"""Prices of more rows are made anew: a SKU may have 20 tiers in each list, and any number of lists."""


class SkuPricesRepository:
    """Keeps the prices of each SKU, over all lists. Reading them alone takes one statement."""

    kind = SKU_PRICES

    def load(self, keys: Keys[str]) -> list[Statement]:
        """Locks the SKUs' roots, if they shall be changed, and reads prices."""
        roots = lock_roots(keys, make=MAKE_SKU_PRICE_ROOTS, lock=LOCK_SKU_PRICE_ROOTS)
        return [*roots, Statement(READ_PRICES, (keys.all,))]

    def assemble(self, keys: Keys[str], results: Sequence[Sequence[Row]]) -> dict[str, SkuPrices | None]:
        """Each SKU's prices; None where there are none, or were none when they were to be locked."""
        *roots, price_rows = results
        absent = without_root(keys, roots)
        found: dict[str, SkuPrices | None] = dict.fromkeys(keys.all)
        for sku_id, rows in groupby(sorted(price_rows), key=itemgetter(0)):
            if sku_id not in absent:
                found[sku_id] = _sku_prices(tuple(rows))
        return found

    def save(self, changed: Sequence[Changed[str, SkuPrices]]) -> list[Statement]:
        """Replaces the tiers of the lists that differ."""
        replaced = [pair for change in changed for pair in _replaced_lists(change)]
        added = [row for _, _, prices in changed for row in _price_rows(prices, set(replaced))]
        digests = columns((prices.sku_id, prices.shown_digest) for _, _, prices in changed)
        statements = [Statement(REMOVE_PRICES, columns(replaced))] if replaced else []
        if added:
            statements.append(Statement(ADD_PRICES, columns(added)))
        return [*statements, Statement(SAVE_SHOWN_DIGESTS, digests)]


def _sku_prices(rows: tuple[Row, ...]) -> SkuPrices:
    """The prices of sorted rows of READ_PRICES; the same ones for the same rows."""
    return _kept_prices(rows) if len(rows) <= ROWS_KEPT_MAX else _made_prices(rows)


def _made_prices(rows: tuple[Row, ...]) -> SkuPrices:
    tiers_by_list = {
        list_id: tuple(PriceTier(*row[2:4]) for row in tiers)
        for list_id, tiers in groupby(rows, key=itemgetter(1))
    }
    sku_id, *_, shown_digest = rows[0]
    return SkuPrices(sku_id, tiers_by_list, shown_digest)


_kept_prices = lru_cache(maxsize=SKUS_KEPT_MAX)(_made_prices)


def _replaced_lists(change: Changed[str, SkuPrices]) -> Iterable[tuple[str, str]]:
    before = change.before.tiers_by_list if change.before else {}
    after = change.after.tiers_by_list
    differing = (list_id for list_id in {*before, *after} if before.get(list_id) != after.get(list_id))
    return ((change.key, list_id) for list_id in sorted(differing))


def _price_rows(prices: SkuPrices, replaced: set[tuple[str, str]]) -> Iterable[tuple[object, ...]]:
    for list_id, tiers in prices.tiers_by_list.items():
        if (prices.sku_id, list_id) in replaced:
            for tier in tiers:
                yield (prices.sku_id, list_id, tier.min_quantity, tier.unit_price_minor)


# --- promotions -----------------------------------------------------------------------------------


class PromotionRepository:
    """Keeps promotions."""

    kind = PROMOTION

    def load(self, keys: Keys[str]) -> list[Statement]:
        """Locks and reads promotions."""
        return load_rows(keys, table="promotions", make=MAKE_PROMOTIONS, read=READ_PROMOTIONS)

    def assemble(self, keys: Keys[str], results: Sequence[Sequence[Row]]) -> dict[str, Promotion | None]:
        """Each promotion, or None."""
        return assemble_rows(keys, results, _promotion)

    def save(self, changed: Sequence[Changed[str, Promotion]]) -> list[Statement]:
        """Writes changed promotions."""
        return [Statement(SAVE_PROMOTIONS, columns(_promotion_row(p) for _, _, p in changed))]


def _promotion(promotion_id: str, _version: int, title: str, *rest: Any) -> Promotion:
    *benefit, sku_ids, minimum_minor, minimum_currency_code = rest[:8]
    return Promotion(
        promotion_id,
        title,
        _benefit(*benefit),
        frozenset(sku_ids),  # the same one if it is one already
        minimum_minor,
        minimum_currency_code,
        *rest[8:],
    )


def _benefit(
    basis_points: int | None,
    amount_minor: int | None,
    currency_code: str | None,
    buy_quantity: int | None,
    get_quantity: int | None,
) -> Benefit:
    if basis_points is not None:
        return PercentageOff(basis_points)
    if amount_minor is not None and currency_code is not None:
        return AmountOff(currency_code, amount_minor)
    if buy_quantity is not None and get_quantity is not None:
        return BuyXGetY(buy_quantity, get_quantity)
    return FreeShipping()


def _promotion_row(p: Promotion) -> tuple[object, ...]:
    percentage, amount, offer = p.percentage_off, p.amount_off, p.buy_x_get_y
    return (
        p.promotion_id,
        p.title,
        percentage.basis_points if percentage else None,
        amount.amount_minor if amount else None,
        amount.currency_code if amount else None,
        offer.buy_quantity if offer else None,
        offer.get_quantity if offer else None,
        json.dumps(sorted(p.sku_ids)),
        p.minimum_subtotal_minor,
        p.minimum_subtotal_currency_code,
        p.priority,
        p.coupon_required,
        p.start_time,
        p.end_time,
        p.active,
        p.exclusive,
        p.shown_in_force,
    )


# --- the price book -------------------------------------------------------------------------------


PROMOTION_SKUS_KEPT_MAX = 250_000
"""Of promotions in the book, whose other columns are read each time: 25 MB. The rest is read as well."""

_SKUS = PROMOTIONS.columns.keys().index("sku_ids")

_Place = tuple[str, str, int]
"""Where SKUs of a promotion stand: the log's incarnation, the promotion and its version."""


class PriceBookRepository:
    """Reads all price lists, and all promotions that are or may come into force.

    It is never written: a command that changes a list or a promotion states the changed book too, for
    the commands after it in the batch.
    """

    kind = PRICE_BOOK

    def __init__(self) -> None:
        self._kept: dict[_Place, frozenset[str]] = {}

    def load(self, keys: Keys[str]) -> list[Statement]:
        """Reads the book, without the SKUs that are kept."""
        known = columns(self._kept) if self._kept else ([], [], [])
        return [Statement(READ_PRICE_BOOK, known)]

    def assemble(self, keys: Keys[str], results: Sequence[Sequence[Row]]) -> dict[str, PriceBook]:
        """The book, which is always there.

        Raises:
            Interrupted: another lane has let go of what this one still had when it asked.
        """
        lists, promotions, skus = {}, {}, dict[_Place, frozenset[str]]()
        width = len(PRICE_LISTS.columns)
        for row in results[0]:
            if row[0] is not None:
                lists[row[0]] = _price_list(*row[:width])
            else:
                *fields, incarnation = row[width:]
                place = (incarnation, fields[0], fields[1])
                skus[place] = fields[_SKUS] = self._skus(place, fields[_SKUS])
                promotions[fields[0]] = _promotion(*fields)
        self._keep(skus)
        return {PRICE_BOOK_KEY: PriceBook(lists, promotions)}

    def _skus(self, place: _Place, read: list[str] | None) -> frozenset[str]:
        if read is not None:
            return frozenset(read)
        if place not in self._kept:
            raise Interrupted("the SKUs of a promotion are no longer kept", code="40")
        return self._kept[place]

    def _keep(self, skus: Mapping[_Place, frozenset[str]]) -> None:
        """Keeps what is in the book and fits.

        A lane that still counted on the rest asks again. To be put off once more it takes another change
        that the other lane reads first, so the two cannot hold each other up for good.
        """
        added = {place: each for place, each in skus.items() if place not in self._kept}
        self._kept = {place: each for place, each in self._kept.items() if place in skus}
        room = PROMOTION_SKUS_KEPT_MAX - _size(self._kept)
        for place, each in added.items():
            room -= 1 + len(each)
            if room >= 0:
                self._kept[place] = each

    def save(self, changed: Sequence[Changed[str, PriceBook]]) -> list[Statement]:
        """Nothing: its lists and promotions are saved by themselves."""
        return []


def _size(kept: Mapping[_Place, frozenset[str]]) -> int:
    return len(kept) + sum(map(len, kept.values()))


# --- coupons --------------------------------------------------------------------------------------


class CouponRepository:
    """Keeps coupons with their count of uses."""

    kind = COUPON

    def load(self, keys: Keys[str]) -> list[Statement]:
        """Locks and reads coupons."""
        return load_rows(keys, table="coupons", make=MAKE_COUPONS, read=READ_COUPONS)

    def assemble(self, keys: Keys[str], results: Sequence[Sequence[Row]]) -> dict[str, Coupon | None]:
        """Each coupon, or None."""
        return assemble_rows(keys, results, _coupon)

    def save(self, changed: Sequence[Changed[str, Coupon]]) -> list[Statement]:
        """Writes changed coupons."""
        rows = [
            (
                c.coupon_code,
                c.promotion_id,
                c.usage_limit,
                c.usage_limit_per_customer,
                c.active,
                c.used_count,
                c.held_under_limit,
            )
            for _, _, c in changed
        ]
        return [Statement(SAVE_COUPONS, columns(rows))]


def _coupon(coupon_code: str, _version: int, *fields: Any) -> Coupon:
    return Coupon(coupon_code, *fields)


class CouponCustomerRepository:
    """Keeps each customer's uses of a coupon, guarded by the coupon's lock: whatever the mode."""

    kind = COUPON_CUSTOMER

    def load(self, keys: Keys[tuple[str, str]]) -> list[Statement]:
        """Reads the counts."""
        return [Statement(READ_COUPON_CUSTOMERS, columns(keys.all))]

    def assemble(
        self, keys: Keys[tuple[str, str]], results: Sequence[Sequence[Row]]
    ) -> dict[tuple[str, str], CouponCustomer | None]:
        """Each customer's count, or None before the first use."""
        found: dict[tuple[str, str], CouponCustomer | None] = dict.fromkeys(keys.all)
        found.update((row[:2], CouponCustomer(*row)) for row in results[0])
        return found

    def save(self, changed: Sequence[Changed[tuple[str, str], CouponCustomer]]) -> list[Statement]:
        """Writes changed counts."""
        rows = [(c.coupon_code, c.customer_id, c.used_count, c.held_under_limit) for _, _, c in changed]
        return [Statement(SAVE_COUPON_CUSTOMERS, columns(rows))]
