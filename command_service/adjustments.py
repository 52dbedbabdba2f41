"""What promotions take off a line: pricing works it out, carts keep it, orders freeze it."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Adjustment:
    """A promotion's effect on one line; fields as in cart.proto."""

    promotion_id: str
    title: str
    coupon_code: str
    """The coupon that switched it on; "" for an automatic one."""
    amount_minor: int
    """Zero or negative."""
    exact_amount_minor: str
    """The fraction that was rounded, such as "-51/2"; "" when nothing was."""


_NONE = "[]"


def stored(adjustments: Sequence[Adjustment]) -> str:
    """JSON as tables keep it: objects with the names of the fields, in the order of application."""
    return json.dumps([asdict(adjustment) for adjustment in adjustments]) if adjustments else _NONE


def restored(text: str) -> tuple[Adjustment, ...]:
    """The adjustments of a stored JSON array, read as text: most lines have none to be parsed."""
    return () if text == _NONE else tuple(Adjustment(**each) for each in json.loads(text))
