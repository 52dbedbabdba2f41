"""expand[]: answers with the object itself where there would be its id."""

from collections.abc import Callable, Sequence

from tests.sandboxes.stripe.errors import invalid
from tests.sandboxes.stripe.objects import Json

Find = Callable[[str], Json | None]

EXPANDABLE = {
    "payment_intent": {"latest_charge": "charge"},
    "charge": {"payment_intent": "payment_intent"},
    "refund": {"charge": "charge", "payment_intent": "payment_intent"},
    "checkout.session": {"payment_intent": "payment_intent"},
    "event": {},
    "item": {},
}
"""By type of object, the fields that may be expanded and the type they then have."""

LEVELS_MAX = 4


def check_expansions(paths: Sequence[str], answer_type: str, *, is_list: bool) -> None:
    """Refuses what cannot be expanded before anything is executed."""
    for path in paths:
        fields = path.split(".")
        if len(fields) > LEVELS_MAX:
            raise invalid(f"You cannot expand more than {LEVELS_MAX} levels: {path}.", param="expand")
        if is_list and fields.pop(0) != "data":
            raise _not_expandable(path)
        type_ = answer_type
        for field in fields:
            if field not in EXPANDABLE[type_]:
                raise _not_expandable(path)
            type_ = EXPANDABLE[type_][field]


def expanded(answer: Json, paths: Sequence[str], find: Find) -> Json:
    """The answer with every asked path expanded."""
    for path in paths:
        _expand(answer, path.split("."), find)
    return answer


def _expand(answer: Json, fields: list[str], find: Find) -> None:
    field, *rest = fields
    if isinstance(answer[field], str):
        answer[field] = find(answer[field]) or answer[field]
    branches = answer[field] if isinstance(answer[field], list) else [answer[field]]
    for branch in branches:
        if rest and isinstance(branch, dict):
            _expand(branch, rest, find)


def _not_expandable(path: str) -> Exception:
    return invalid(f"This property cannot be expanded ({path}).", param="expand")
