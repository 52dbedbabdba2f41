"""Carts and price lists for prices that change from invoice to invoice. Pure.

The file knows several prices of most codes, often on one day, and no reason for them. The service
computes every price itself, so each price that was ever asked stands in a price list that staff made,
and a cart names its list. Lists are as few as can be found quickly, under two rules: a list has one
price of a code, and a list has every price of a basket.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ops.demo.sales import Line, by_invoice

LINES_PER_CART_MAX = 500
"""As many lines as the service takes in one cart: beyond it AddCartLine refuses CART_FULL."""


@dataclass(frozen=True, slots=True)
class Basket:
    """Lines of one invoice that can share a cart: few enough, and each code has one price.

    `ordinal` is 1, and more for what did not fit into the baskets before.
    """

    invoice: str
    ordinal: int
    lines: tuple[Line, ...]

    @property
    def prices_minor(self) -> dict[str, int]:
        """The price of each code."""
        return {line.code: line.unit_price_minor for line in self.lines}

    @property
    def cart_id(self) -> str:
        """The id of the cart that it becomes."""
        return f"cart-{self.invoice}-{self.ordinal}"


@dataclass(frozen=True, slots=True)
class PriceLists:
    """The prices of each list by code, and the list that each cart names, both by id."""

    prices_minor: Mapping[str, Mapping[str, int]]
    list_of_cart: Mapping[str, str]


def baskets(lines: Sequence[Line]) -> tuple[Basket, ...]:
    """The baskets of some sales, by invoice: each line goes into the first one that can take it."""
    return tuple(
        Basket(invoice, ordinal, tuple(together))
        for invoice, members in by_invoice(lines).items()
        for ordinal, together in enumerate(_first_fit(members), start=1)
    )


def _first_fit(lines: Iterable[Line]) -> list[list[Line]]:
    together: list[list[Line]] = []
    prices_minor: list[dict[str, int]] = []
    for line in lines:
        price = {line.code: line.unit_price_minor}
        for members, prices in zip(together, prices_minor, strict=True):
            if len(members) < LINES_PER_CART_MAX and _agree(prices, price):
                break
        else:
            together.append(members := [])
            prices_minor.append(prices := {})
        members.append(line)
        prices |= price
    return together


def price_lists(some: Iterable[Basket]) -> PriceLists:
    """Lists for baskets, largest first: each goes to the list that shares most prices with it."""
    lists: list[dict[str, int]] = []
    chosen: dict[str, int] = {}
    for basket in sorted(some, key=lambda each: (-len(each.prices_minor), each.cart_id)):
        prices_minor = basket.prices_minor
        index = _best(lists, prices_minor)
        if index == len(lists):
            lists.append({})
        lists[index] |= prices_minor
        chosen[basket.cart_id] = index
    ids = [f"list-{number:02}" for number in range(1, len(lists) + 1)]
    return PriceLists(
        prices_minor=dict(zip(ids, lists, strict=True)),
        list_of_cart={cart_id: ids[index] for cart_id, index in chosen.items()},
    )


def _best(lists: Sequence[Mapping[str, int]], prices_minor: Mapping[str, int]) -> int:
    """The place of the best list that has no other price of any of the codes; the end if none."""
    fitting = [index for index, each in enumerate(lists) if _agree(each, prices_minor)]
    return max(fitting, key=lambda index: len(lists[index].keys() & prices_minor), default=len(lists))


def _agree(one: Mapping[str, int], other: Mapping[str, int]) -> bool:
    return all(one.get(code, price_minor) == price_minor for code, price_minor in other.items())
