"""What whoever is on call does next about a violation: commands that exist, with the thing's id."""

import shlex
from collections.abc import Mapping

from ops.verify.violations import Violation

OF_A_VIEW = "`shopkeeper rebuild` makes all views anew from the log, and says how they differ"

BY_CHECK: Mapping[str, str] = {
    "inv_stock_ledger": "`shopkeeper explain stock {id}` lists its movements;"
    " `shopkeeper repair stock {id}` makes its counters their sums",
    "inv_order_totals": "`shopkeeper explain total order {id}`",
    "inv_order_line_discounts": "`shopkeeper explain total order {id}`",
    "view stock": "`shopkeeper explain stock {id}` tells what it must be; " + OF_A_VIEW,
    "read models": "look at the log of `projections`, and at `shopkeeper rebuild --status`",
}
"""Of checks about which something special can be done."""

BY_SUBJECT: Mapping[str, str] = {
    "sku_id": "`shopkeeper explain stock {id}`",
    "order_id": "`shopkeeper explain order {id}`",
    "cart_id": "`shopkeeper explain total cart {id}`",
}
"""By the column that names what a row is about."""

OVERDUE = "look again in a minute; if it stays, look at the log of `command_service`, which sweeps"
OTHERWISE = (
    '`psql "$DATABASE_URL" -c "SELECT * FROM {check}"`; a mistake of ours, or of a hand: report it'
)


def next_step(violation: Violation) -> str:
    """A sentence for people: what to do about a violation of a rule or of a view."""
    check = violation.check
    is_of_view = check.startswith("view ")
    column, _, identifier = violation.subject.partition(":" if is_of_view else " ")
    if check in BY_CHECK:
        step = BY_CHECK[check]
    elif is_of_view:
        step = OF_A_VIEW
    elif check.endswith(("_overdue", "_kept_too_long")):
        step = OVERDUE
    else:
        step = BY_SUBJECT.get(column, OTHERWISE)
    return step.format(id=shlex.quote(identifier), check=check)
