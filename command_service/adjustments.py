"""What promotions take off a line: pricing works it out, carts keep it, orders freeze it."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any


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


def stored(adjustments: Iterable[Adjustment]) -> str:
    """JSON as tables keep it: objects with the names of the fields, in the order of application."""
    return json.dumps([asdict(adjustment) for adjustment in adjustments])


def restored(objects: Iterable[Mapping[str, Any]]) -> tuple[Adjustment, ...]:
    """The adjustments of a stored JSON array, as the driver parsed it."""
    return tuple(Adjustment(**each) for each in objects)
