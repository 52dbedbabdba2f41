"""What a check found, and whom it tells how far it has come."""

from collections.abc import Callable
from dataclasses import dataclass

OnProgress = Callable[[str, int, int], None]
"""Is told (what is being checked, how many are done, of how many)."""


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing that is not as it must be.

    check: the invariant's view, "inv_stock_ledger", or the read model's, "view stock". subject: what
    it is about: "sku_id A". explanation: a sentence for people. is_proven: False for what could not be
    compared, so that nobody knows whether it is right.
    """

    check: str
    subject: str
    explanation: str
    is_proven: bool = True
