"""From list prices to a total, step by step: the steps add up to it exactly."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from history_service.money_text import money_text
from shopkeeper.cart.v1.cart_history_service_pb2 import TotalStep


@dataclass(frozen=True, slots=True)
class LineRow:
    """One line of a cart or an order, as it was last priced or frozen.

    adjustments: objects with the fields of cart.proto's Adjustment, in the order of application.
    """

    line_id: str
    sku_id: str
    quantity: int
    unit_price_minor: int
    price_list_id: str
    price_tier_min_quantity: int
    adjustments: Sequence[Mapping[str, Any]]


def total_steps(lines: Iterable[LineRow], currency_code: str) -> list[TotalStep]:
    """One step for each line's list price, one for each adjustment of it."""
    return [step for line in lines for step in _line_steps(line, currency_code)]


def _line_steps(line: LineRow, currency_code: str) -> list[TotalStep]:
    list_price = TotalStep(
        line_id=line.line_id,
        sku_id=line.sku_id,
        explanation=_list_price_text(line, currency_code),
        amount_minor=line.quantity * line.unit_price_minor,
        rule_id=line.price_list_id,
    )
    return [list_price, *(_adjustment_step(line, a) for a in line.adjustments)]


def _list_price_text(line: LineRow, currency_code: str) -> str:
    unit_price = money_text(line.unit_price_minor, currency_code)
    tier = line.price_tier_min_quantity
    from_tier = f", the price from {tier} units on" if tier > 1 else ""
    return f"{line.quantity} x {unit_price} from list {line.price_list_id}{from_tier}"


def _adjustment_step(line: LineRow, adjustment: Mapping[str, Any]) -> TotalStep:
    return TotalStep(
        line_id=line.line_id,
        sku_id=line.sku_id,
        explanation=_adjustment_text(adjustment),
        amount_minor=adjustment["amount_minor"],
        exact_amount_minor=adjustment["exact_amount_minor"],
        rule_id=adjustment["promotion_id"],
    )


def _adjustment_text(adjustment: Mapping[str, Any]) -> str:
    title, code = adjustment["title"], adjustment["coupon_code"]
    coupon = f" with coupon {code}" if code else ""
    exact = adjustment["exact_amount_minor"]
    rounded = f", rounded from {exact} minor units" if exact else ""
    return f"{title}{coupon}{rounded}"
